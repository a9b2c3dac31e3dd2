"""What a request to a provider costs: estimated before, and by the usage that the provider reports afterwards. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.engine.images_api.capabilities import Capabilities, pictures_sent
from bot.jobs import GenerationRequest
from bot.money import NOTHING, Micros

_MILLION = 1_000_000
_LETTERS_PER_TOKEN = 3
"""English has about four letters a token; other languages have fewer."""
_TOKENS_OF_INPUT = 1600
"""Tokens of a picture that is sent, at most about."""
_TOKENS_OF_PREVIEW = 100
"""Tokens of a partial image: <https://platform.openai.com/docs/guides/image-generation>."""
_SQUARE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer: words and pictures that were sent, and what came back."""

    text: int
    image: int
    output: int

    @classmethod
    def read(cls, found: Any) -> Usage | None:
        """The usage in an answer, which may be missing or in another form; None if it says nothing that counts."""
        if found is None:
            return None
        values = found if isinstance(found, dict) else getattr(found, "__dict__", {})
        details = values.get("input_tokens_details")
        parts = details if isinstance(details, dict) else getattr(details, "__dict__", {})
        whole, output = _count(values.get("input_tokens")), _count(values.get("output_tokens"))
        if output is None:
            return None
        image = _count(parts.get("image_tokens")) or 0
        text = _count(parts.get("text_tokens"))
        if text is None:
            text = max((whole or 0) - image, 0)
        return cls(text, image, output)


def estimate(request: GenerationRequest, able: Capabilities) -> Micros:
    """What a request probably costs, rounded up to a micro-dollar."""
    prices, images = able.prices, request.num_images_per_prompt
    if not prices.is_by_token:
        return Micros(prices.picture * images)
    tokens = dict(able.tokens)
    square = tokens.get(able.quality) or max(tokens.values(), default=0)
    # By area: exact for the standard sizes of gpt-image-1.5, and more than the newer models really take.
    output = -(-square * request.width * request.height // _SQUARE)
    if images == 1:
        output += able.previews * _TOKENS_OF_PREVIEW
    text = len(request.prompt) // _LETTERS_PER_TOKEN + 8
    return by_tokens(able, Usage(text, pictures_sent(request) * _TOKENS_OF_INPUT, output * images))


def settled(able: Capabilities, usage: Usage | None, images: int) -> Micros | None:
    """What an answer with so many pictures cost; None if that is not known, because no usage was reported."""
    if able.prices.is_free:
        return NOTHING
    if not able.prices.is_by_token:
        return Micros(able.prices.picture * images)
    return None if usage is None else by_tokens(able, usage)


def by_tokens(able: Capabilities, usage: Usage) -> Micros:
    """The price of tokens, rounded up to a micro-dollar."""
    prices = able.prices
    whole = usage.text * prices.text + usage.image * prices.image + usage.output * prices.output
    return Micros(-(-whole // _MILLION))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
