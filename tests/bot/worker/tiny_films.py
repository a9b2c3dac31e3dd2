"""Models for videos of a few kilobytes with random weights, as diffusers folders. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from tests.bot.worker.tiny_models import tiny_tokenizer

SIDE = 32
"""The side of their frames in pixels."""


def _texts(encoder: Any, config: Any) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    words = len(tokenizer)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
    return {
        "tokenizer": tokenizer,
        "text_encoder": encoder(config(vocab_size=words, pad_token_id=words - 1, eos_token_id=words - 1, **sizes)),
    }


def _wan() -> Any:
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    return WanPipeline(transformer=transformer, vae=vae, scheduler=scheduler, **_texts(UMT5EncoderModel, UMT5Config))


def _ltx(kind: Any) -> Any:
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    scheduler = FlowMatchEulerDiscreteScheduler()
    return kind(transformer=transformer, vae=vae, scheduler=scheduler, **_texts(T5EncoderModel, T5Config))


def _cogvideox(kind: Any) -> Any:
    from_picture = kind is CogVideoXImageToVideoPipeline
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=8 if from_picture else 4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=SIDE // 8,
        sample_height=SIDE // 8,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=226,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=from_picture,
    )
    vae = AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    scheduler = CogVideoXDDIMScheduler()
    return kind(transformer=transformer, vae=vae, scheduler=scheduler, **_texts(T5EncoderModel, T5Config))


FILMS: Mapping[str, Callable[[], Any]] = {
    "WanPipeline": _wan,
    "LTXPipeline": lambda: _ltx(LTXPipeline),
    "CogVideoXPipeline": lambda: _cogvideox(CogVideoXPipeline),
    "LTXImageToVideoPipeline": lambda: _ltx(LTXImageToVideoPipeline),
    "CogVideoXImageToVideoPipeline": lambda: _cogvideox(CogVideoXImageToVideoPipeline),
}
"""What makes each kind, by the class of its pipeline."""


def make_film_folder(path: Path, kind: str) -> Path:
    """Write a pipeline with random weights to `path` and return it."""
    torch.manual_seed(0)
    FILMS[kind]().save_pretrained(path)
    return path
