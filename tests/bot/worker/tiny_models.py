"""A Stable Diffusion of a few kilobytes with random weights, as a diffusers folder and in Stability's first layout.

    python -m tests.bot.worker.tiny_models FOLDER [FILE]

Nothing is fetched. The same seed gives the same weights, so the folder and the file paint the same pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 32
"""The side of its pictures in pixels."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-"
_LAYERS = 2
"""Layers of a U-Net block; the layout below holds for any number."""


def make_tiny_folder(path: Path, *, seed: int = 0) -> Path:
    """Write a Stable Diffusion pipeline with random weights to `path` and return it."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    words = len(tokenizer)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=32,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=words - 1,
        )
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
    )
    unet = UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(16, 32),
        layers_per_block=_LAYERS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(path, safe_serialization=True)
    return path


def make_tiny_single_file(folder: Path, path: Path) -> Path:
    """Write the weights of a tiny folder to one .safetensors file, named as in Stability's checkpoints."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    tensors = {f"model.diffusion_model.{name}": tensor for name, tensor in _ldm_unet(unet)}
    tensors |= {f"first_stage_model.{name}": tensor for name, tensor in _ldm_vae(vae)}
    tensors |= {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in text.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def tiny_tokenizer() -> CLIPTokenizer:
    """A tokenizer that spells words letter by letter."""
    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        model_max_length=77,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )


# The inverse of `diffusers.loaders.single_file_utils`, which only reads this layout. Longest names first.

_UNET_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_VAE_OUTSIDE = {"encoder.conv_norm_out": "encoder.norm_out", "decoder.conv_norm_out": "decoder.norm_out"}

_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _ldm_unet(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in weights.items():
        yield _ldm_unet_name(name), tensor


def _ldm_unet_name(name: str) -> str:
    place, _, kind = name.rpartition(".")  # kind: weight or bias
    if place in _UNET_OUTSIDE:
        return f"{_UNET_OUTSIDE[place]}.{kind}"
    match place.split("."):
        case ["mid_block", "resnets", number, part]:
            return f"middle_block.{2 * int(number)}.{_UNET_RESNET[part]}.{kind}"
        case ["mid_block", "attentions", _, *rest]:
            return ".".join(["middle_block.1", *rest, kind])
        case ["down_blocks", block, "resnets", layer, part]:
            return f"input_blocks.{_input(block, layer)}.0.{_UNET_RESNET[part]}.{kind}"
        case ["down_blocks", block, "attentions", layer, *rest]:
            return ".".join([f"input_blocks.{_input(block, layer)}.1", *rest, kind])
        case ["down_blocks", block, "downsamplers", "0", "conv"]:
            return f"input_blocks.{_input(block, _LAYERS)}.0.op.{kind}"
        case ["up_blocks", block, "resnets", layer, part]:
            return f"output_blocks.{_output(block, layer)}.0.{_UNET_RESNET[part]}.{kind}"
        case ["up_blocks", block, "attentions", layer, *rest]:
            return ".".join([f"output_blocks.{_output(block, layer)}.1", *rest, kind])
        case ["up_blocks", block, "upsamplers", "0", "conv"]:
            # After the attention where the block has one; the tiny model's first up block has none.
            return f"output_blocks.{_output(block, _LAYERS)}.1.conv.{kind}"
    raise ValueError(f"{name} has no place in the layout")


def _input(block: str, layer: str | int) -> int:
    return 1 + int(block) * (_LAYERS + 1) + int(layer)


def _output(block: str, layer: str | int) -> int:
    return int(block) * (_LAYERS + 1) + int(layer)


def _ldm_vae(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    blocks = 1 + max(int(name.split(".")[2]) for name in weights if ".down_blocks." in name)
    for name, tensor in weights.items():
        ldm = _ldm_vae_name(name, blocks)
        # Attention was made of 1×1 convolutions then.
        is_matrix = ".mid.attn_1." in ldm and tensor.ndim == 2
        yield ldm, tensor[:, :, None, None] if is_matrix else tensor


def _ldm_vae_name(name: str, blocks: int) -> str:
    place, _, kind = name.rpartition(".")
    place = _VAE_OUTSIDE.get(place, place)
    match place.split("."):
        case [side, "mid_block", "resnets", number, part]:
            return f"{side}.mid.block_{int(number) + 1}.{part}.{kind}"
        case [side, "mid_block", "attentions", "0", *rest]:
            return f"{side}.mid.attn_1.{_VAE_ATTENTION['.'.join(rest)]}.{kind}"
        case ["encoder", "down_blocks", block, "resnets", layer, part]:
            return f"encoder.down.{block}.block.{layer}.{_shortcut(part)}.{kind}"
        case ["encoder", "down_blocks", block, "downsamplers", "0", "conv"]:
            return f"encoder.down.{block}.downsample.conv.{kind}"
        case ["decoder", "up_blocks", block, "resnets", layer, part]:
            return f"decoder.up.{blocks - 1 - int(block)}.block.{layer}.{_shortcut(part)}.{kind}"
        case ["decoder", "up_blocks", block, "upsamplers", "0", "conv"]:
            return f"decoder.up.{blocks - 1 - int(block)}.upsample.conv.{kind}"
    return f"{place}.{kind}"


def _shortcut(part: str) -> str:
    return "nin_shortcut" if part == "conv_shortcut" else part


if __name__ == "__main__":
    folder = make_tiny_folder(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        make_tiny_single_file(folder, Path(sys.argv[2]))
