"""What a style does to a request, whether a style makes sense, and styles as one line of text."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from bot.config import STEPS, ModelConfig
from bot.errors import Reference, UserError, quoted, refer
from bot.jobs import JobId, PictureRef
from bot.language import mark, say, sentence
from bot.requests.defaults import Source
from bot.requests.options import Options
from bot.requests.wording import clean, unknown
from bot.storage.styles import PLACE, Style

LONGEST_NAME = 32
LONGEST_WORDS = 500
"""Characters of the words of a style, and of what it leaves out."""
LONGEST_DESCRIPTION = 100
LONGEST_VALUE = 100
LONGEST_LINE = 6000
"""Characters of a style as one line: as many as Discord lets people give to a command."""
_LONGEST_CONTENT = 20_000
"""Bytes of a style as JSON: what would be more after it is unpacked is not unpacked."""

GUIDANCE = 0.0, 30.0

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_LINE = "atelier-style-1:"
"""How the line begins; the number is that of its format."""

ELSEWHERE = "elsewhere"
"""Stands in the line of a style that has a reference picture: the picture itself stays on its server."""

_REFERENCE = re.compile(r"#?(\d{1,15})(?:/([1-4]))?")

TEXTS = ("prompt", "negative_prompt", "description", "model", "sampler", "aspect", "lora")


def as_name(typed: str) -> str:
    """The name of a style as it is kept. Raises UserError for what cannot be one."""
    name = typed.strip().lower()
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise UserError(
            "The name of a style has small letters, digits and hyphens, at most {most}, such as `old-ink`.",
            most=LONGEST_NAME,
        )
    return name


def checked(style: Style) -> Style:
    """The style with clean words. Raises UserError where its values make no sense."""
    cleaned: dict[str, Any] = {name: clean(text) for name in TEXTS if (text := getattr(style, name)) is not None}
    style = replace(style, **cleaned)
    if style.prompt.count(PLACE) != 1:
        raise UserError(
            "The words of a style have `{place}` once, where the person's prompt goes, such as `{place}, black ink`.",
            place=PLACE,
        )
    longest = {"prompt": LONGEST_WORDS, "negative_prompt": LONGEST_WORDS, "description": LONGEST_DESCRIPTION}
    for name in TEXTS:
        most = longest.get(name, LONGEST_VALUE)
        if len(getattr(style, name) or "") > most:
            raise UserError(
                "The {option} of a style can have at most {most} characters.", option=sentence(_called(name)), most=most
            )
    if style.steps is not None and not STEPS[0] <= style.steps <= STEPS[1]:
        raise UserError("The steps of a style go from {low} to {high}.", low=STEPS[0], high=STEPS[1])
    if style.guidance_scale is not None and not GUIDANCE[0] <= style.guidance_scale <= GUIDANCE[1]:
        low, high = GUIDANCE
        raise UserError("The guidance of a style goes from {low:g} to {high:g}.", low=low, high=high)
    style = replace(style, name=as_name(style.name))
    if len(to_line(style)) > LONGEST_LINE:
        raise UserError("This style has so many words that it could not be shared. Shorten its words.")
    return style


def reference_of(typed: str) -> PictureRef:
    """The picture of a result that a moderator named. Raises UserError for anything else."""
    found = _REFERENCE.fullmatch(typed.strip())
    if found is None:
        raise UserError(
            "{typed} names no picture. Name the request that painted it, such as `123`, or `123/2` for its second "
            "picture.",
            typed=quoted(typed),
        )
    return PictureRef(JobId(int(found[1])), int(found[2] or 1))


def _called(name: str) -> str:
    return {
        "prompt": mark("words"),
        "negative_prompt": mark("negative prompt"),
        "description": mark("description"),
    }.get(name, name)


def named(name: str | None, styles: Mapping[str, Style]) -> Style | None:
    """The style that a person named; None if they named none. Raises UserError for one that does not exist."""
    if name is None:
        return None
    if not styles:
        raise UserError(
            "There are no styles here. On a server, moderators add them with {command}.",
            command=refer(Reference.COMMAND, "style add"),
        )
    if name.strip().lower() not in styles:
        raise UserError(unknown(mark("style"), name, list(styles)))
    return styles[name.strip().lower()]


def with_style(
    options: Options, style: Style, models: Collection[str], usable: Collection[str]
) -> tuple[Options, dict[str, Source], list[str]]:
    """The options with the words of the style, and with its model and shape where the person chose none.

    Returns also where the new values come from, and notes about a model that cannot be used.
    """
    filled: dict[str, Source] = {}
    notes: list[str] = []
    before, _, after = style.prompt.partition(PLACE)
    # Without words of the person, as in a blend, no comma stays at an end.
    options = replace(options, prompt=clean(f"{before}{options.prompt}{after}").strip(" ,"))
    for name in ("model", "aspect"):
        value = getattr(style, name)
        is_shaped = name == "aspect" and (options.image is not None or options.control is not None)
        if value is None or getattr(options, name) is not None or is_shaped:
            continue
        if name == "model" and value not in usable:
            if value in models:
                words = mark("the model {model} of the style {style} cannot be used here now")
            else:
                words = mark("the model {model} of the style {style} does not exist here")
            notes.append(say(words, model=value, style=style.name))
            continue
        options = replace(options, **{name: value})
        filled[name] = Source.STYLE
    return options, filled, notes


def with_settings(
    options: Options, style: Style, model: ModelConfig, samplers: Sequence[str], *, draft: bool
) -> tuple[Options, dict[str, Source], list[str]]:
    """The options with what the style sets for painting, as far as the model has it.

    A draft keeps the steps and the guidance of its preset. The LoRAs of the style come before the person's.
    """
    filled: dict[str, Source] = {}
    notes: list[str] = []
    for name in ("sampler", "steps", "guidance_scale"):
        value = getattr(style, name)
        if value is None or getattr(options, name) is not None or (draft and name != "sampler"):
            continue
        if name == "sampler" and value not in samplers:
            notes.append(
                say(
                    "the sampler {sampler} of the style {style} does not work with the model {model}",
                    sampler=value,
                    style=style.name,
                    model=model.name,
                )
            )
            continue
        options = replace(options, **{name: value})
        filled[name] = Source.STYLE
    if style.lora:
        known = {lora.name for lora in model.loras}
        entries = [entry.strip() for entry in style.lora.split(",") if entry.strip()]
        has = [entry for entry in entries if entry.partition(":")[0].strip().lower() in known]
        if missing := [entry for entry in entries if entry not in has]:
            names = ", ".join(missing)
            notes.append(
                say(
                    "the model {model} lacks the LoRAs {loras} of the style {style}",
                    model=model.name,
                    loras=names,
                    style=style.name,
                )
            )
        if has:
            if options.lora is None:
                filled["lora"] = Source.STYLE
            options = replace(options, lora=", ".join([*has, *filter(None, [options.lora])]))
    return options, filled, notes


def negative_of(base: str, style: Style | None) -> str:
    """What is left out: what the person or the model says, and what the style says."""
    return ", ".join(filter(None, [base, style.negative_prompt if style else ""]))


def to_line(style: Style) -> str:
    """The style as one line of text, to send to another server. It tells only that a reference is there."""
    if style.reference is not None:
        style = replace(style, reference=ELSEWHERE)
    content = json.dumps({"name": style.name, **style.content}, ensure_ascii=False, separators=(",", ":"))
    body = base64.urlsafe_b64encode(zlib.compress(content.encode(), 9))
    return _LINE + body.decode("ascii").rstrip("=")


def from_line(typed: str) -> Style:
    """Read what `to_line` wrote. Raises UserError for anything else."""
    line = "".join(typed.split()).strip("`")
    if len(line) > LONGEST_LINE:
        raise UserError("This is no style: its line has more than {most:,} characters.", most=LONGEST_LINE)
    if not line.startswith(_LINE):
        made_by = refer(Reference.COMMAND, "style share")
        raise UserError(
            "This is no style. The line of a style begins with `{start}`; {command} makes it.",
            start=_LINE,
            command=made_by,
        )
    try:
        body = line.removeprefix(_LINE)
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        packed = zlib.decompressobj()
        content = packed.decompress(data, _LONGEST_CONTENT)
        if not packed.eof or packed.unused_data:
            # It is cut, longer than any style, or followed by something else. At its end zlib compares a checksum.
            raise ValueError
        values: Any = json.loads(content)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise UserError("This line of a style is damaged: copy all of it, from its beginning to its end.") from None
    return checked(_of_values(values))


def _of_values(values: Any) -> Style:
    """A style of values from another server. Raises UserError where one has another type than ours."""
    damaged = UserError("This line is no style that I can read: its values are of other types than those of a style.")
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise damaged
    known = {field.name for field in fields(Style)} - {"number", "version"}
    if unknown_ones := sorted(str(name) for name in values if name not in known):
        raise UserError("This style sets {name}, which this Atelier does not know.", name=quoted(unknown_ones[0]))
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            "steps": isinstance(value, int) and is_number,
            "guidance_scale": is_number,
        }.get(name, isinstance(value, str))
        if not fits:
            raise damaged
    return Style(**values)
