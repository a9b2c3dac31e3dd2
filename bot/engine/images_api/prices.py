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
_MOST_TOKENS = 10**9
"""What no answer takes: a count beyond it says nothing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer: words and pictures that were sent, what came back, and how many of these were words."""

    text: int
    image: int
    output: int
    output_text: int = 0

    @classmethod
    def read(cls, found: Any) -> Usage | None:
        """The usage in an answer, which may be missing or in another form; None if it says nothing that counts."""
        if found is None:
            return None
        values, parts = _fields(found), _fields(_fields(found).get("input_tokens_details"))
        back = _fields(_fields(found).get("output_tokens_details"))
        whole, output = _count(values.get("input_tokens")), _count(values.get("output_tokens"))
        if not output:
            # A picture takes some.
            return None
        image = _count(parts.get("image_tokens")) or 0
        text = _count(parts.get("text_tokens"))
        if text is None:
            text = max((whole or 0) - image, 0)
        return cls(text, image, output, min(_count(back.get("text_tokens")) or 0, output))


def estimate(request: GenerationRequest, able: Capabilities) -> Micros:
    """What a request probably costs, rounded up to a micro-dollar."""
    prices, images = able.prices, request.num_images_per_prompt
    if not prices.is_by_token:
        return Micros(prices.picture * images)
    output = 0 if able.tokens is None else able.tokens.of(able.quality, request.width, request.height)
    if images == 1:
        output += able.previews * _TOKENS_OF_PREVIEW
    text = len(request.prompt) // _LETTERS_PER_TOKEN + 8
    return by_tokens(able, Usage(text, pictures_sent(request) * _TOKENS_OF_INPUT, output * images))


def settled(able: Capabilities, usage: Usage | None, images: int) -> Micros | None:
    """What an answer with so many pictures cost; None if that is not known: without usage, or without a picture."""
    if able.prices.is_free:
        return NOTHING
    if not able.prices.is_by_token:
        return Micros(able.prices.picture * images) if images else None
    return None if usage is None else by_tokens(able, usage)


def by_tokens(able: Capabilities, usage: Usage) -> Micros:
    """The price of tokens, rounded up to a micro-dollar."""
    prices = able.prices
    back = prices.output if prices.output_text is None else prices.output_text
    sent = usage.text * prices.text + usage.image * prices.image
    came = (usage.output - usage.output_text) * prices.output + usage.output_text * back
    return Micros(-(-(sent + came) // _MILLION))


def _fields(found: Any) -> dict[str, Any]:
    """The fields of a part of an answer, which the client may have read or not."""
    fields: dict[str, Any] = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    return fields


def _count(value: Any) -> int | None:
    """A number of tokens; None for what is none. Some servers write whole numbers as 50.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value <= _MOST_TOKENS else None
