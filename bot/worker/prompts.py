"""From prompts to embeddings: compel encodes weights and long prompts, the pipeline itself encodes all other prompts.

Imported in the engine process only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from compel import Compel, CompelForSD, CompelForSDXL
from compel.prompt_parser import FlattenedPrompt, PromptParser

from bot.errors import PaintFailed
from bot.jobs import Adapters
from bot.worker.device_errors import is_device_lost, is_out_of_memory

REMEMBERED = 128
"""For how many texts the embeddings of one model are kept."""

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

    def arguments(self, prompt: str, negative: str, adapters: Adapters) -> dict[str, Any]:
        """The pipeline's arguments for a prompt; the texts themselves for a kind of pipeline that compel does not know.

        Raises PaintFailed when a prompt's weights make no sense.
        """
        if not isinstance(self._pipeline, (*_SD, *_SDXL)):
            return {"prompt": prompt, "negative_prompt": negative}
        wanted = self._encode(prompt, adapters)
        unwanted = self._encode(negative, adapters)
        if not negative and self._pipeline.config.get("force_zeros_for_empty_prompt"):
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

    def _padded(self, encoded: _Encoded, length: int, adapters: Adapters) -> torch.Tensor:
        """The embeddings, padded to a length with empty prompts: guidance needs both texts equally long."""
        missing = length - encoded.embeds.shape[1]
        if not missing:
            return encoded.embeds
        empty = self._encode("", adapters).embeds
        return torch.cat([encoded.embeds, empty.repeat(1, missing // empty.shape[1], 1)], dim=1)

    def _encode(self, text: str, adapters: Adapters) -> _Encoded:
        key = (text, adapters)
        if key not in self._known:
            with torch.inference_mode(), self._apply_loras(adapters):
                self._known[key] = self._plainly(text) if self._is_plain(text) else self._by_compel(text)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _is_plain(self, text: str) -> bool:
        """Whether the pipeline's own encoding is enough: no weights, and not too long for the model."""
        tokenizers = [getattr(self._pipeline, name, None) for name in ("tokenizer", "tokenizer_2")]
        long = any(t is not None and len(t(text).input_ids) > t.model_max_length for t in tokenizers)
        return not long and not _has_weights(text)

    def _plainly(self, text: str) -> _Encoded:
        pipeline = self._pipeline
        embeds, *rest = pipeline.encode_prompt(
            text, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return _Encoded(embeds, rest[1] if len(rest) > 1 else None)

    def _by_compel(self, text: str) -> _Encoded:
        kind = CompelForSDXL if isinstance(self._pipeline, _SDXL) else CompelForSD
        try:
            # Make a new one each time: it keeps the embedding of the empty prompt, which depends on the LoRAs.
            conditioning = kind(self._pipeline)(text)
        except (PromptParser.ParsingException, ValueError, RuntimeError) as error:
            if is_device_lost(error) or is_out_of_memory(error):
                raise
            raise PaintFailed(f"The weights in this prompt cannot be applied: {str(error)[:200]}") from error
        return _Encoded(conditioning.embeds, conditioning.pooled_embeds)


def _has_weights(text: str) -> bool:
    """Whether compel finds weights or conjunctions in a prompt."""
    try:
        conjunction = Compel.parse_prompt_string(text)
    except PromptParser.ParsingException:
        return False
    return len(conjunction.prompts) > 1 or any(
        not isinstance(prompt, FlattenedPrompt) or any(getattr(child, "weight", None) != 1 for child in prompt.children)
        for prompt in conjunction.prompts
    )
