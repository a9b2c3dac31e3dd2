"""Brings the catalogues of the languages up to date with the code: `.venv/bin/python .ci/translating.py`.

It finds every message in the code and every text of a command. New ones have no translation yet.
"""

from __future__ import annotations

import ast
import asyncio
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from discord import app_commands

from bot.app import open_app
from bot.client import EXTENSIONS, Client
from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.jobs import Surface
from bot.language import TRANSLATED, Language, catalogues

ROOT = Path(__file__).parents[1]

SINGLE = (
    *("say", "sentence", "mark", "Reason", "UserError", "Rejected"),
    *(
        "EngineError",
        "EngineDied",
        "PaintFailed",
        "PlotError",
        "NotUnderstood",
        "TooLarge",
        "Unreachable",
        "Unreadable",
    ),
)
"""The functions whose first argument is a message."""
PLURAL = ("say_many", "sentence_many")
"""The functions whose first two arguments are a message for one thing and for many."""

_OF_THE_HOST = ("bot/engine/fake.py", "bot/worker/labels_probe.py", "bot/datasets", "bot/try_page", "bot/terminal.py")
"""What is not said on Discord stays English."""

Message = tuple[str | tuple[str, str], str | None]
"""The English text, or its singular and plural, and the context or None."""

AnyCommand = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu


def messages_of_code() -> dict[Message, list[str]]:
    """Every message of the code, with the files in which it stands."""
    found: dict[Message, list[str]] = {}
    for folder in ("bot", "cogs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith(_OF_THE_HOST):
                continue
            for call in calls_of(path):
                texts = _texts(call)
                if texts is not None and place not in (places := found.setdefault((texts, None), [])):
                    places.append(place)
    return found


def calls_of(path: Path) -> list[ast.Call]:
    """The calls of a file whose arguments are messages, in order."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return sorted((call for call in calls if name_of(call) in (*SINGLE, *PLURAL)), key=lambda call: call.lineno)


def name_of(call: ast.Call) -> str:
    """The name of the function that a call calls."""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _texts(call: ast.Call) -> str | tuple[str, str] | None:
    """The message of a call; None where the argument is no text, such as a name."""
    texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if name_of(call) in SINGLE:
        return texts[0] if texts and texts[:1] == [getattr(call.args[0], "value", None)] else None
    return (texts[0], texts[1])


async def texts_of_commands() -> list[tuple[str, str | None]]:
    """Every text of the commands with its context."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder))
        async with open_app(config, Surface.DISCORD, engine=FakeEngine()) as app:
            client = Client(app)
            for extension in EXTENSIONS:
                await client.load_extension(extension)
            texts = list(texts_of(client.tree.get_commands()))
            for extension in EXTENSIONS:
                await client.unload_extension(extension)
    return list(dict.fromkeys(texts))


def texts_of(found: Iterable[AnyCommand]) -> Iterator[tuple[str, str | None]]:
    """The names and descriptions of commands, groups, menus, options and choices, each with its context."""
    for command in found:
        yield command.name, catalogues.COMMAND
        if isinstance(command, app_commands.ContextMenu):
            continue
        yield command.description, None
        if isinstance(command, app_commands.Group):
            yield from texts_of(command.commands)
            continue
        for parameter in command.parameters:
            yield parameter.display_name, catalogues.OPTION
            yield str(parameter.description), None
            for choice in parameter.choices:
                yield choice.name, catalogues.CHOICE


def read(language: Language) -> Catalog:
    """The catalogue of a language as its translators see it."""
    with catalogues.path(language).open("rb") as file:
        return read_po(file, locale=language.value, abort_invalid=True)


_HEADERS = ("Language", "Plural-Forms", "MIME-Version", "Content-Type", "Content-Transfer-Encoding")
"""What gettext needs: without dates, an update without news changes no file."""


class _Catalogue(Catalog):
    """A catalogue without dates and names in its header."""

    def _get_mime_headers(self) -> list[tuple[str, str]]:
        return [header for header in super()._get_mime_headers() if header[0] in _HEADERS]

    mime_headers = property(_get_mime_headers, Catalog._set_mime_headers)


def update(language: Language, messages: dict[Message, list[str]]) -> int:
    """Write the catalogue of a language anew, with the translations that it has; returns how many are missing."""
    path = catalogues.path(language)
    known = read(language) if path.exists() else Catalog(locale=language.value)
    header = "# Atelier in another language: see docs/languages.md."
    catalogue = _Catalogue(locale=language.value, fuzzy=False, header_comment=header)
    missing = 0
    for (text, context), places in messages.items():
        before = known.get(text if isinstance(text, str) else text[0], context)
        kept = before.string if before is not None and before.pluralizable != isinstance(text, str) else None
        flags = ["fuzzy"] if before is not None and before.fuzzy else []
        catalogue.add(text, kept, [(place, None) for place in places], flags=flags, context=context)
        missing += not kept or not (isinstance(kept, str) or all(kept))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=120, include_lineno=False)
    return missing


def main() -> int:
    """Update all catalogues, and say how many messages have no translation."""
    messages = messages_of_code()
    for text in asyncio.run(texts_of_commands()):
        messages.setdefault(text, [])
    counts = {language: update(language, messages) for language in TRANSLATED}
    for language, missing in counts.items():
        sys.stdout.write(f"{language}: {missing} to translate\n" if missing else f"{language}: complete\n")
    return 1 if any(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
