"""From prompts to embeddings: plain ones as the pipeline itself encodes them, others with weights or in chunks.

A text is read first (`Prompts.read`), which does not use the device and may run beside the thread that does. Imported
in the engine process only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from bot.engine import weights
from bot.errors import PaintFailed
from bot.jobs import Adapters
from bot.worker import weighting
from bot.worker.morphing import slerp
from bot.worker.weighting import Tokens

REMEMBERED = 128
"""For how many texts the embeddings of one model are kept."""

MOST_CHUNKS = 1500
"""The longest text that is encoded, in lengths of the model's text encoder.

A prompt of 4,000 characters fits: a character takes at most four tokens, the shortest encoder reads 22 at once, and
where the text is cut, at most half of a length stays empty.
"""

_SD = (
    diffusers.StableDiffusionPipeline,
    diffusers.StableDiffusionImg2ImgPipeline,
    diffusers.StableDiffusionInpaintPipeline,
    diffusers.StableDiffusionControlNetPipeline,
    diffusers.StableDiffusionControlNetImg2ImgPipeline,
    diffusers.StableDiffusionControlNetInpaintPipeline,
)
_SDXL = (
    diffusers.StableDiffusionXLPipeline,
    diffusers.StableDiffusionXLImg2ImgPipeline,
    diffusers.StableDiffusionXLInpaintPipeline,
    diffusers.StableDiffusionXLControlNetPipeline,
    diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
    diffusers.StableDiffusionXLControlNetInpaintPipeline,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as a model reads it."""

    text: str
    """As it was written."""
    plain: str
    """Without the marks of its weights."""
    tokens: tuple[Tokens, ...] = ()
    """For each text encoder; none where the pipeline's own encoding is enough."""
    pooled: tuple[int, ...] = ()
    """The first token ids of the plain text, for the pooled embedding of SDXL."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The embeddings of one text: (1, tokens, width), and for SDXL the pooled ones, (1, width)."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None


class Prompts:
    """Encodes the prompts of one pipeline, and keeps the last embeddings."""

    def __init__(self, pipeline: Any, apply_loras: Callable[[Adapters], AbstractContextManager[None]]) -> None:
        """`apply_loras` puts LoRAs on the text encoders."""
        self._pipeline = pipeline
        self._apply_loras = apply_loras
        self._known: OrderedDict[tuple[str, Adapters], _Encoded] = OrderedDict()
        # Copies, because a tokenizer keeps the settings of its last call and the pipeline uses its own meanwhile.
        self._tokenizers = [
            deepcopy(getattr(pipeline, f"tokenizer{number}"))
            for number in ("", "_2")
            if isinstance(pipeline, (*_SD, *_SDXL)) and getattr(pipeline, f"tokenizer{number}", None) is not None
        ]

    def read(self, text: str) -> Reading:
        """Read a text: its weights, and its tokens where it has weights or is long. In one thread at a time.

        The time it takes grows with the length of the text alone. Raises PaintFailed for one that is too long.
        """
        found = weights.read(text)
        plain = found.text
        if not self._tokenizers or (found.is_plain and not any(_is_long(plain, own) for own in self._tokenizers)):
            return Reading(text, plain)
        tokens = tuple(weighting.tokenize(own, found.parts) for own in self._tokenizers)
        if any(read.chunks > MOST_CHUNKS for read in tokens):
            raise PaintFailed("The prompt is too long for this model: make it shorter, or use more common words.")
        if not isinstance(self._pipeline, _SDXL):
            return Reading(text, plain, tokens)
        own = self._tokenizers[-1]
        pooled = own(plain, padding="max_length", max_length=own.model_max_length, truncation=True).input_ids
        return Reading(text, plain, tokens, tuple(pooled))

    def arguments(self, prompt: str | Reading, negative: str | Reading, adapters: Adapters) -> dict[str, Any]:
        """The pipeline's arguments for a prompt; the texts as they were written for a kind of pipeline not named above.

        A text that was not read yet is read first.
        """
        if isinstance(prompt, str):
            prompt = self.read(prompt)
        if isinstance(negative, str):
            negative = self.read(negative)
        if not isinstance(self._pipeline, (*_SD, *_SDXL)):
            return {"prompt": prompt.text, "negative_prompt": negative.text}
        wanted = self._encode(prompt, adapters)
        unwanted = self._encode(negative, adapters)
        if not negative.text and self._pipeline.config.get("force_zeros_for_empty_prompt"):
            # As diffusers does for SDXL without a negative prompt.
            assert wanted.pooled is not None  # noqa: S101 - only SDXL has this setting
            unwanted = _Encoded(torch.zeros_like(wanted.embeds), torch.zeros_like(wanted.pooled))
        length = max(wanted.embeds.shape[1], unwanted.embeds.shape[1])
        arguments = {
            "prompt_embeds": self._padded(wanted, length, adapters),
            "negative_prompt_embeds": self._padded(unwanted, length, adapters),
        }
        if wanted.pooled is not None and unwanted.pooled is not None:
            arguments |= {"pooled_prompt_embeds": wanted.pooled, "negative_pooled_prompt_embeds": unwanted.pooled}
        return arguments

    def between(
        self, texts: Sequence[str | Reading], adapters: Adapters, shares: Sequence[float]
    ) -> list[dict[str, Any]]:
        """The pipeline's arguments for frames from a prompt to another, at shares of the way from 0 to 1.

        `texts` are the prompt, the negative prompt, and the prompt of the last frame if it is another one. Raises
        PaintFailed for a pipeline that takes no embeddings.
        """
        if not isinstance(self._pipeline, (*_SD, *_SDXL)):
            raise PaintFailed("This model cannot paint animations. Choose another model.")
        prompt, negative, *rest = texts
        first, last = (self.arguments(end, negative, adapters) for end in (prompt, rest[0] if rest else prompt))
        length = max(each["prompt_embeds"].shape[1] for each in (first, last))
        for each in (first, last):
            for name in ("prompt_embeds", "negative_prompt_embeds"):
                each[name] = self._lengthened(each[name], length, adapters)
        return [{name: slerp(first[name], last[name], share) for name in first} for share in shares]

    def _padded(self, encoded: _Encoded, length: int, adapters: Adapters) -> torch.Tensor:
        """The embeddings, padded to a length with empty prompts: guidance needs both texts equally long."""
        return self._lengthened(encoded.embeds, length, adapters)

    def _lengthened(self, embeds: torch.Tensor, length: int, adapters: Adapters) -> torch.Tensor:
        missing = length - embeds.shape[1]
        if not missing:
            return embeds
        empty = self._encode(Reading("", ""), adapters).embeds
        return torch.cat([embeds, empty.repeat(1, missing // empty.shape[1], 1)], dim=1)

    def _encode(self, reading: Reading, adapters: Adapters) -> _Encoded:
        key = (reading.text, adapters)
        if key not in self._known:
            with torch.inference_mode(), self._apply_loras(adapters):
                self._known[key] = self._weighted(reading) if reading.tokens else self._plainly(reading.plain)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _plainly(self, text: str) -> _Encoded:
        pipeline = self._pipeline
        embeds, *rest = pipeline.encode_prompt(
            text, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return _Encoded(embeds, rest[1] if len(rest) > 1 else None)

    def _weighted(self, reading: Reading) -> _Encoded:
        """The embeddings of a text that was read as tokens."""
        pipeline, sdxl = self._pipeline, isinstance(self._pipeline, _SDXL)
        encoders: list[Any] = [getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2")]
        encoders = [encoder for encoder in encoders if encoder is not None]
        found = [
            weighting.encode(encoder, tokens, penultimate=sdxl)
            for encoder, tokens in zip(encoders, reading.tokens, strict=True)
        ]
        # Two tokenizers may cut a text into different numbers of chunks.
        length = max(embeds.shape[1] for embeds, _ in found)
        embeds = torch.cat(
            [
                torch.cat([embeds, empty.repeat(1, (length - embeds.shape[1]) // empty.shape[1], 1)], dim=1)
                for embeds, empty in found
            ],
            dim=-1,
        )
        if not sdxl:
            return _Encoded(embeds, None)
        encoder = encoders[-1]
        # The pooled embedding has no weights, as compel's has none.
        return _Encoded(embeds, encoder(torch.tensor([reading.pooled], device=encoder.device)).text_embeds)


def _is_long(text: str, tokenizer: Any) -> bool:
    """Whether a text has more tokens than the model reads at once."""
    return len(tokenizer(text, truncation=False, verbose=False).input_ids) > int(tokenizer.model_max_length)
