"""How to damage a model, and the words and remedies for it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bot.worker.tiny_models import make_tiny_single_file

Shapes = Mapping[str, Sequence[int]]

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265146304\n"
XET = b"# xet version 0\nfilesize = 4265146304\nhash = 'ab12'\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Log in to download.</body></html>\n"

WIDTH = 32
"""The tiny model's width of words; Stable Diffusion XL has 2,048."""


def safetensors(shapes: Shapes, metadata: Mapping[str, str] | None = None) -> bytes:
    """A whole file of zeros in float16, by the shapes of its tensors."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(at)


def raw(header: Any, data: bytes = b"") -> bytes:
    """A file with any header."""
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


ATTENTION = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def lora(width: int = WIDTH, out: int = 16, rank: int = 2, layer: str = ATTENTION) -> dict[str, Sequence[int]]:
    """A LoRA of one layer, as kohya's scripts write it."""
    name = f"lora_unet_{layer}"
    return {f"{name}.lora_down.weight": (rank, width), f"{name}.lora_up.weight": (out, rank), f"{name}.alpha": ()}


UNET_OF_COMFY: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (16, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (16, WIDTH),
}
CLIP: Shapes = {"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, WIDTH)}
FIRST_STAGE: Shapes = {"first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}
WHOLE: Shapes = {**UNET_OF_COMFY, **CLIP, **FIRST_STAGE}
XL: Shapes = {**UNET_OF_COMFY, "conditioner.embedders.1.model.positional_embedding": (77, 8), **FIRST_STAGE}

WHOLE_AGAIN = "Download the whole model again."
AGAIN = "Download the file again."
PULL = "Run `git lfs pull` in the repository, or download the file again."
LOG_IN = "Download the file itself; the site may ask you to log in or to accept a licence first."
SAFE = "Take the .safetensors version of it."
OTHER = "Choose a model that paints pictures from words, such as a Stable Diffusion or a Flux."
WHOLE_MODEL = "Take the whole model, as one file or as a diffusers folder."
KIND = "Name it under a model of the kind that it was trained on."
PLAIN = "Take a plain LoRA instead."


@dataclass(frozen=True)
class Bad:
    """Something that cannot be used: how it is made, and what is said of it."""

    name: str
    make: Callable[[Path, Path], object]
    """Given a tiny diffusers folder and where to make it: a file or a folder."""
    words: str
    remedy: str
    suffix: str = ""
    """Of a file's name."""
    configured: bool = True
    """Whether a single file names a configuration on this machine."""

    @property
    def file_name(self) -> str:
        """What it is called."""
        return f"{self.name.replace(' ', '-')}{self.suffix}"


def file(name: str, data: bytes | Callable[[Path], bytes], words: str, remedy: str, **more: Any) -> Bad:
    """A bad file."""

    def make(tiny: Path, path: Path) -> None:
        path.write_bytes(data(tiny) if callable(data) else data)

    called = f"{name.replace(' ', '-')}.safetensors"
    return Bad(name, make, words.replace("@", called), remedy, ".safetensors", **more)


def folder(name: str, harm: Callable[[Path], object], words: str, remedy: str) -> Bad:
    """A tiny model's folder that was harmed."""

    def make(tiny: Path, path: Path) -> None:
        shutil.copytree(tiny, path)
        harm(path)

    return Bad(name, make, words.replace("@", name.replace(" ", "-")), remedy)


def whole(tiny: Path) -> bytes:
    """The tiny model as one file."""
    path = tiny.parent / "whole.safetensors"
    if not path.exists():
        make_tiny_single_file(tiny, path)
    return path.read_bytes()


def torch_saved(_: Path) -> bytes:
    import io

    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, buffer)
    return buffer.getvalue()


def put(place: str, data: bytes) -> Callable[[Path], object]:
    """Replace one file of a folder."""

    def harm(path: Path) -> None:
        (path / place).parent.mkdir(exist_ok=True)
        (path / place).write_bytes(data)

    return harm


def index(**changes: Any) -> Callable[[Path], object]:
    """Change entries of the index; None removes one."""

    def harm(path: Path) -> None:
        file = path / "model_index.json"
        stored = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({name: entry for name, entry in stored.items() if entry is not None}))

    return harm


def scheduler(**settings: Any) -> Callable[[Path], object]:
    """Replace the scheduler's settings."""
    return put("scheduler/scheduler_config.json", json.dumps(settings).encode())


def gone(*places: str) -> Callable[[Path], object]:
    """Remove files or folders."""

    def harm(path: Path) -> None:
        for place in places:
            shutil.rmtree(path / place) if (path / place).is_dir() else (path / place).unlink()

    return harm


def renamed(*endings: tuple[str, str], places: Sequence[str] = (UNET, VAE, TEXT)) -> Callable[[Path], object]:
    """Give weights another ending."""

    def harm(path: Path) -> None:
        for place in places:
            target = place
            for old, new in endings:
                target = target.replace(old, new)
            (path / place).rename(path / target)

    return harm


def only(*files: tuple[str, bytes]) -> Callable[[Path], object]:
    """A folder with nothing but these files."""

    def harm(path: Path) -> None:
        shutil.rmtree(path)
        path.mkdir()
        for place, data in files:
            put(place, data)(path)

    return harm


def cut(place: str, keep: int) -> Callable[[Path], object]:
    return lambda path: (path / place).write_bytes((path / place).read_bytes()[:keep])


def both(*harms: Callable[[Path], object]) -> Callable[[Path], object]:
    def harm(path: Path) -> None:
        for each in harms:
            each(path)

    return harm


def unconditional(path: Path) -> None:
    gone("text_encoder", "tokenizer", "vae")(path)
    index(
        _class_name="DDPMPipeline",
        vae=None,
        text_encoder=None,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
    )(path)


def shards(*files: str) -> bytes:
    """An index of weights that are split into files."""
    return json.dumps({"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(files)}}).encode()


SHARDS = "unet/diffusion_pytorch_model.safetensors.index.json"
