"""What the models of providers can do, as data. OpenAI's models are known; others are what the host says. Pure.

The table is what OpenAI published by November 2026 in its client, in the documentation of `images.generate` and
`images.edit`: <https://platform.openai.com/docs/api-reference/images>. docs/images-api.md says what the prices were
compared with. For gpt-image-2.6, OpenAI's reference names no sizes beyond the standard ones and no `xhigh`: that it
takes those of gpt-image-2.5 is what other services that offer it say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from bot.config import ModelConfig
from bot.jobs import GenerationRequest, Operation
from bot.money import NOTHING, Micros, micros_of_dollars
from bot.provider_config import ProviderConfig

_STANDARD = ((1024, 1024), (1536, 1024), (1024, 1536))
_TO_HIGH = ("low", "medium", "high")
_TO_MAX = (*_TO_HIGH, "xhigh", "max")
_SQUARE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AnySize:
    """Sizes that are not a list: sides in steps of `step`, up to a longest side, a shape and a number of pixels."""

    step: int = 8
    side: int = 4096
    ratio: float = 4.0
    """The longer side by the shorter one, at most."""
    pixels: tuple[int, int] = (64, 2**26)


@dataclass(frozen=True, slots=True)
class TokensByArea:
    """How many tokens a picture of any size takes, from those of one of 1024×1024 pixels, by quality."""

    square: tuple[tuple[str, int], ...]

    def of(self, quality: str, width: int, height: int) -> int:
        """Tokens of output for a picture; for an unknown quality those of the dearest."""
        square = dict(self.square).get(quality) or max(tokens for _, tokens in self.square)
        return -(-square * width * height // _SQUARE)


@dataclass(frozen=True, slots=True)
class TokensByPatches:
    """How many tokens a picture takes, from the number of patches along its longer side, by quality.

    OpenAI publishes the sums in a calculator; the formula behind them was found by its users:
    <https://community.openai.com/t/gpt-image-2-output-pricing-calculator-online-and-in-your-code/1382699>.
    """

    patches: tuple[tuple[str, int], ...]

    def of(self, quality: str, width: int, height: int) -> int:
        """Tokens of output for a picture; for an unknown quality those of the dearest."""
        longer = dict(self.patches).get(quality) or max(patches for _, patches in self.patches)
        short, long = sorted((width, height))
        shorter = (2 * longer * short + long) // (2 * long)
        return -(-longer * shorter * (2_000_000 + width * height) // 4_000_000)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs: micro-dollars for a picture, or for a million tokens of several kinds."""

    picture: Micros = NOTHING
    text: Micros = NOTHING
    image: Micros = NOTHING
    output: Micros = NOTHING
    output_text: Micros | None = None
    """Words among what comes back; None if they cost as much as the rest of it."""

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing, as far as the host says."""
        return not self.picture and not self.is_by_token

    @property
    def is_by_token(self) -> bool:
        """Whether the usage decides, and not the number of pictures."""
        return bool(self.text or self.image or self.output or self.output_text)


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
    tokens: TokensByArea | TokensByPatches | None = None
    """How many tokens a picture takes, to estimate what it costs; None if that is not known."""

    @property
    def operations(self) -> frozenset[Operation]:
        """What can be done with it."""
        able = {Operation.TEXT2IMAGE}
        if self.edits:
            able |= {Operation.IMAGE2IMAGE, Operation.BLEND}
        if self.edits and self.masks:
            able |= {Operation.INPAINT}
        return frozenset(able)


_FAMILY = Capabilities(
    sizes=_STANDARD,
    backgrounds=("auto", "opaque", "transparent"),
    formats=("png", "webp", "jpeg"),
    options=frozenset(),
    previews=1,
)
"""What OpenAI's models have in common."""


def _openai(
    prices: tuple[str, str, str], tokens: TokensByArea | TokensByPatches, output_text: str = "", **changes: object
) -> Capabilities:
    """A model of OpenAI with its prices for a million tokens (words, pictures, output) in dollars."""
    text, image, output = (micros_of_dollars(Decimal(price)) for price in prices)
    back = micros_of_dollars(Decimal(output_text)) if output_text else None
    charged = Prices(NOTHING, text, image, output, back)
    changes = {"qualities": _TO_HIGH, "quality": "medium", "prices": charged, "tokens": tokens} | changes
    found: Capabilities = replace(_FAMILY, **changes)  # type: ignore[arg-type]
    return found


def _flexible(patches: Sequence[int]) -> Capabilities:
    """A model of the generations from gpt-image-2 on, with the patches along the longer side, by quality."""
    qualities = _TO_MAX[: len(patches)]
    counted = TokensByPatches(tuple(zip(qualities, patches, strict=True)))
    return _openai(("5", "8", "30"), counted, qualities=qualities, sizes=_ANY_OF_OPENAI)


_ANY_OF_OPENAI = AnySize(step=16, side=3840, ratio=3.0, pixels=(655_360, 8_294_400))
_FORMER = TokensByArea((("low", 272), ("medium", 1056), ("high", 4160)))
_MINI = TokensByArea((("low", 625), ("medium", 1375), ("high", 4500)))
"""From the prices of pictures that OpenAI names, $0.005, $0.011 and $0.036."""
_TWO = _flexible((16, 48, 96))
_TWO_FIVE = _flexible((16, 24, 48, 64, 96))

TABLE: dict[str, Capabilities] = {
    "gpt-image-1-mini": _openai(("2", "2.5", "8"), _MINI),
    "gpt-image-1.5": _openai(("5", "8", "32"), _FORMER, "10"),
    "chatgpt-image-latest": _openai(("5", "8", "32"), _FORMER, "10"),
    "gpt-image-2": _TWO,
    "gpt-image-2.5-flare": _TWO_FIVE,
    "gpt-image-2.5-sunburst": _TWO_FIVE,
    "gpt-image-2.6-flare": _TWO_FIVE,
    "gpt-image-2.6-sunburst": _TWO_FIVE,
}
"""OpenAI's models by their names there; a snapshot, such as gpt-image-2-2026-04-21, is its model."""

_OF_THE_FAMILY = ("gpt-image-", "chatgpt-image-")


def capabilities_of(model: ModelConfig) -> Capabilities:
    """What a model of a provider can do: what is known of it, changed by what the host says."""
    known = next((TABLE[name] for name in sorted(TABLE, key=len, reverse=True) if _is_named(model.source, name)), None)
    if known is None:
        known = _FAMILY if model.source.startswith(_OF_THE_FAMILY) else Capabilities()
    able, api = known, model.api
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
    else:
        said = {
            name: micros_of_dollars(price)
            for name in ("text", "image", "output", "output_text")
            if (price := getattr(api, f"price_{name}")) is not None
        }
        changes["prices"] = replace(able.prices, **said)
    return replace(able, **changes)  # type: ignore[arg-type]


def trouble_of(model: ModelConfig, provider: ProviderConfig) -> str | None:
    """Why the host's settings for a model of a provider do not fit it, as a sentence; None if they do."""
    able = capabilities_of(model)
    if provider.is_openai and able.prices.is_free and model.api.price is None:
        return (
            f"Atelier does not know what {model.source} costs at OpenAI: set the price of a picture in dollars, as in "
            f"api = {{ price = 0.05 }}, or take one of {', '.join(TABLE)}."
        )
    if able.qualities and able.quality not in able.qualities:
        return f"{model.source} has the qualities {', '.join(able.qualities)}, and not {able.quality!r}."
    fitted = nearest_size(able, model.width, model.height)
    if fitted != (model.width, model.height):
        return (
            f"{model.source} cannot paint {model.width}×{model.height} pixels: "
            f"set width = {fitted[0]} and height = {fitted[1]}."
        )
    if able.prices.is_by_token and able.tokens is None:
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


def pictures_sent(request: GenerationRequest) -> int:
    """How many pictures go to the provider with a request."""
    return 0 if request.operation is Operation.TEXT2IMAGE else 1 + len(request.blended)
