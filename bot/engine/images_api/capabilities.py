"""What the models of providers can do, as data. OpenAI's models are known; others are what the host says. Pure.

The table is what OpenAI published by November 2026 in its client, in the documentation of `images.generate` and
`images.edit`: <https://platform.openai.com/docs/api-reference/images>.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from bot.config import ModelConfig
from bot.jobs import GenerationRequest, Operation
from bot.money import NOTHING, Micros, micros_of_dollars

_STANDARD = ((1024, 1024), (1536, 1024), (1024, 1536))
_TO_HIGH = ("low", "medium", "high")
_TO_MAX = (*_TO_HIGH, "xhigh", "max")


@dataclass(frozen=True, slots=True)
class AnySize:
    """Sizes that are not a list: sides in steps of `step`, up to a longest side, a shape and a number of pixels."""

    step: int = 8
    side: int = 4096
    ratio: float = 4.0
    """The longer side by the shorter one, at most."""
    pixels: tuple[int, int] = (64, 2**26)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs: micro-dollars for a picture, or for a million tokens of three kinds."""

    picture: Micros = NOTHING
    text: Micros = NOTHING
    image: Micros = NOTHING
    output: Micros = NOTHING

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing, as far as the host says."""
        return not any((self.picture, self.text, self.image, self.output))

    @property
    def is_by_token(self) -> bool:
        """Whether the usage decides, and not the number of pictures."""
        return bool(self.text or self.image or self.output)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do."""

    sizes: tuple[tuple[int, int], ...] | AnySize = AnySize()
    qualities: tuple[str, ...] = ()
    """The qualities it knows, the quickest first; none where nothing is to be said about quality."""
    quality: str = ""
    """The quality that is asked for."""
    backgrounds: tuple[str, ...] = ()
    background: str = ""
    """The background that is asked for; empty leaves it to the model."""
    formats: tuple[str, ...] = ()
    """What it can answer with; PNG is asked for where it is known."""
    options: frozenset[str] = frozenset({"seed"})
    """What may be sent beside the words, the size and the number: names of `SENDABLE`."""
    edits: bool = True
    masks: bool = True
    images: int = 4
    """The most pictures of one request."""
    previews: int = 0
    """Partial images that are asked for."""
    prices: Prices = Prices()
    tokens: tuple[tuple[str, int], ...] = ()
    """Tokens of a square picture of 1024×1024 pixels, by quality, to estimate what it costs."""

    @property
    def operations(self) -> frozenset[Operation]:
        """What can be done with it."""
        able = {Operation.TEXT2IMAGE}
        if self.edits:
            able |= {Operation.IMAGE2IMAGE, Operation.BLEND}
        if self.edits and self.masks:
            able |= {Operation.INPAINT}
        return frozenset(able)


def _openai(prices: tuple[str, str, str], tokens: Sequence[int], **changes: object) -> Capabilities:
    """A model of OpenAI with its prices for a million tokens (words, pictures, output) in dollars."""
    text, image, output = (micros_of_dollars(Decimal(price)) for price in prices)
    usual = Capabilities(
        sizes=_STANDARD,
        qualities=_TO_HIGH,
        quality="medium",
        backgrounds=("auto", "opaque", "transparent"),
        formats=("png", "webp", "jpeg"),
        options=frozenset(),
        previews=1,
        prices=Prices(NOTHING, text, image, output),
    )
    changed: Capabilities = replace(usual, **changes)  # type: ignore[arg-type]
    return replace(changed, tokens=tuple(zip(changed.qualities, tokens, strict=True)))


_FLEXIBLE = AnySize(step=16, side=3840, ratio=3.0, pixels=(655_360, 8_294_400))
_FORMER = (272, 1056, 4160)
_TWO = (200, 1767, 7034)
_TWO_FIVE = (*_TWO, 2 * _TWO[-1], 4 * _TWO[-1])
"""OpenAI gives no figures for `xhigh` and `max`: these are guesses, which the usage corrects afterwards."""

TABLE: dict[str, Capabilities] = {
    "gpt-image-1-mini": _openai(("2", "2.5", "8"), _FORMER),
    "gpt-image-1.5": _openai(("5", "8", "32"), _FORMER),
    "chatgpt-image-latest": _openai(("5", "8", "32"), _FORMER),
    "gpt-image-2": _openai(("5", "8", "30"), _TWO, sizes=_FLEXIBLE),
    "gpt-image-2.5-flare": _openai(("5", "8", "30"), _TWO_FIVE, sizes=_FLEXIBLE, qualities=_TO_MAX),
    "gpt-image-2.5-sunburst": _openai(("5", "8", "30"), _TWO_FIVE, sizes=_FLEXIBLE, qualities=_TO_MAX),
    "gpt-image-2.6-flare": _openai(("5", "8", "30"), _TWO),
    "gpt-image-2.6-sunburst": _openai(("5", "8", "30"), _TWO),
}
"""OpenAI's models by their names there; a snapshot, such as gpt-image-2-2026-04-21, is its model."""


def capabilities_of(model: ModelConfig) -> Capabilities:
    """What a model of a provider can do: what is known of it, changed by what the host says."""
    known = next((TABLE[name] for name in sorted(TABLE, key=len, reverse=True) if _is_named(model.source, name)), None)
    able = Capabilities() if known is None else known
    api = model.api
    changes: dict[str, object] = {"previews": min(api.previews, able.previews)}
    if api.sizes:
        changes["sizes"] = tuple(tuple(map(int, size.split("x"))) for size in api.sizes)
    if api.background in able.backgrounds and api.background != "auto":
        changes["background"] = api.background
    if api.quality:
        changes["quality"] = api.quality
    if api.options is not None:
        changes["options"] = frozenset(api.options)
    for name in ("images", "edits", "masks"):
        if getattr(api, name) is not None:
            changes[name] = getattr(api, name)
    if api.price is not None:
        changes["prices"] = Prices(micros_of_dollars(api.price))
    elif api.price_text is not None or api.price_image is not None or api.price_output is not None:
        said = [
            before if price is None else micros_of_dollars(price)
            for price, before in (
                (api.price_text, able.prices.text),
                (api.price_image, able.prices.image),
                (api.price_output, able.prices.output),
            )
        ]
        changes["prices"] = Prices(NOTHING, *said)
    return replace(able, **changes)  # type: ignore[arg-type]


def trouble_of(model: ModelConfig) -> str | None:
    """Why the host's settings for a model of a provider do not fit it, as a sentence; None if they do."""
    able = capabilities_of(model)
    if able.qualities and able.quality not in able.qualities:
        return f"{model.source} has the qualities {', '.join(able.qualities)}, and not {able.quality!r}."
    fitted = nearest_size(able, model.width, model.height)
    if fitted != (model.width, model.height):
        return (
            f"{model.source} cannot paint {model.width}×{model.height} pixels: "
            f"set width = {fitted[0]} and height = {fitted[1]}."
        )
    if able.prices.is_by_token and not able.tokens:
        return "a price for tokens is known, but not how many a picture takes; give the price of a picture instead."
    return None


def nearest_size(able: Capabilities, width: int, height: int) -> tuple[int, int]:
    """The size nearest to one that was asked for that a model can paint: first by shape, then by area."""
    sizes = able.sizes
    if not isinstance(sizes, AnySize):
        return min(sizes, key=lambda size: _apart(size, width, height))
    ratio = min(max(width / height, 1 / sizes.ratio), sizes.ratio)
    area = min(max(width * height, sizes.pixels[0]), sizes.pixels[1])
    wide = min(math.sqrt(area * ratio), sizes.side, sizes.side * ratio)
    up = math.ceil if width * height < sizes.pixels[0] else math.floor if width * height > sizes.pixels[1] else round
    across, down = (max(int(up(side / sizes.step)), 1) * sizes.step for side in (wide, wide / ratio))
    return across, down


def _apart(size: tuple[int, int], width: int, height: int) -> tuple[float, float]:
    shape = abs(math.log(size[0] / size[1]) - math.log(width / height))
    return round(shape, 3), abs(math.log(size[0] * size[1] / (width * height)))


def _is_named(source: str, name: str) -> bool:
    """Whether a model at a provider is one of the table, or a dated snapshot of it."""
    return source == name or (source.startswith(f"{name}-20") and source[len(name) + 1 :].replace("-", "").isdigit())


def made_in(operation: Operation) -> bool:
    """Whether an operation starts from pictures."""
    return operation is not Operation.TEXT2IMAGE


def pictures_sent(request: GenerationRequest) -> int:
    """How many pictures go to the provider with a request."""
    return len([request.image, *request.blended]) if made_in(request.operation) else 0
