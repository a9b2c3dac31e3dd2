"""A request: what to paint, with every value resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from bot.language import mark, say

Adapters = tuple[tuple[str, float], ...]
"""LoRAs by name, each with its weight; empty means the model without LoRAs."""

Shape = tuple[str, int, int]
"""A model (with its ControlNet), and the width and height of its pictures in pixels. Each shape is timed separately."""


class Operation(StrEnum):
    """How the pictures of a request are made."""

    TEXT2IMAGE = "text2image"
    IMAGE2IMAGE = "image2image"
    INPAINT = "inpaint"
    """A part of a picture is painted again: the white parts of a mask, or some cells of a grid."""
    OUTPAINT = "outpaint"
    """A picture is continued beyond its edges; the picture itself keeps its pixels, except at the seam."""
    BLEND = "blend"
    """Several pictures are mixed evenly, pixel by pixel, and their mean is painted over."""
    UPSCALE = "upscale"
    """A network enlarges a picture; nothing is painted."""
    MORPH = "morph"
    """An animation from one prompt and seed to another: each frame is painted from words, somewhere between both."""

    FILM = "film"
    """A model for videos paints frames from words: all of them at once, as one sample."""
    IMAGE2FILM = "image2film"
    """A model for videos paints frames that go on from a picture."""

    @property
    def begins_with_noise(self) -> bool:
        """Whether it needs no picture to start from."""
        return self in (Operation.TEXT2IMAGE, Operation.MORPH, Operation.FILM)

    @property
    def is_film(self) -> bool:
        """Whether a model for videos paints it."""
        return self in (Operation.FILM, Operation.IMAGE2FILM)


class Kept(StrEnum):
    """What of a picture stays where a part of it is painted again, and its thing is told from a plain background."""

    THING = "thing"
    BACKGROUND = "background"


Margins = tuple[float, float, float, float]
"""How far a canvas reaches beyond a picture: left, upper, right and lower, in parts of its width and height."""

BLEND_PROMPT = mark("a blend of pictures")
"""What a blend without words is called, here and to the model."""

ENLARGED = mark("a picture, enlarged")
"""What a request is called that enlarges a picture which a person sent."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a request in the engine: `forwards` of its denoiser with `rows` rows each, and `images` to decode."""

    shape: Shape
    rows: int
    forwards: int
    images: int


@dataclass(frozen=True, slots=True)
class StyleRef:
    """A version of a server's style: its number, its name, and the number of the version. An empty name is no style."""

    name: str = ""
    number: int = 0
    version: int = 0


NO_STYLE = StyleRef()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to paint, with every value resolved. Field names are those of diffusers; sizes are in pixels.

    It is stored as JSON. A field that is added later is missing in older JSON, so it needs a default.
    """

    prompt: str
    model: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    operation: Operation = Operation.TEXT2IMAGE
    num_images_per_prompt: int = 1
    negative_prompt: str = ""
    sampler: str = "default"
    loras: Adapters = ()
    image: str = ""
    """The sha256 of the upload to start from; empty for an operation that starts from noise."""
    blended: tuple[str, ...] = ()
    """The sha256 of the uploads that a blend mixes with `image`; the same one may come more than once."""
    mask_image: str = ""
    """The sha256 of the upload that says where to repaint `image`: its white parts are repainted."""
    region: tuple[int, ...] = ()
    """Where to repaint `image` if there is no mask: cells of the grid, row by row; 0 is the upper left one."""
    kept: Kept | None = None
    """What of `image` is kept, if there is neither a mask nor a region."""
    margins: Margins = (0.0, 0.0, 0.0, 0.0)
    """How far the canvas of an outpaint reaches beyond `image`."""
    strength: float = 1.0
    """How much of `image` is painted over, from 0 (nothing) to 1."""
    controlnet: str = ""
    """The ControlNet that makes the picture follow `control_image`, by its name in the configuration."""
    control_image: str = ""
    """The sha256 of the upload that the ControlNet follows."""
    controlnet_conditioning_scale: float = 1.0
    draft: bool = False
    """Whether it was painted with the model's fast preset, so that a picture of it can be finished."""
    style: str = ""
    """The name of the style that was used, if any."""
    style_number: int = 0
    """The number of that style within its server."""
    style_version: int = 0
    provider: str = ""
    """The server that paints it and gets its words, by its name in the configuration; empty for this machine."""
    frames: int = 0
    """How many frames an animation has; 0 is for pictures. An animation is one picture, in one file."""
    end_prompt: str = ""
    """What the last frame of an animation shows; empty is the prompt."""
    end_seed: int | None = None
    """The seed of the last frame of an animation; None is the seed of the first."""

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Self:
        """Build a request of its fields; values from JSON (lists, strings) become tuples and enumerations."""
        read = dict(values)
        if "operation" in read:
            read["operation"] = Operation(read["operation"])
        if read.get("kept") is not None:
            read["kept"] = Kept(read["kept"])
        if "loras" in read:
            read["loras"] = tuple((name, weight) for name, weight in read["loras"])
        for name in ("region", "margins", "blended"):
            if name in read:
                read[name] = tuple(read[name])
        return cls(**read)

    @property
    def style_ref(self) -> StyleRef:
        """The version of the style that was used."""
        return StyleRef(self.style, self.style_number, self.style_version)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a person wrote, as the model reads them; they never go into a log.

        They are the prompt, the negative prompt, and for an animation that has one, the prompt of its last frame.
        """
        return (self.prompt, self.negative_prompt, *filter(None, [self.end_prompt]))

    @property
    def title(self) -> str:
        """What the person asked for, in one line: the prompt, and of an animation the last one too."""
        if self.prompt in (BLEND_PROMPT, ENLARGED):
            # Nobody typed it.
            return say(self.prompt)
        return f"{self.prompt} → {self.end_prompt}" if self.end_prompt else self.prompt

    @property
    def painted(self) -> int:
        """How many pictures are painted; each frame of an animation is one."""
        return self.frames or self.num_images_per_prompt

    @property
    def uploads(self) -> tuple[str, ...]:
        """The sha256 of every upload that the request uses."""
        return tuple(dict.fromkeys(filter(None, (self.image, *self.blended, self.mask_image, self.control_image))))

    @property
    def steps(self) -> int:
        """The denoising steps that are really done: with an image to start from, `strength` times as many."""
        if self.operation is Operation.UPSCALE:
            return 0
        steps = self.num_inference_steps
        return steps if self.operation.begins_with_noise else min(max(int(steps * self.strength), 1), steps)

    @property
    def cost(self) -> float:
        """The work in megapixel-steps: pixels times denoising steps, divided by a million."""
        return self.width * self.height * self.painted * self.steps / 1e6

    @property
    def work(self) -> Work:
        """The work in the engine: guidance takes two rows a picture, Heun two forwards a step except the last."""
        images = self.painted
        if self.operation.is_film:
            # One sample holds all frames, so its forwards are as large as those of a picture with all of their pixels.
            rows = 2 if self.guidance_scale > 1 else 1
            return Work((self.model, self.width, self.height * self.frames), rows, self.steps, 1)
        forwards = max(2 * self.steps - 1, 0) if self.sampler == "heun" else self.steps
        rows = 2 * images if self.guidance_scale > 1 else images
        model = f"{self.model}+{self.controlnet}" if self.controlnet else self.model
        return Work((model, self.width, self.height), rows, forwards, images)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed per image; asking for seed + n - 1 reproduces image n alone."""
        return tuple((self.seed + n) % 2**32 for n in range(self.num_images_per_prompt))
