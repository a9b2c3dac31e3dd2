"""Models to measure with: the one in the box, or the architecture of a large one with random weights.

    python -m benchmarks.models sd15|sdxl FOLDER [--toy] [--dtype bfloat16] [--device cuda]

Random weights cost what trained ones cost. They are never zeros, which some kernels skip and which hide mistakes. A
toy has the same blocks, far narrower, and paints 64 pixels: it proves on any CPU that the real one would run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bot.config import EMBEDDED_MODEL, ModelConfig
from bot.engine.catalog import folder_of

KINDS = ("sd15", "sdxl")

_SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/unet/config.json"""

_SD15_UNET: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
"""https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json; the rest is diffusers'
default."""

_TOY_UNETS: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 32, "attention_head_dim": 4},
    "sdxl": {
        "block_out_channels": (32, 64, 128),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 2, 4),
        "cross_attention_dim": 64,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 32 + 6 * 8,
    },
}


def unet_config(kind: str, *, toy: bool = False) -> dict[str, Any]:
    """What diffusers builds the denoiser from."""
    return {**(_SDXL_UNET if kind == "sdxl" else _SD15_UNET), **(_TOY_UNETS[kind] if toy else {})}


def build(kind: str, *, toy: bool = False, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Any:
    """A pipeline of the real architecture with random weights. It is made on `device`, where that is fast."""
    xl = kind == "sdxl"
    channels = (16, 32, 64, 64) if toy else (128, 256, 512, 512)
    # Words are cut as the model in the box cuts them: which tokens they become costs nothing.
    tokenizer = CLIPTokenizer.from_pretrained(Path(folder_of(EMBEDDED_MODEL)) / "tokenizer")
    torch.manual_seed(0)
    with torch.device(device):
        unet = diffusers.UNet2DConditionModel(**unet_config(kind, toy=toy))
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=channels,
            layers_per_block=2,
            norm_num_groups=8 if toy else 32,
            sample_size=1024 if xl else 512,
            scaling_factor=0.13025 if xl else 0.18215,
            force_upcast=False,
        )
        first = CLIPTextModel(_text(tokenizer, 32, 2, 4) if toy else _text(tokenizer, 768, 12, 12))
        second = (
            CLIPTextModelWithProjection(
                _text(tokenizer, 32, 2, 4) if toy else _text(tokenizer, 1280, 32, 20, act="gelu")
            )
            if xl
            else None
        )
    modules = {"unet": unet, "vae": vae, "text_encoder": first}
    modules |= {} if second is None else {"text_encoder_2": second}
    parts: dict[str, Any] = {name: module.to(dtype).eval() for name, module in modules.items()}
    parts |= {"tokenizer": tokenizer, "scheduler": _scheduler()}
    if xl:
        return diffusers.StableDiffusionXLPipeline(**parts, tokenizer_2=tokenizer, add_watermarker=False)
    return diffusers.StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def save(
    folder: Path, kind: str, *, toy: bool = False, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> ModelConfig:
    """Write such a model to a folder; returns how the house configures it, with its usual size and guidance."""
    build(kind, toy=toy, dtype=dtype, device=device).save_pretrained(folder)
    side = 64 if toy else 1024 if kind == "sdxl" else 512
    name = f"{kind}-toy" if toy else kind
    return ModelConfig(name=name, source=str(folder), width=side, height=side, guidance_scale=5.0)


def _text(tokenizer: Any, width: int, layers: int, heads: int, *, act: str = "quick_gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=max(len(tokenizer), 49408) if width > 32 else len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        hidden_act=act,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _scheduler() -> Any:
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    save(asked.folder, asked.kind, toy=asked.toy, dtype=getattr(torch, asked.dtype), device=asked.device)
