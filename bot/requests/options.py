"""The table of the options of a request: one line for each option, in the order in which people see them.

The slash command's options, the flags in a prompt, the command line and their help are all made from `Options`, so a
new option is one line here, its use, and its test.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

from bot.config import IMAGES
from bot.jobs import NO_STYLE, Kept, Margins, Operation, PictureRef, StyleRef, Upload
from bot.language import mark

BLENDED = ("image1", "image2", "image3", "image4")
"""The names of the pictures of a blend, in order. The first one is the picture that the request starts from."""

PROMPT_HELP = "What to paint; may end in flags, like --ar 16:9 --seed 7"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a request, as the slash command, the flags and the command line need it."""

    help: str
    flags: tuple[str, ...] = ()
    """Its names as a flag, in a prompt and on the command line."""
    example: str = ""
    """An example value, for sentences that say how the option is used."""
    spaced: bool = False
    """Whether its value may contain spaces."""
    repeats: bool = False
    """Whether its flag may be given more than once; the values are then joined with commas."""
    looks: str = ""
    """An expression for values that could not be words of the prompt."""
    between: tuple[int, int] | None = None
    """The range that Discord enforces for a number; None if Discord enforces none."""
    called: str = ""
    """What people call the upload."""
    only_known: bool = False
    """Whether its flag counts only with a name that exists, because other bots have the same flag."""
    flag_only: bool = False
    """Whether it is no option of the slash command, which has room for few more: only a flag."""
    name: str = ""
    """The name of its field, and of the slash command's option."""
    type: type = str
    """str, int, float, bool or Upload."""

    @property
    def is_upload(self) -> bool:
        """Whether the option is an uploaded picture."""
        return self.type is Upload

    @property
    def is_switch(self) -> bool:
        """Whether its flag has no value."""
        return self.type is bool


@dataclass(frozen=True, slots=True)
class Edit:
    """What a control under a picture adds to the options; the options name the picture itself as their image."""

    sources: tuple[PictureRef, ...]
    """The pictures that the new ones come from."""
    operation: Operation | None = None
    """What is done with the image; None is what the options ask for."""
    region: tuple[int, ...] = ()
    """The cells of the grid that are painted again."""
    margins: Margins = (0.0, 0.0, 0.0, 0.0)
    """How far the picture is continued in each direction."""
    style: StyleRef = NO_STYLE
    """The style with which the picture was painted; its words are in the prompt already."""
    kept: Kept | None = None
    """What is kept of a thing and its plain background."""
    is_first_frame: bool = False
    """Whether the picture is an animation, so that only its first frame counts."""


@dataclass(frozen=True, slots=True)
class Morph:
    """What makes a request an animation: how many frames it has, and the prompt and the seed of the last one.

    None and an empty prompt are what the person left out.
    """

    frames: int | None = None
    prompt: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The preset that was chosen for a request; an empty name is the usual settings."""

    style: str
    is_control: bool = False
    """Whether the lot gave it the usual settings, to compare with."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for; an option that they left out is None."""

    prompt: str
    edit: Edit | None = field(default=None, kw_only=True)
    """What a control asked for. Flags in the prompt of such a request have been read before."""
    choice: Choice | None = field(default=None, kw_only=True)
    """What was chosen for the request when it was quoted, if the server lets ratings choose."""
    blended: tuple[Upload, ...] = field(default=(), kw_only=True)
    """The further pictures of a blend. No flag names them, and no option of the command for a picture."""
    morph: Morph | None = field(default=None, kw_only=True)
    """What makes it an animation; None for pictures."""
    film: int | None = field(default=None, kw_only=True)
    """How many frames a film by a model for videos has, 0 if the person did not say; None for pictures."""
    usual_model: str = field(default="", kw_only=True)
    """The model that paints this kind of request if the person names none; empty for the usual one."""
    negative_prompt: Annotated[
        str | None, Option("What to leave out", ("no",), example="text, blurry", spaced=True, repeats=True)
    ] = None
    images: Annotated[int | None, Option("How many pictures", ("images", "repeat"), "2", between=IMAGES)] = None
    aspect: Annotated[
        str | None,
        Option(
            "A shape like 16:9, or a size like 768x512",
            ("ar", "aspect", "size"),
            "16:9",
            looks=r"\d{1,6}(\.\d{1,6})?[x×X:]\d{1,6}(\.\d{1,6})?",
        ),
    ] = None
    steps: Annotated[int | None, Option("Denoising steps: more is slower and finer", ("steps",), "20")] = None
    guidance_scale: Annotated[float | None, Option("How closely to follow the prompt", ("guidance", "cfg"), "7.5")] = (
        None
    )
    seed: Annotated[int | None, Option("The same seed and settings paint the same picture again", ("seed",), "7")] = (
        None
    )
    model: Annotated[str | None, Option("Which model paints", ("model",), "emoji")] = None
    style: Annotated[str | None, Option("A style of this server", ("style",), "old-ink", only_known=True)] = None
    sampler: Annotated[str | None, Option("Which sampler denoises", ("sampler",), "euler", spaced=True)] = None
    lora: Annotated[
        str | None,
        Option(
            "LoRAs of the model, like sketch or sketch:0.8, ink", ("lora",), "sketch:0.8", spaced=True, repeats=True
        ),
    ] = None
    image: Annotated[Upload | None, Option("A picture to start from: PNG, JPEG or WebP", called=mark("image"))] = None
    mask: Annotated[
        Upload | None,
        Option(
            "Where to repaint the image: the mask's white parts, or the transparent parts of a copy",
            called=mark("mask"),
        ),
    ] = None
    strength: Annotated[
        float | None, Option("How much of the image is painted over, up to 1", ("strength",), "0.6")
    ] = None
    controlnet: Annotated[
        str | None, Option("A ControlNet of the model, like canny or canny:0.7", ("controlnet",), "canny:0.7")
    ] = None
    control: Annotated[
        Upload | None,
        Option("The picture that the ControlNet follows, such as edges or a pose", called=mark("control picture")),
    ] = None
    enhance: Annotated[
        bool | None, Option("First show which words and settings people here like with prompts like this", ("enhance",))
    ] = None
    draft: Annotated[
        bool | None, Option("Paint quick drafts, of which each can be finished", ("draft",), flag_only=True)
    ] = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that the person wrote, for `bot.logs.hide`."""
        values = [self.prompt, *(getattr(self, option.name) for option in table(type(self)))]
        if self.morph is not None:
            values.append(self.morph.prompt)
        return tuple(value for value in values if isinstance(value, str))

    @property
    def typed(self) -> str:
        """What the person wrote as a prompt, to give it back; of an animation both of its prompts."""
        end = "" if self.morph is None else self.morph.prompt
        return f"{self.prompt} → {end}" if end else self.prompt

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """The uploads of the request."""
        sent = (getattr(self, option.name) for option in table(type(self)) if option.is_upload)
        return (*(upload for upload in sent if upload is not None), *self.blended)

    def with_uploads(self, uploads: Mapping[str, Upload]) -> Self:
        """The same options with these uploads, by the names of their options; those of a blend are in BLENDED."""
        sent: dict[str, Any] = {name: upload for name, upload in uploads.items() if name not in BLENDED}
        blended = [uploads[name] for name in BLENDED if name in uploads]
        if blended:
            sent |= {"image": blended[0], "blended": tuple(blended[1:])}
        return replace(self, **sent)


def table(of: type[Options] = Options) -> tuple[Option, ...]:
    """Every option besides the prompt, in order; those that are only flags come last."""
    key: Any = of
    return _table(key)


@cache
def _table(of: Any) -> tuple[Option, ...]:
    # Reading the annotations takes a millisecond, and each request needs the table several times.
    return tuple(
        _named(name, hint)
        for name, hint in get_type_hints(of, include_extras=True).items()
        if get_origin(hint) is Annotated
    )


def _named(name: str, hint: Any) -> Option:
    """The option of one field of the table: its name, and the type and the `Option` of its annotation."""
    value, option = get_args(hint)
    (plain,) = (part for part in get_args(value) if part is not types.NoneType)
    named: Option = replace(option, name=name, type=plain)
    return named
