"""What is wrong with a setting, in words: which one, where it is, what is wrong with it and what would work."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bot.config import ENV_PREFIX, Config, ControlNetConfig, LoraConfig, ModelConfig
from bot.provider_config import ProviderConfig

_ARRAYS: dict[str, type[BaseModel]] = {
    "models": ModelConfig,
    "loras": LoraConfig,
    "controlnets": ControlNetConfig,
    "providers": ProviderConfig,
}
_ONE = {"models": "model", "loras": "LoRA", "controlnets": "ControlNet", "providers": "provider"}
"""What one entry of each array is called."""

_LONGEST = 60
"""Characters of a wrong value that are quoted."""

_KINDS: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number",
    "bool": "true or false",
    "string": "a text in quotes",
    "path": "a path in quotes",
    "tuple": "a list in square brackets",
    "model": "a table of settings",
    "dict": "a table of settings",
}
"""What each of pydantic's kinds of values is in config.toml, by how the name of its errors begins.

https://docs.pydantic.dev/latest/errors/validation_errors/ lists the names.
"""


def explain(error: ValidationError, text: str, path: Path | None) -> str:
    """Say where the first wrong setting is, what is wrong with it and what would work.

    `text` is the content of the file `path`, or empty.
    """
    first = _first(error)
    location = first["loc"]
    key = _named(location)
    line = line_of(text, location)
    variable = ENV_PREFIX + "__".join(str(part) for part in location).upper()
    if variable in os.environ:
        where = f"environment variable {variable}"
    elif line is not None:
        where = f"{path}, line {line}: {key}"
    else:
        where = f"{path or 'settings'}: {key}".removesuffix(": ")
    words = words_of(first)
    return f"{where}: {words}" + ("" if words.endswith(("?", ".")) else ".")


def _first(error: ValidationError) -> ErrorDetails:
    """The first error; of a setting that is "all" or a list, the error of what was written."""
    errors = error.errors()
    is_list = any(map(_is_alternative, errors[0]["loc"][-1:])) and isinstance(errors[0]["input"], list | tuple)
    return errors[1] if is_list and len(errors) > 1 else errors[0]


def _is_alternative(part: int | str) -> bool:
    """Whether a part of a location is no key but one of the types that a setting may have, as pydantic names it."""
    return isinstance(part, str) and part.startswith(("literal[", "tuple["))


def _named(location: tuple[int | str, ...]) -> str:
    """A setting as a person would name it: `limits.pace`, or `width of model 2`, where models count from 1."""
    things: list[str] = []
    keys: list[str] = []
    entry: list[str] = []
    for part in location:
        if isinstance(part, int) and keys and keys[-1] in _ONE:
            things.append(f"{_ONE[keys.pop()]} {part + 1}")
        elif isinstance(part, int):
            entry.append(f"entry {part + 1}")
        elif not _is_alternative(part):
            keys.append(part)
    return " of ".join(filter(None, [*entry, ".".join(keys), *reversed(things)]))


def words_of(error: ErrorDetails) -> str:
    """What is wrong with a value and what would work, without the name of the setting."""
    kind, context, value = error["type"], error.get("ctx", {}), _quoted(error["input"])
    match kind:
        case "extra_forbidden":
            *section, key = error["loc"]
            return no_such_setting(str(key), _known_keys(tuple(section)))
        case "missing":
            return "this setting is missing; add it"
        case "value_error":
            words = error["msg"].removeprefix("Value error, ")
            return words[0].lower() + words[1:]
        case "literal_error" if _is_alternative(error["loc"][-1]):
            return f"{value} does not work here; write {context['expected']} or a list in square brackets"
        case "literal_error":
            return f"{value} does not work here; choose {context['expected']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than" if value == "nan":
            return f"nan does not work here; this setting is {_KINDS['float']}"
        case "greater_than_equal":
            return f"{value} is too small; the smallest is {context['ge']}"
        case "greater_than":
            return f"{value} is too small; it must be more than {context['gt']}"
        case "less_than_equal":
            return f"{value} is too large; the largest is {context['le']}"
        case "less_than":
            return f"{value} is too large; it must be less than {context['lt']}"
        case "multiple_of":
            return f"{value} is not a multiple of {context['multiple_of']}"
        case "string_too_long":
            return f"this text is too long; it may have {context['max_length']} characters"
        case "too_short":
            return f"this list is too short; it needs at least {context['min_length']}"
        case _:
            what = next((words for name, words in _KINDS.items() if kind.startswith(name)), "something else")
            return f"{value} does not work here; this setting is {what}"


def _quoted(value: Any) -> str:
    """A wrong value as it may be repeated: short, and as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    words = " ".join(repr(value).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


def no_such_setting(name: str, known: list[str]) -> str:
    """That a setting does not exist, and the known one that is nearest."""
    near = difflib.get_close_matches(name, known, n=1)
    return "there is no such setting" + (f"; did you mean {near[0]}?" if near else ".")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at `location`."""
    section: type[BaseModel] = Config
    for part in location:
        if part in _ARRAYS:
            section = _ARRAYS[str(part)]
        elif isinstance(part, str) and part in section.model_fields:
            inner = section.model_fields[part].annotation
            section = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else section
    return list(section.model_fields)


def line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line, from 1, on which the key at `location` is set; None if the text does not set it.

    tomllib keeps no positions, so this follows table headers itself; it understands what the example file
    uses: `[table]`, `[[array of tables]]` and `key = value`.
    """
    wanted = list(location)
    here: list[int | str] = []
    counts: dict[tuple[int | str, ...], int] = {}
    header: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if match := re.match(r"\[\[\s*([\w.-]+)\s*\]\]", stripped):
            # [[models.loras]] belongs to the last [[models]], and each model counts its own from 0.
            *parents, name = match[1].split(".")
            here = []
            for parent in parents:
                here += [parent, *([counts[(*here, parent)]] if (*here, parent) in counts else [])]
            here.append(name)
            counts[tuple(here)] = counts.get(tuple(here), -1) + 1
            here.append(counts[tuple(here)])
        elif match := re.match(r"\[\s*([\w.-]+)\s*\]", stripped):
            # [models.api] belongs to the last [[models]].
            *parents, name = match[1].split(".")
            here = []
            for parent in parents:
                here += [parent, *([counts[(*here, parent)]] if (*here, parent) in counts else [])]
            here.append(name)
        elif match := re.match(r"([\w-]+)\s*=", stripped):
            if [*here, match[1]] == wanted[: len(here) + 1]:
                return number
            continue
        if here and here == wanted[: len(here)]:
            header = number
    return header
