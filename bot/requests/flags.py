"""Trailing --flags of a prompt: they are moved from the prompt into the options of the same meaning."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bot.errors import Reference, UserError, quoted, refer
from bot.language import mark, say, say_many, sentence_many
from bot.requests import foreign, pasted
from bot.requests.options import Option, Options, table
from bot.requests.shapes import bare_shape
from bot.requests.wording import clean, listed, nearest

OptionsT = TypeVar("OptionsT", bound=Options)

Names = Mapping[str, Collection[str]]
"""What the value of an option may name, by the option's name, in lower case."""

ADDRESSES = mark("links in a prompt are not opened")
"""How the note about addresses of the web begins."""

_LONGEST_VALUE = 120
"""No value after a dash is longer: it may be a number, a size or a few names."""
_LONGEST_NAME = 24
_SHOWN = 8
"""How many flags a sentence names."""

_NAME = re.compile(r"(?:--|[—–])([A-Za-z][\w-]*)(?:\s?=|:)?\s*")
_GLUED = re.compile(r"(?:--|[—–])([A-Za-z]+)(?=[\d.])")
_SHAPE = re.compile(r"(\d[\d.]*)\s*([:x×X])\s*(?=\d)")
_AROUND_VALUES = ',;.*_`|"“”'


@dataclass(slots=True)
class _Found:
    """What the flags of a prompt say."""

    words: list[str]
    """The parts of the prompt, in order."""
    values: dict[str, Any] = field(default_factory=dict)
    """The values of options, by the options' names."""
    again: list[str] = field(default_factory=list)
    """Flags of which the last one counts."""
    unused: list[str] = field(default_factory=list)
    """Flags that have no effect."""
    no_styles: list[str] = field(default_factory=list)
    """What was asked for as a style and is none here."""


def with_flags(options: OptionsT, notes: list[str] | None = None, names: Names | None = None) -> OptionsT:
    """Move --flags out of the prompt; a flag wins over the option of the same meaning.

    Words after a flag's value return to the prompt. Flags that only other bots have are left out, and so is a flag of
    no bot unless it resembles one of ours. What else was copied with the prompt is read by `pasted`.

    A phone's keyboard turns two hyphens into a dash. A dash begins a flag only where it cannot be prose: before the
    name of a flag and a value that nothing follows but flags, and that is a number, a size or one of `names`. A dash
    before "no" begins a flag only after another flag. `notes` gets sentences about that, about flags that came more
    than once, and about all that was left out.

    Raises UserError for a flag that is misspelled or has no value.
    """
    names = names or {}
    tidied = pasted.tidy(clean(options.prompt), names)
    text = tidied.text
    known = {flag: option for option in table(type(options)) for flag in option.flags}
    starts, prose = _starts(text, known, names)
    pieces = [text[start:end].strip() for start, end in itertools.pairwise((*starts, len(text)))]
    flags = [_named(piece, known) for piece in pieces]
    _check([name for name, _ in flags], known)
    found = _Found([text[: starts[0]].strip() if starts else text], unused=list(tidied.unused))
    size: dict[str, str] = {}
    for name, rest in flags:
        option = _ours(known.get(name.lower()), rest, names)
        if option is not None and option.is_switch:
            found.values[option.name] = True
            found.words.append(rest)
        elif option is not None and not (rest.startswith("{") and not option.spaced):
            _take(found, option, name, rest, names)
        elif not _translated(found, name, rest, type(options), names):
            _leave_out(found, name, rest, size)
    if len(size) == 2 and "aspect" not in found.values:
        found.values["aspect"] = f"{size[foreign.WIDTH]}x{size[foreign.HEIGHT]}"
        found.unused = [each for each in found.unused if foreign.name_of(each.strip("-")) not in size]
    prompt = clean(" ".join(word for word in found.words if word)).replace(" ,", ",")
    if notes is not None:
        notes += _notes(found, tidied, text[prose[0] :].partition(" ")[0] if prose else "", options.image is None)
        if options.aspect is None and "aspect" not in found.values and (shape := bare_shape(prompt)):
            notes.append(say("for the shape {shape}, write --ar {shape}", shape=shape))
    return replace(options, **{"prompt": prompt, **found.values})


def _notes(found: _Found, tidied: pasted.Tidied, prose: str, lacks_image: bool) -> Iterator[str]:
    """Sentences about all that is read otherwise than it may be meant."""
    if prose:
        yield say("{word} is read as a word of the prompt; a flag has two hyphens", word=quoted(prose))
    if found.again:
        flags = ", ".join(dict.fromkeys(found.again))
        yield say("these flags came twice, and the last one counts: {flags}", flags=flags)
    if found.no_styles:
        yield say_many(
            "there is no style {styles} here",
            "there are no styles {styles} here",
            len(found.no_styles),
            styles=listed([quoted(each, _LONGEST_NAME) for each in found.no_styles], _SHOWN),
        )
    if unused := list(dict.fromkeys(found.unused)):
        shown = listed(unused, _SHOWN)
        yield say_many("{flags} has no effect here", "{flags} have no effect here", len(unused), flags=shown)
    if tidied.has_address:
        yield say(ADDRESSES)
        if lacks_image:
            yield say("to start from a picture, attach it as {option}", option=refer(Reference.OPTION, "image"))
    if tidied.has_mention:
        yield say("mentions are left out")


def _named(piece: str, known: Mapping[str, Option]) -> tuple[str, str]:
    """The name of a flag, and what follows it up to the next flag; --ar16:9 is --ar 16:9."""
    whole = _NAME.match(piece)
    assert whole is not None  # noqa: S101 - every piece begins with a flag
    glued = _GLUED.match(piece)
    if glued is not None and not _exists(whole[1], known) and _exists(glued[1], known):
        return glued[1], piece[glued.end() :]
    return whole[1], piece[whole.end() :]


def _ours(option: Option | None, rest: str, names: Names) -> Option | None:
    """The option of a flag; None where the same flag of another bot is meant, because its value is no name of ours."""
    if option is None or not option.only_known:
        return option
    value, _ = _divided(option, rest.strip().lstrip("=").strip(), names)
    known = names.get(option.name, ())
    return option if value.lower() in known or nearest(value, known) else None


def _exists(name: str, known: Mapping[str, Option]) -> bool:
    own = foreign.name_of(name)
    return name.lower() in known or own in foreign.SAME or own in foreign.FOREIGN


def _check(flags: Iterable[str], known: Mapping[str, Option]) -> None:
    """Raise UserError, with all flags that do not exist, if one of them is probably a flag of ours, misspelled."""
    unknown = list(dict.fromkeys(name for name in flags if not _exists(name, known)))
    every = [*known, *foreign.SAME, *foreign.FOREIGN]
    near = [nearest(name, every) for name in unknown]
    if meant := [f"--{name}" for name in dict.fromkeys(near) if name in known]:
        names = listed([quoted(f"--{name}") for name in unknown], _SHOWN)
        raise UserError(
            sentence_many(
                "There is no flag {flags}. Did you mean {meant}?",
                "There are no flags {flags}. Did you mean {meant}?",
                len(unknown),
                flags=names,
                meant=listed(meant, _SHOWN),
            )
        )


def _take(found: _Found, option: Option, name: str, rest: str, names: Names) -> None:
    """Note the value of an option, and return the words after it to the prompt."""
    value, beyond = _divided(option, rest, names)
    if not value:
        raise UserError("--{flag} needs a value, like --{flag} {example}.", flag=name, example=option.example)
    read = _read(option, name, value)
    if option.name in found.values and option.repeats:
        read = f"{found.values[option.name]}, {read}"
    elif option.name in found.values:
        found.again.append(f"--{name.lower()}")
    found.values[option.name] = read
    found.words.append(beyond)


def _divided(option: Option, rest: str, names: Names) -> tuple[str, str]:
    """The value of an option, and the words that follow it."""
    if option.spaced:
        return _name_and_more(rest, names[option.name]) if option.name in names else (_unquoted(rest), "")
    if option.looks:
        rest = _SHAPE.sub(r"\1\2", rest, count=1)
    typed, _, beyond = rest.partition(" ")
    value = typed.strip(_AROUND_VALUES) if len(typed) > 1 else typed
    return value, f", {beyond}" if beyond and typed.endswith(",") else beyond


def _name_and_more(rest: str, known: Collection[str]) -> tuple[str, str]:
    """The longest beginning of a text whose last entry is one of the names; all of it if there is none.

    All of it, too, if it resembles a name: "euler b" is a misspelled "euler a" and not the sampler "euler".
    """
    rest = _unquoted(rest)
    if rest.lower() not in known and nearest(rest, known):
        return rest, ""
    earlier, comma, last = rest.rpartition(",")
    words = last.split()
    for count in range(min(len(words), 8), 0, -1):
        name = " ".join(words[:count])
        if name.partition(":")[0].strip().lower() in known:
            return f"{earlier}{comma} {name}".strip(), " ".join(words[count:])
    return rest, ""


def _unquoted(text: str) -> str:
    whole = len(text) > 1 and text[0] in "\"“'" and text[-1] in "\"”'"
    return text[1:-1].strip() if whole else text


def _translated(found: _Found, name: str, rest: str, of: type[Options], names: Names) -> bool:
    """Whether a flag of another bot is one of ours under another name, with a value that it can have."""
    own = foreign.SAME.get(foreign.name_of(name))
    option = next((option for option in table(of) if option.name == own), None)
    if option is None:
        return False
    if option.name in names and _name_and_more(rest, names[option.name])[0].lower() not in names[option.name]:
        return False
    if option.looks and not re.match(option.looks, rest):
        return False
    with suppress(UserError):
        _take(found, option, name, rest, names)
        return True
    return False


def _leave_out(found: _Found, name: str, rest: str, size: dict[str, str]) -> None:
    """Note a flag that has no effect, and return the words after its value to the prompt."""
    own = foreign.name_of(name)
    if own == "prompt":
        found.words.append(_unquoted(rest))
        return
    takes = foreign.FOREIGN.get(own, foreign.Takes.WORD if own in foreign.SAME else foreign.Takes.UNKNOWN)
    words = rest.split()
    count = foreign.taken(takes, words)
    shown = f"--{name}" if len(name) <= _LONGEST_NAME else f"--{name[: _LONGEST_NAME - 1]}…"
    if takes is foreign.Takes.UNKNOWN and count and not rest.startswith("{"):
        shown += f" {quoted(words[0])}" if len(words[0]) <= _LONGEST_NAME else ""
    if own == "style" and count and foreign.is_a_name(words[0]):
        found.no_styles.append(words[0].strip(_AROUND_VALUES))
    else:
        found.unused.append(shown)
    if own in (foreign.WIDTH, foreign.HEIGHT) and count and words[0].rstrip(",").isdecimal():
        size[own] = words[0].rstrip(",")
    beyond = " ".join(words[count:])
    found.words.append(f", {beyond}" if count and beyond and words[count - 1].endswith(",") else beyond)


def _starts(text: str, known: Mapping[str, Option], names: Names) -> tuple[list[int], list[int]]:
    """Where each flag begins, and where a dash begins what could be a flag but is read as prose; both in order."""
    certain: list[int] = []
    unsure: list[int] = []
    end = len(text)
    # From the end on, because a value reaches to the next flag.
    for start, hyphens, name in reversed(list(_candidates(text, known))):
        rest = text[start + 1 + len(name) : end]
        option = _ours(known.get(name.lower()), rest, names)
        if hyphens:
            certain.append(start)
        elif option is None:
            value = rest.lstrip("=").strip() if len(rest) <= _LONGEST_VALUE else rest
            if foreign.is_number(value):
                certain.append(start)
            elif not value and foreign.FOREIGN[foreign.name_of(name)] is not foreign.Takes.NUMBER:
                unsure.append(start)
            else:
                continue
        elif option.is_switch:
            # No value tells whether it is prose.
            if rest.strip():
                continue
            unsure.append(start)
        elif _cannot_be_prose(option, rest, names):
            certain.append(start)
        elif option.type is str and option.spaced and option.name not in names:
            # It is a flag if one comes before it, and then the value of that one ends here.
            unsure.append(start)
        else:
            continue
        end = start
    first = min(certain, default=len(text))
    return sorted(certain + [start for start in unsure if start > first]), sorted(
        start for start in unsure if start < first
    )


def _candidates(text: str, known: Mapping[str, Option]) -> Iterator[tuple[int, bool, str]]:
    """Everything that may begin a flag: its position, whether it has two hyphens, and the name after a dash."""
    dashed = _dashed((*known, *foreign.FOREIGN))
    for match in dashed.finditer(text):
        yield match.start(), match[1] is None, match[1] or ""


def _dashed(flags: Sequence[str]) -> re.Pattern[str]:
    every = "|".join(sorted(flags, key=len, reverse=True))
    return re.compile(rf"(?:^|(?<=\s))(?:--(?=[A-Za-z])|[—–]({every})(?=[\s=\d]|$))", re.IGNORECASE)


def _cannot_be_prose(option: Option, rest: str, names: Names) -> bool:
    """Whether what follows the name of a flag, up to the next flag, is a value of it and no words of a prompt."""
    if rest.startswith("="):
        return True
    value = rest.strip().lower() if len(rest) <= _LONGEST_VALUE else ""
    if option.type is not str:
        return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value) is not None
    if option.looks:
        return re.fullmatch(option.looks, value) is not None
    known = names.get(option.name, ())
    return all(entry.partition(":")[0].strip() in known for entry in value.split(","))


def _read(option: Option, name: str, value: str) -> Any:
    """The value of a flag in its option's type."""
    if option.type is str:
        return value
    with suppress(ValueError):
        number = option.type(value)
        if isinstance(number, int) or math.isfinite(number):
            return number
    typed = {"flag": name, "example": option.example, "value": quoted(value)}
    if option.type is float:
        raise UserError("--{flag} needs a number, like --{flag} {example}; {value} is not a number.", **typed)
    raise UserError("--{flag} needs a whole number, like --{flag} {example}; {value} is not a whole number.", **typed)
