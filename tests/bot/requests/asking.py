"""What somebody asks for, of which models, and what the bot makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import EMBEDDED_MODEL, ControlNetConfig, LoraConfig, ModelConfig
from bot.errors import UserError
from bot.jobs import GenerationRequest, Upload
from bot.requests.options import Options
from bot.requests.resolve import resolve

SD15 = ModelConfig(
    name="sd15", source="org/sd15", steps=30, guidance_scale=7.5, negative_prompt="blurry", sampler="euler a"
)
TINY = ModelConfig(name="tiny", source="org/tiny", width=8, height=8)
WIDE = ModelConfig(name="wide", source="org/wide", width=1024, height=512)


def an_upload(width: int = 64, height: int = 64, sha256: str = "a" * 64) -> Upload:
    return Upload(b"", width, height, sha256)


LORAS = (
    LoraConfig(name="sketch", source="sketch.safetensors", weight=0.7, trigger="pencil sketch"),
    LoraConfig(name="ink", source="ink.safetensors"),
    *(LoraConfig(name=f"l{n}", source="l.safetensors") for n in range(4)),
)
CANNY = ControlNetConfig(name="canny", source="c.safetensors", description="white edges on black", weight=0.8)
DEPTH = ControlNetConfig(name="depth", source="d.safetensors")
WORN = ModelConfig(name="worn", source="org/worn", loras=LORAS, controlnets=(CANNY, DEPTH))
EMOJI = EMBEDDED_MODEL.model_copy(update={"width": 64, "height": 64, "steps": 20})
MODELS = (EMOJI, SD15, TINY, WIDE, WORN)
SAMPLERS = ("default", "ddim", "dpm++ 2m", "dpm++ 2m karras", "euler", "euler a")
SENDABLE = 500
"""Characters of a refusal; the client adds the prompt, and 2,000 fit into a message."""


def asked(prompt: str, **options: Any) -> GenerationRequest:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS).request


def notes(prompt: str, **options: Any) -> tuple[str, ...]:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS).notes


def refusal(prompt: str, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        resolve(Options(prompt, **options), MODELS, SAMPLERS)
    assert len(str(refused.value)) <= SENDABLE
    return str(refused.value)
