"""Models, LoRAs and ControlNets that cannot be used, as people have them: each is built from a tiny real one.

python -m tests.bot.worker.bad_models FOLDER
"""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bot.worker.tiny_models import make_tiny_folder, make_tiny_single_file

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

FILES = [
    file("lfs pointer", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("xet pointer", XET, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("web page", PAGE, "@ is a web page (HTML), not the file itself.", LOG_IN),
    file("empty", b"", "@ is empty.", AGAIN),
    file("text", b"Invalid username or password.", "@ is a text and holds no weights.", AGAIN),
    file(
        "torch pickle",
        torch_saved,
        "@ is pickled (a .ckpt, .pt or .bin file by its contents), and pickles can run code when loaded.",
        SAFE,
    ),
    file(
        "bare pickle",
        pickle.dumps({"weight": [1.0]}),
        "@ is pickled (a .ckpt, .pt or .bin file by its contents), and pickles can run code when loaded.",
        SAFE,
    ),
    file(
        "gguf",
        b"GGUF\3\0\0\0" + bytes(64),
        "@ is a GGUF file and does not hold a denoiser but nothing: it has no tensors.",
        "Take the GGUF version of the U-Net or the transformer.",
    ),
    file(
        "archive",
        gzip.compress(bytes(100)),
        "@ is a packed archive.",
        "Unpack it, and name the .safetensors file in it.",
    ),
    file("picture", b"\x89PNG\r\n\x1a\n" + bytes(99), "@ is a picture and holds no weights.", AGAIN),
    file("noise", bytes(range(255, 0, -1)), "@ is no .safetensors file, whatever its name says.", AGAIN),
    file(
        "cut in its data",
        lambda tiny: whole(tiny)[:-1000],
        "@ is cut short: it lacks at least 1,000 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file(
        "cut in its header",
        raw(b"{" + b" " * 999)[:500],
        "@ is cut short: it lacks at least 508 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file(
        "padded",
        lambda tiny: whole(tiny) + bytes(512),
        "@ is too long: it has 512 bytes more than its header says.",
        AGAIN,
    ),
    file("damaged header", raw(b'{"a": {"dtype": "F16", "shape": [2'), "the header of @ is damaged.", AGAIN),
    file(
        "overlapping tensors",
        raw({name: {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]} for name in "ab"}, bytes(8)),
        "the header of @ is damaged.",
        AGAIN,
    ),
    file("no tensors", safetensors({}), "@ is nothing: it has no tensors, not a model.", "Take a whole model."),
    file(
        "vae",
        lambda tiny: (tiny / VAE).read_bytes(),
        "@ is a VAE, not a model.",
        "Take a whole model.",
    ),
    file("stability vae", safetensors(FIRST_STAGE), "@ is a VAE, not a model.", "Take a whole model."),
    file("lora", safetensors(lora()), "@ is a LoRA, not a model.", "Name it under [[models.loras]] of a model."),
    file(
        "diffusers lora",
        safetensors({f"unet.{DOTTED}.lora_A.weight": (2, WIDTH), f"unet.{DOTTED}.lora_B.weight": (16, 2)}),
        "@ is a LoRA, not a model.",
        "Name it under [[models.loras]] of a model.",
    ),
    file(
        "embedding",
        safetensors({"emb_params": (3, 768)}),
        "@ is a textual inversion (an embedding), not a model.",
        "Take a whole model.",
    ),
    file(
        "controlnet",
        safetensors({"control_model.input_blocks.0.0.weight": (16, 4, 3, 3)}),
        "@ is a ControlNet, not a model.",
        "Name it under [[models.controlnets]] of a model.",
    ),
    file(
        "text encoder",
        lambda tiny: (tiny / TEXT).read_bytes(),
        "@ is a text encoder, not a model.",
        "Take a whole model.",
    ),
    file(
        "language model",
        safetensors({"model.layers.0.self_attn.q_proj.weight": (8, 8), "lm_head.weight": (9, 8)}),
        "@ is a language model, not a model.",
        "Take a whole model.",
    ),
    file(
        "enlarger",
        safetensors({"model.0.weight": (8, 3, 3, 3), "model.1.sub.0.RDB1.conv1.0.weight": (8, 8, 3, 3)}),
        "@ is a network that enlarges pictures, not a model.",
        "Take a whole model.",
    ),
    file(
        "diffusers unet",
        lambda tiny: (tiny / UNET).read_bytes(),
        "@ is a denoiser (U-Net or transformer) without a text encoder and a VAE.",
        WHOLE_MODEL,
    ),
    file(
        "stability unet",
        safetensors(UNET_OF_COMFY),
        "@ is incomplete: it has no text encoder and no VAE.",
        WHOLE_MODEL,
    ),
    file(
        "without a vae",
        safetensors({**UNET_OF_COMFY, **CLIP}),
        "@ is incomplete: it has no VAE.",
        WHOLE_MODEL,
    ),
    file(
        "without a text encoder",
        safetensors({**UNET_OF_COMFY, **FIRST_STAGE}),
        "@ is incomplete: it has no text encoder.",
        WHOLE_MODEL,
    ),
    file(
        "flux without t5",
        safetensors(
            {
                "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (8,),
                "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.weight": (77, 8),
                "vae.decoder.conv_in.weight": (8, 4, 3, 3),
            }
        ),
        "@ is incomplete: it has no text encoder t5xxl.",
        WHOLE_MODEL,
        configured=False,
    ),
    file(
        "refiner",
        safetensors({**XL, "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": (8,)}),
        "@ is the refiner of Stable Diffusion XL, which cannot be loaded from one file.",
        "Choose a model that paints pictures from words.",
    ),
    file(
        "eight channels",
        safetensors({**WHOLE, "model.diffusion_model.input_blocks.0.0.weight": (16, 8, 3, 3)}),
        "@ is a model that needs a picture beside the words (its denoiser takes 8 channels).",
        "Choose a model that paints pictures from words.",
    ),
    file(
        "flux 2",
        safetensors({**CLIP, **FIRST_STAGE, "model.diffusion_model.single_stream_modulation.lin.weight": (8, 8)}),
        "@ is a model of the kind FLUX.2.",
        "Take it as a diffusers folder.",
        configured=False,
    ),
    file(
        "another kind than its config",
        safetensors(XL),
        "@ is a Stable Diffusion XL, and its `config` is for another kind of model (StableDiffusionPipeline).",
        "Set `config` to a diffusers folder of the same kind, or leave it out.",
    ),
    file(
        "continuous noise",
        safetensors({**WHOLE, "edm_vpred.sigma_max": (), "edm_vpred.sigma_min": ()}),
        "@ predicts v for continuous noise (EDM, as CosXL), and its configuration is for other noise.",
        "Set `config` to a diffusers folder whose scheduler has timestep_type = continuous.",
    ),
    file(
        "no config offline",
        whole,
        "@ needs the configuration of its kind, and stable-diffusion-v1-5/stable-diffusion-v1-5 cannot be fetched from "
        "the hub (HF_HUB_OFFLINE is set).",
        "Check this machine's network. Or set `config` to a diffusers folder of the same kind.",
        configured=False,
    ),
]

FOLDERS = [
    folder("lfs weights", put(UNET, LFS), f"{UNET} is a Git LFS pointer: the file itself was not downloaded.", PULL),
    folder(
        "lfs index",
        put("model_index.json", LFS),
        "model_index.json is a Git LFS pointer: the file itself was not downloaded.",
        PULL,
    ),
    folder(
        "lfs vocabulary",
        put("tokenizer/tokenizer.json", LFS),
        "tokenizer/tokenizer.json is a Git LFS pointer: the file itself was not downloaded.",
        PULL,
    ),
    folder("page as weights", put(TEXT, PAGE), f"{TEXT} is a web page (HTML), not the file itself.", LOG_IN),
    folder(
        "cut weights",
        cut(VAE, -5000),
        f"{VAE} is cut short: it lacks at least 5,000 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    folder(
        "vae as unet",
        lambda path: shutil.copy(path / VAE, path / UNET),
        f"{UNET} holds a VAE, not the model's unet.",
        WHOLE_AGAIN,
    ),
    folder("lora as unet", put(UNET, safetensors(lora())), f"{UNET} holds a LoRA, not the model's unet.", WHOLE_AGAIN),
    folder(
        "only bin",
        renamed((".safetensors", ".bin"), ("text_encoder/model", "text_encoder/pytorch_model")),
        "its folder text_encoder has only pickled weights (.bin), and pickles can run code when loaded.",
        "Take the model's .safetensors version.",
    ),
    folder(
        "one part only bin",
        renamed((".safetensors", ".bin"), places=[TEXT]),
        "its folder text_encoder has only pickled weights (.bin), and pickles can run code when loaded.",
        "Take the model's .safetensors version.",
    ),
    folder(
        "onnx",
        index(_class_name="OnnxStableDiffusionPipeline"),
        "it is an ONNX model (OnnxStableDiffusionPipeline).",
        "Take its PyTorch version with .safetensors files.",
    ),
    folder(
        "onnx weights",
        both(gone(UNET), put("unet/model.onnx", b"\x08\x07")),
        "its folder unet has only ONNX weights (.onnx).",
        "Take the model's .safetensors version.",
    ),
    folder(
        "onnx without an index",
        only(("unet/model.onnx", b"\x08\x07"), ("text_encoder/model.onnx", b"\x08\x07")),
        "it has no model_index.json: it is an ONNX model.",
        "Take its PyTorch version with .safetensors files.",
    ),
    folder(
        "flax",
        index(_class_name="FlaxStableDiffusionPipeline"),
        "it is a Flax model (FlaxStableDiffusionPipeline).",
        "Take its PyTorch version with .safetensors files.",
    ),
    folder(
        "flax weights",
        renamed((".safetensors", ".msgpack"), places=[UNET]),
        "its folder unet has only Flax weights (.msgpack).",
        "Take the model's .safetensors version.",
    ),
    folder(
        "newer pipeline",
        index(_class_name="StableDiffusion9Pipeline"),
        "its pipeline class StableDiffusion9Pipeline is not known to the installed diffusers {diffusers}: the model is "
        "newer, or the name in model_index.json is wrong.",
        "Upgrade Atelier, or choose another model.",
    ),
    folder(
        "newer denoiser",
        index(unet=["diffusers", "UNet9DConditionModel"]),
        "its unet is a UNet9DConditionModel, which the installed diffusers {diffusers} does not know: the model is "
        "newer.",
        "Upgrade Atelier, or choose another model.",
    ),
    folder(
        "newer text encoder",
        index(text_encoder=["transformers", "Qwen9TextModel"]),
        "its text_encoder is a Qwen9TextModel, which the installed transformers {transformers} does not know: the "
        "model is newer.",
        "Upgrade Atelier, or choose another model.",
    ),
    folder(
        "broken index",
        put("model_index.json", b'{"_class_name": "StableDiff'),
        "model_index.json is damaged: it is not valid JSON.",
        AGAIN,
    ),
    folder(
        "list as index", put("model_index.json", b"[]"), "model_index.json is damaged: it holds no settings.", AGAIN
    ),
    folder(
        "index without a class",
        index(_class_name=None),
        "model_index.json is damaged: it names no pipeline class.",
        WHOLE_AGAIN,
    ),
    folder(
        "code of its own",
        index(_class_name=["pipeline", "MyPipeline"]),
        "it brings a pipeline as code of its own, which is not run.",
        OTHER,
    ),
    folder(
        "missing shard",
        both(gone(UNET), put(SHARDS, shards("diffusion_pytorch_model-00001-of-00002.safetensors"))),
        "its folder unet has only an index of weights without the files it names.",
        "Take the model's .safetensors version.",
    ),
    folder(
        "one shard missing",
        both(
            renamed((".safetensors", "-00001-of-00002.safetensors"), places=[UNET]),
            put(
                SHARDS,
                shards(*(f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2))),
            ),
        ),
        f"{SHARDS} names diffusion_pytorch_model-00002-of-00002.safetensors, which is missing.",
        WHOLE_AGAIN,
    ),
    folder(
        "shards without an index",
        renamed((".safetensors", "-00001-of-00002.safetensors"), places=[UNET]),
        "its unet is split into several files, and their index (*.safetensors.index.json) is missing.",
        WHOLE_AGAIN,
    ),
    folder(
        "broken shard index",
        both(
            renamed((".safetensors", "-00001-of-00001.safetensors"), places=[UNET]),
            put(SHARDS, b'{"weight_map": {}}'),
        ),
        f"{SHARDS} is damaged: it names no weights.",
        WHOLE_AGAIN,
    ),
    folder(
        "unconditional",
        unconditional,
        "it has no text encoder, so it cannot paint from words (DDPMPipeline).",
        OTHER,
    ),
    folder(
        "missing tokenizer",
        gone("tokenizer"),
        "its folder tokenizer is missing, without which no prompt can be read.",
        WHOLE_AGAIN,
    ),
    folder(
        "tokenizer without words",
        gone("tokenizer/tokenizer.json"),
        "its folder tokenizer has no vocabulary, without which no prompt can be read.",
        WHOLE_AGAIN,
    ),
    folder("missing unet", gone("unet"), "its folder unet is missing.", WHOLE_AGAIN),
    folder("missing weights", gone(UNET), "its folder unet has no weights.", WHOLE_AGAIN),
    folder("missing settings", gone("unet/config.json"), "unet/config.json is missing.", WHOLE_AGAIN),
    folder("missing scheduler", gone("scheduler"), "scheduler/scheduler_config.json is missing.", WHOLE_AGAIN),
    folder(
        "newer scheduler",
        index(scheduler=["diffusers", "NinthScheduler"]),
        "its scheduler is a NinthScheduler, which the installed diffusers {diffusers} does not know: the model is "
        "newer.",
        "Upgrade Atelier, or choose another model.",
    ),
    folder(
        "scheduler of a flow",
        index(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]),
        "its scheduler FlowMatchEulerDiscreteScheduler follows a flow, but a model for StableDiffusionPipeline "
        "predicts noise.",
        "Put the model's own scheduler/scheduler_config.json back.",
    ),
    folder(
        "different variants",
        both(
            renamed((".safetensors", ".fp16.safetensors"), places=[UNET]),
            renamed((".safetensors", ".bf16.safetensors"), places=[VAE]),
        ),
        "its parts have their weights in different variants (bf16, fp16), none of them in all.",
        WHOLE_AGAIN,
    ),
    folder(
        "weights by another name",
        renamed(("diffusion_pytorch_model", "dreamlike"), places=[UNET]),
        "unet/dreamlike.safetensors does not have the name that is looked for (model.safetensors or "
        "diffusion_pytorch_model.safetensors).",
        "Rename it, or take the model as its authors published it.",
    ),
    folder(
        "no safety checker",
        index(safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]),
        "it names a safety checker that is missing or broken (safety_checker/config.json is missing).",
        "Put its folder safety_checker back.",
    ),
    folder(
        "lfs upscaler",
        both(put("upscaler/config.json", b"{}"), put("upscaler/model.safetensors", LFS)),
        "its upscaler/ is damaged (model.safetensors is a Git LFS pointer: the file itself was not downloaded).",
        "Without the folder it enlarges by Lanczos.",
    ),
    folder(
        "no pipeline",
        index(_class_name="UNet2DConditionModel"),
        "model_index.json is damaged: it names no pipeline class.",
        WHOLE_AGAIN,
    ),
    folder(
        "refiner folder",
        index(_class_name="StableDiffusionXLImg2ImgPipeline", text_encoder=None),
        "it is a refiner, which only changes pictures.",
        OTHER,
    ),
    folder(
        "prior",
        index(_class_name="StableCascadePriorPipeline"),
        "it is one half of a model and cannot paint alone (StableCascadePriorPipeline).",
        OTHER,
    ),
    folder(
        "video",
        index(_class_name="AnimateDiffPipeline"),
        "it makes videos, not pictures (AnimateDiffPipeline).",
        OTHER,
    ),
    folder(
        "sound",
        index(_class_name="AudioLDM2Pipeline"),
        "it makes sounds, not pictures (AudioLDM2Pipeline).",
        OTHER,
    ),
    folder(
        "changes pictures",
        index(_class_name="StableDiffusionInstructPix2PixPipeline"),
        "it changes pictures and cannot paint from words alone (StableDiffusionInstructPix2PixPipeline).",
        OTHER,
    ),
    folder(
        "controlnet folder",
        only(("config.json", b'{"_class_name": "ControlNetModel"}')),
        "it has no model_index.json: it is a ControlNet.",
        "Name it under [[models.controlnets]] of a model.",
    ),
    folder(
        "unet folder",
        only(("config.json", b'{"_class_name": "UNet2DConditionModel"}')),
        "it has no model_index.json: it is only a UNet2DConditionModel, one part of a model.",
        "Give the folder of the whole model.",
    ),
    folder(
        "peft folder",
        only(("adapter_config.json", b"{}")),
        "it has no model_index.json: it is a LoRA.",
        "Name it under [[models.loras]] of a model.",
    ),
    folder(
        "folder of checkpoints",
        only(("mine.safetensors", safetensors(WHOLE))),
        "it has no model_index.json.",
        "A single checkpoint is named by its file, such as mine.safetensors.",
    ),
    folder(
        "folder above",
        only(("inner/model_index.json", b"{}")),
        "it has no model_index.json, but its folder inner has one.",
        "Name that folder inner.",
    ),
]

KOHYA = f"lora_unet_{ATTENTION}"

LORAS = [
    file(
        "dora",
        safetensors({**lora(), f"{KOHYA}.dora_scale": (16, 1)}),
        "@ is a DoRA (weight-decomposed LoRA), whose scale cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "peft dora",
        safetensors(
            {
                f"unet.{DOTTED}.lora_A.weight": (2, WIDTH),
                f"unet.{DOTTED}.lora_B.weight": (16, 2),
                f"unet.{DOTTED}.lora_magnitude_vector": (16,),
            }
        ),
        "@ is a DoRA (weight-decomposed LoRA), whose scale cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "loha",
        safetensors({f"{KOHYA}.hada_w{n}_{half}": (2, 2) for n in (1, 2) for half in "ab"}),
        "@ is a LoHa (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "lokr",
        safetensors({f"{KOHYA}.lokr_w1": (2, 2), f"{KOHYA}.lokr_w2_a": (2, 2), f"{KOHYA}.lokr_w2_b": (2, 2)}),
        "@ is a LoKr (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "oft",
        safetensors({f"{KOHYA}.oft_blocks": (2, 2, 2), f"{KOHYA}.alpha": ()}),
        "@ is an OFT adapter, which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "glora",
        safetensors({f"{KOHYA}.{part}.weight": (2, 2) for part in ("a1", "a2", "b1", "b2")}),
        "@ is a GLoRA (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "tucker",
        safetensors({**lora(), f"{KOHYA}.lora_mid.weight": (2, 2, 3, 3)}),
        "@ is a LoCon with a middle matrix (LyCORIS, Tucker decomposition), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "full differences",
        safetensors({f"{KOHYA}.diff": (16, WIDTH)}),
        "@ is an adapter of full differences (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "lora of sdxl",
        safetensors(lora(2048, 640)),
        "@ is made for another kind of model: its layers go from 2,048 to 640 numbers, and this model's from 32 to 16. "
        "It is probably made for Stable Diffusion XL.",
        KIND,
    ),
    file(
        "lora of sdxl by other names",
        safetensors(lora(2048, 640, layer="input_blocks_4_1_transformer_blocks_0_attn2_to_k")),
        "@ is made for another kind of model: its layers go from 2,048 to 640 numbers, and this model's from 32 to "
        "640. It is probably made for Stable Diffusion XL.",
        KIND,
    ),
    file(
        "lora of another width",
        safetensors(lora(WIDTH, 24)),
        "@ is made for another kind of model: its layers go from 32 to 24 numbers, and this model's from 32 to 16.",
        KIND,
    ),
    file(
        "lora of another text encoder",
        safetensors(
            {
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (2, 768),
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": (768, 2),
            }
        ),
        "@ is made for another kind of model: its layers go from 768 to 768 numbers, and this model's from 32 to 32. "
        "It is probably made for Stable Diffusion 1.",
        KIND,
    ),
    file(
        "lora of flux",
        safetensors(
            {
                "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (2, 3072),
                "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": (3072, 2),
            }
        ),
        "@ fits no layer of this model: it is made for another kind.",
        KIND,
    ),
    file(
        "two ranks",
        safetensors({**lora(), f"{KOHYA}.lora_up.weight": (16, 3)}),
        f"the matrices of @ do not fit each other (unet_{ATTENTION}).",
        AGAIN,
    ),
    file(
        "half a lora",
        safetensors({f"{KOHYA}.lora_down.weight": (2, WIDTH)}),
        "@ is damaged: none of its matrices has its counterpart.",
        AGAIN,
    ),
    file(
        "a1111 embedding",
        safetensors({"emb_params": (3, 768)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file(
        "sdxl embedding",
        safetensors({"clip_l": (3, 768), "clip_g": (3, 1280)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file(
        "diffusers embedding",
        safetensors({"<cat-toy>": (768,)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file("lfs lora", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("page as lora", PAGE, "@ is a web page (HTML), not the file itself.", LOG_IN),
    file(
        "cut lora",
        safetensors(lora())[:-4],
        "@ is cut short: it lacks at least 4 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file("padded lora", safetensors(lora()) + b"\0", "@ is too long: it has 1 byte more than its header says.", AGAIN),
    file(
        "model as lora",
        whole,
        "@ is a whole model, not a LoRA.",
        "Name it as the source of a model instead.",
    ),
    file("vae as lora", safetensors(FIRST_STAGE), "@ is a VAE, not a LoRA.", "Name the LoRA's own file."),
    folder(
        "two loras in a folder",
        only(("a.safetensors", safetensors(lora())), ("b.safetensors", safetensors(lora()))),
        "the folder has 2 .safetensors files, and none of the name pytorch_lora_weights.safetensors.",
        "Name the file itself, such as a.safetensors.",
    ),
    folder(
        "pickled lora",
        only(("pytorch_lora_weights.bin", b"PK\3\4")),
        "the folder has only pickled weights, and pickles can run code when loaded.",
        "Take its .safetensors version.",
    ),
]

CONTROLNETS = [
    file("lfs controlnet", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("lora as controlnet", safetensors(lora()), "@ is a LoRA, not a ControlNet.", "Name the file of a ControlNet."),
    file(
        "controlnet of sdxl",
        safetensors(
            {
                "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
                f"{DOTTED}.weight": (16, 2048),
            }
        ),
        "it is made for another kind of model (Stable Diffusion XL): it reads words of 2,048 numbers, and this model's "
        "have 32.",
        KIND,
    ),
    folder(
        "unet as controlnet",
        only(("config.json", b'{"_class_name": "UNet2DConditionModel"}')),
        "it is a UNet2DConditionModel, which is no ControlNet that can be used.",
        "Name the folder of a ControlNet.",
    ),
    folder(
        "controlnet without weights",
        only(("config.json", b'{"_class_name": "ControlNetModel"}')),
        "the folder has no weights.",
        "Take its .safetensors version.",
    ),
    folder(
        "pickled controlnet",
        only(("config.json", b'{"_class_name": "ControlNetModel"}'), ("diffusion_pytorch_model.bin", b"PK\3\4")),
        "the folder has only pickled weights, and pickles can run code when loaded.",
        "Take its .safetensors version.",
    ),
]

if __name__ == "__main__":
    home = Path(sys.argv[1])
    tiny_model = make_tiny_folder(home / "tiny")
    for bad in (*FILES, *FOLDERS, *LORAS, *CONTROLNETS):
        bad.make(tiny_model, home / bad.file_name)
