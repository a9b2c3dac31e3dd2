"""Pipelines of every kind with random weights, so small that a step takes milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bot.engine.catalog import SAMPLERS

BLOCKS: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}
UP = ("CrossAttnUpBlock2D", "UpBlock2D")
SIDE = 32
"""Pixels; a latent is half as wide."""


@dataclass(frozen=True)
class Kind:
    """A pipeline and what a call of it needs beyond a prompt."""

    pipeline: Any
    needs: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = (SIDE,)
    """Sides in pixels it may be asked for; empty when its picture says."""


def kinds(folder: Path, dtype: torch.dtype = torch.float64) -> dict[str, Kind]:
    """Every kind of pipeline; those of SD share their modules."""
    torch.manual_seed(0)
    sd = stable_diffusion(folder, dtype)
    parts = {name: part for name, part in sd.components.items() if name != "image_encoder"}
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    mask = Image.fromarray(np.uint8(random.random((SIDE, SIDE)) > 0.5) * 255)
    img2img = diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    inpaint = diffusers.StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    controlled = diffusers.StableDiffusionControlNetPipeline(
        **parts, controlnet=controlnet(dtype), requires_safety_checker=False
    )
    inpaint9 = stable_diffusion(folder, dtype, in_channels=9, kind=diffusers.StableDiffusionInpaintPipeline)
    return {
        "txt2img": Kind(sd, sizes=(SIDE, SIDE + 16)),
        "txt2img sdxl": Kind(stable_diffusion_xl(folder, dtype), sizes=(SIDE, SIDE + 16)),
        "img2img": Kind(img2img, {"image": picture, "strength": 0.8}, ()),
        "inpaint 4": Kind(inpaint, {"image": picture, "mask_image": mask, "strength": 0.9}),
        "inpaint 9": Kind(inpaint9, {"image": picture, "mask_image": mask, "strength": 1.0}),
        "controlnet": Kind(controlled, {"image": picture, "controlnet_conditioning_scale": 0.8}),
    }


def scheduler_for(pipeline: Any, sampler: str) -> Any:
    """A fresh scheduler, as the store makes it."""
    name, changes = SAMPLERS[sampler]
    kind = getattr(diffusers, name) if name else type(pipeline.scheduler)
    return kind.from_config(pipeline.scheduler.config, **changes)


def stable_diffusion(folder: Path, dtype: torch.dtype, *, in_channels: int = 4, kind: Any = None) -> Any:
    words = tokenizer(folder)
    unet = diffusers.UNet2DConditionModel(
        **BLOCKS, up_block_types=UP, sample_size=16, in_channels=in_channels, out_channels=4, cross_attention_dim=32
    )
    kind = kind or diffusers.StableDiffusionPipeline
    return kind(
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel, words).eval(),
        tokenizer=words,
        unet=unet.eval(),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype)


def stable_diffusion_xl(folder: Path, dtype: torch.dtype, *, in_channels: int = 4, kind: Any = None) -> Any:
    words = tokenizer(folder)
    unet = diffusers.UNet2DConditionModel(
        **{**BLOCKS, "attention_head_dim": (2, 4)},
        up_block_types=UP,
        sample_size=16,
        in_channels=in_channels,
        out_channels=4,
        cross_attention_dim=64,
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    kind = kind or diffusers.StableDiffusionXLPipeline
    return kind(
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel, words).eval(),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, words).eval(),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet.eval(),
        scheduler=ddim(),
        add_watermarker=False,
    ).to(dtype)


def controlnet(dtype: torch.dtype) -> Any:
    return _awake(
        diffusers.ControlNetModel(
            **BLOCKS, in_channels=4, cross_attention_dim=32, conditioning_embedding_out_channels=(8, 16)
        ).to(dtype)
    )


def controlnet_xl(dtype: torch.dtype) -> Any:
    return _awake(
        diffusers.ControlNetModel(
            **{**BLOCKS, "attention_head_dim": (2, 4)},
            in_channels=4,
            cross_attention_dim=64,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
            conditioning_embedding_out_channels=(8, 16),
        ).to(dtype)
    )


def safety_checker(threshold: float) -> Any:
    """One that withholds what is closer to any of its random concepts than a threshold, by the cosine."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config={**sizes, "image_size": 224, "patch_size": 112}, projection_dim=16)
    )
    for name in ("concept_embeds", "special_care_embeds"):
        torch.nn.init.normal_(getattr(checker, name))
        torch.nn.init.constant_(getattr(checker, f"{name}_weights"), threshold)
    return checker.eval()


def _awake(net: Any) -> Any:
    # A ControlNet starts as one that changes nothing; this one must.
    for parameter in (*net.controlnet_down_blocks.parameters(), *net.controlnet_mid_block.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def flux(dtype: torch.dtype) -> Any:
    """A transformer whose `img_ids` count positions. It has no text encoder: give embeddings."""
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(shift_factor=0.1, scaling_factor=0.5),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer.eval(),
    ).to(dtype)


def vae(**changes: Any) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 16),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=SIDE,
        # Else SDXL casts the module that everyone shares, and alone it would paint in another precision.
        force_upcast=False,
        **changes,
    ).eval()


def ddim() -> Any:
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tokenizer(folder: Path) -> Any:
    """Letters and figures."""
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,.-"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16, pad_token="<|endoftext|>"
    )


def text_encoder(kind: Any, words: Any) -> Any:
    last = len(words) - 1
    return kind(
        CLIPTextConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            vocab_size=len(words),
            max_position_embeddings=16,
            projection_dim=32,
            bos_token_id=last - 1,
            eos_token_id=last,
        )
    )
