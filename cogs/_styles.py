"""Styles in words, and what a style may name."""

from __future__ import annotations

from collections.abc import Collection

from bot.config import LoraConfig
from bot.errors import UserError
from bot.language import mark, say
from bot.requests.adapters import MOST_LORAS, is_adapter
from bot.requests.styles import LONGEST_DESCRIPTION, LONGEST_WORDS
from bot.requests.wording import unknown
from bot.storage.cases import Case
from bot.storage.styles import Style
from cogs import _cases, _words

_NOT_PAINTED = mark("The reference picture is shown in `/style list`. No model here can paint after it (IP-Adapter).")


def line(style: Style) -> str:
    """A style in the list."""
    name = f"**{style.number}.** `{style.name}`"
    return _words.pair(name, _words.inert(style.description, LONGEST_DESCRIPTION)) if style.description else name


def values(style: Style) -> list[str]:
    """What a style sets, line by line."""
    called = {"prompt": mark("words"), "negative_prompt": mark("leaves out"), "guidance_scale": mark("guidance")}
    names = {name: say(called[name]) if name in called else _words.option(name) for name in style.content}
    return [
        f"- {_words.pair(names[name], _words.inert(str(value), LONGEST_WORDS))}"
        for name, value in style.content.items()
    ]


def told(style: Style, case: Case) -> str:
    """What a moderator made of a style, and how it is used."""
    shown = [] if style.reference is None else [say(_NOT_PAINTED)]
    use = say("Use it with `--style {style}`.", style=style.name)
    lines = [_cases.receipt(case), *values(style), *shown, use]
    return _words.fitting(lines)


def one_of(kind: str, name: str, known: Collection[str]) -> str:
    """A known name, in lower case. Raises UserError for another one."""
    if name.strip().lower() not in known:
        raise UserError(unknown(kind, name, list(known)))
    return name.strip().lower()


def check_loras(text: str, known: list[LoraConfig]) -> None:
    """Raise UserError for LoRAs that no model of the style has."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > MOST_LORAS:
        raise UserError("A style has at most {most} LoRAs.", most=MOST_LORAS)
    for entry in entries:
        if not is_adapter(entry, known):
            names = [lora.name for lora in known]
            if not names:
                raise UserError("The model of this style has no LoRAs. Leave them out.")
            raise UserError(unknown(mark("LoRA"), entry, names))
