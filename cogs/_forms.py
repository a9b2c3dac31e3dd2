"""Forms: windows in which a person fills in texts and attaches files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import discord

from bot.client import Client
from bot.errors import UserError
from bot.language import say, sentence
from bot.responses import TOKEN_SECONDS

TITLE = 45
"""The most characters of the title of a form, and of the label of a field."""
MOST = 4000
"""The most characters that Discord takes in a field."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a person filled in: texts and files by the names of the fields."""

    texts: Mapping[str, str]
    files: Mapping[str, discord.Attachment]

    @classmethod
    def read(cls, interaction: discord.Interaction[Client]) -> Self:
        """Read the form that an interaction brings; a file that Discord does not describe is left out."""
        data: Any = interaction.data
        described = data.get("resolved", {}).get("attachments", {})
        texts: dict[str, str] = {}
        files: dict[str, discord.Attachment] = {}
        for field in _fields(data.get("components", ())):
            name = str(field["custom_id"])
            if "value" in field:
                texts[name] = str(field["value"] or "").strip()
            for value in field.get("values") or ():
                if str(value) in described:
                    files[name] = discord.Attachment(
                        data=described[str(value)],
                        state=interaction.client._connection,
                    )
        return cls(texts, files)


def _fields(components: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The fields of a form, without the rows and labels around them."""
    for component in components:
        if "custom_id" in component:
            yield component
        inner = component.get("component")
        yield from _fields([*component.get("components", ()), *([inner] if inner else [])])


def form(custom_id: str, title: str, fields: Iterable[discord.ui.Label[Any]]) -> discord.ui.Modal:
    """A form; its answer is read by the cog that has marked a method for its action."""
    modal = discord.ui.Modal(title=title[:TITLE], custom_id=custom_id, timeout=TOKEN_SECONDS)
    for field in fields:
        modal.add_item(field)
    return modal


def text_field(
    name: str,
    label: str,
    *,
    hint: str | None = None,
    example: str | None = None,
    value: str = "",
    most: int = MOST,
    long: bool = False,
    required: bool = False,
) -> discord.ui.Label[Any]:
    """A field for a text, filled in with `value`; `example` is seen in it while it is empty."""
    style = discord.TextStyle.paragraph if long else discord.TextStyle.short
    field: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=name,
        style=style,
        default=value[:most] or None,
        placeholder=example,
        required=required,
        max_length=most,
    )
    return discord.ui.Label(text=label[:TITLE], description=hint, component=field)


def file_field(name: str, label: str, hint: str) -> discord.ui.Label[Any]:
    """A field for one file, which may stay empty."""
    field: discord.ui.FileUpload[Any] = discord.ui.FileUpload(custom_id=name, required=False, max_values=1)
    return discord.ui.Label(text=label[:TITLE], description=hint, component=field)


def refilled(modal: discord.ui.Modal, filled: Submission) -> discord.ui.Modal:
    """A new form with what was typed into another, which stays as it is.

    Files cannot be filled in: Discord lets only people choose them.
    """
    return form(modal.custom_id, modal.title, [_refilled(label, filled) for label in modal.children])


def _refilled(label: discord.ui.Item[Any], filled: Submission) -> discord.ui.Label[Any]:
    assert isinstance(label, discord.ui.Label)  # noqa: S101 - `form` takes only these
    field = label.component
    if isinstance(field, discord.ui.FileUpload):
        return file_field(field.custom_id, label.text, label.description or "")
    assert isinstance(field, discord.ui.TextInput)  # noqa: S101 - there are no other fields
    return text_field(
        field.custom_id,
        label.text,
        hint=label.description,
        example=field.placeholder,
        value=filled.texts.get(field.custom_id, ""),
        most=field.max_length or MOST,
        long=field.style is discord.TextStyle.paragraph,
        required=field.required,
    )


def typed(texts: Mapping[str, str | None], titles: Mapping[str, str]) -> str:
    """What a person wrote, to give it back: the texts that are not empty, after the titles of their fields.

    `titles` are English and have the fields in order; the text of one without a title stands for itself.
    """
    written = [(title, text) for name, title in titles.items() if (text := texts.get(name))]
    return "\n\n".join(f"{say(title)}: {text}" if title else text for title, text in written)


def whole_number(filled: Submission, name: str) -> int | None:
    """A whole number of a form, or None if it is empty; raises UserError if it is no whole number."""
    text = filled.texts.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise UserError("{field} is a whole number, like 7.", field=sentence(name.capitalize()))
    return int(text)
