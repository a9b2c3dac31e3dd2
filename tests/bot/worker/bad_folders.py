"""Folders of models that cannot be loaded, and what is said of each."""

from __future__ import annotations

import shutil

from tests.bot.worker.damage import (
    AGAIN,
    LFS,
    LOG_IN,
    OTHER,
    PAGE,
    PULL,
    SHARDS,
    TEXT,
    UNET,
    VAE,
    WHOLE,
    WHOLE_AGAIN,
    both,
    cut,
    folder,
    gone,
    index,
    lora,
    only,
    put,
    renamed,
    safetensors,
    shards,
    unconditional,
)

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
