"""Models of any kind as folders of settings and headers: whole for the recogniser, and never loaded."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bot.worker.damage import safetensors

FLUX = {
    "_class_name": "FluxPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
TENSORS = {
    "text_encoder": {"text_model.embeddings.position_embedding.weight": (77, 8)},
    "text_encoder_2": {"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)},
    "transformer": {"transformer_blocks.0.attn.to_q.weight": (8, 8)},
    "unet": {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (16, 768)},
    "vae": {"encoder.conv_in.weight": (8, 3, 3, 3)},
}


def write(path: Path, index: dict, scheduler: dict) -> Path:
    """A folder of headers: nothing in it is ever loaded."""
    path.mkdir(exist_ok=True)
    (path / "model_index.json").write_text(json.dumps(index))
    for part, entry in index.items():
        if part == "_class_name":
            continue
        (path / part).mkdir(exist_ok=True)
        if part == "scheduler":
            settings = {"_class_name": entry[1], **scheduler}
            (path / part / "scheduler_config.json").write_text(json.dumps(settings))
        elif part.startswith("tokenizer"):
            (path / part / "tokenizer.json").write_text("{}")
        else:
            (path / part / "config.json").write_text("{}")
            name = "model" if part.startswith("text") else "diffusion_pytorch_model"
            (path / part / f"{name}.safetensors").write_bytes(safetensors(TENSORS[part]))
    return path


def flux(path: Path, **scheduler: object) -> Path:
    return write(path, FLUX, {"shift": 3.0, **scheduler})


def sd(
    path: Path, scheduler: str = "PNDMScheduler", pipeline: str = "StableDiffusionPipeline", **settings: object
) -> Path:
    parts = {part: FLUX[part] for part in ("text_encoder", "tokenizer", "vae")}
    index = {
        "_class_name": pipeline,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", scheduler],
        **parts,
    }
    return write(path, index, settings)
