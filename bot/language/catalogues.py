"""The catalogues: translations in gettext's format, read by Babel from the .po files that translators edit.

A catalogue, and Babel, are loaded when the first sentence in its language is said. That takes some 20 ms.
"""

from __future__ import annotations

import datetime
import gettext
import hashlib
import io
import re
from functools import cache
from pathlib import Path

from bot.language import TRANSLATED, Language

FOLDER = Path(__file__).parent / "catalogues"
DOMAIN = "atelier"

COMMAND, OPTION, CHOICE = "command", "option", "choice"
"""The contexts of the names of commands and groups, of options, and of choices."""

# A command in a sentence, such as `/mod undo case:3`, or an option alone, such as `channel:`: people read each
# under the name that Discord shows them.
_COMMAND = re.compile(
    r"`(?:/(?P<path>[a-z]+(?: [a-z]+)*)(?P<options>(?: [a-z_]+:[^`:]*)*)|(?P<option>[a-z_]+):(?P<value>True)?)`"
)
_OPTION = re.compile(r" ([a-z_]+):")

_PERCENT = re.compile(r"\.(\d)%")
_DECIMALS = re.compile(r",?\.(\d)f")


def path(language: Language) -> Path:
    """The file of a language."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


@cache
def _read(language: Language) -> gettext.GNUTranslations:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with path(language).open("rb") as file:
        catalogue = read_po(file, locale=language.value, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def preload() -> None:
    """Read all catalogues, so that the event loop need not."""
    for language in TRANSLATED:
        _read(language)


def digest() -> str:
    """A hash of all catalogues, made without reading their messages."""
    found = hashlib.sha256()
    for language in TRANSLATED:
        found.update(path(language).read_bytes())
    return found.hexdigest()


def translation(language: Language, text: str) -> str:
    """A sentence in a language; as it is if it is not translated."""
    # The translation of nothing is the head of the file.
    return _with_commands(language, _read(language).gettext(text)) if text else ""


def plural(language: Language, one: str, many: str, count: float) -> str:
    """The form of a sentence for a number. A number that is not whole takes the form that the language uses then."""
    whole = int(count) if float(count).is_integer() else 2
    return _with_commands(language, _read(language).ngettext(one, many, whole))


def name(language: Language, context: str, text: str) -> str:
    """The name of a command, an option or a choice in a language; as it is if it is not translated."""
    return _read(language).pgettext(context, text)


def number(language: Language, value: object, spec: str) -> str:
    """A number as a language writes it. `spec` is Python's: `,`, `.1%`, `.1f`, or another one, which is left alone."""
    from babel import Locale
    from babel.numbers import format_decimal, format_percent

    if spec == ",":
        return format_decimal(value, locale=language.value)  # type: ignore[arg-type]
    if match := _PERCENT.fullmatch(spec):
        shape = Locale.parse(language.value).percent_formats[None].pattern
        decimals = f".{'0' * int(match[1])}" if int(match[1]) else ""
        return format_percent(value, shape.replace("0", f"0{decimals}"), locale=language.value)  # type: ignore[arg-type]
    if match := _DECIMALS.fullmatch(spec):
        grouping = spec.startswith(",")
        digits = "0" * int(match[1])
        pattern = f"{'#,##0' if grouping else '0'}{'.' if digits else ''}{digits}"
        return format_decimal(value, pattern, locale=language.value)  # type: ignore[arg-type]
    return format(value, spec)


def day(language: Language, date: datetime.date) -> str:
    """A day of a year as a language writes it in short."""
    from babel.dates import format_skeleton

    return format_skeleton("MMMd", date, locale=language.value)


def _with_commands(language: Language, template: str) -> str:
    return _COMMAND.sub(lambda match: _command(language, match), template) if "`" in template else template


def _command(language: Language, match: re.Match[str]) -> str:
    if match["option"]:
        return f"`{name(language, OPTION, match['option'])}:{match['value'] or ''}`"
    names = " ".join(name(language, COMMAND, word) for word in match["path"].split())
    options = _OPTION.sub(lambda option: f" {name(language, OPTION, option[1])}:", match["options"])
    return f"`/{names}{options}`"
