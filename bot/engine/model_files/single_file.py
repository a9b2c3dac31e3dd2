"""A model as one .safetensors file: which family it is of, what it predicts, and what it lacks.

The families are those of diffusers' `infer_diffusers_model_type`, told from the header instead of the loaded tensors.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.engine.model_files.contents import DENOISER, TEXT_ENCODERS, VAES, Contents, contents_of
from bot.engine.model_files.folder import INDEX, check_scheduler, check_tokenizers, pipeline_class, read_scheduler
from bot.engine.model_files.header import Header, read_header
from bot.engine.model_files.operations import operations_of
from bot.engine.model_files.sampling import ZERO_SNR, Sampling, sampling_of
from bot.engine.model_files.settings import read_settings
from bot.errors import UnusableFiles
from bot.jobs import Operation


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of checkpoint that comes as one file."""

    name: str
    pipeline: str
    """The class of diffusers' pipeline."""
    config: str
    """The hub id that diffusers takes its configuration from, unless the host names another."""
    scheduler: str
    """The class of the scheduler there."""
    prediction: str = "epsilon"
    needs: tuple[str, ...] = ()
    """How the names of tensors begin that it cannot do without, beside those of its denoiser."""


_SD1 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_CLIPS = ("text_encoders.clip_l.", "text_encoders.clip_g.", "text_encoders.t5xxl.")

FAMILIES = {
    family.name: family
    for family in (
        Family("Stable Diffusion 1", "StableDiffusionPipeline", _SD1, "PNDMScheduler"),
        Family(
            "Stable Diffusion 1 for inpainting",
            "StableDiffusionInpaintPipeline",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "PNDMScheduler",
        ),
        Family(
            "Stable Diffusion 2",
            "StableDiffusionPipeline",
            "stabilityai/stable-diffusion-2-1",
            "DDIMScheduler",
            "v_prediction",
        ),
        Family(
            "Stable Diffusion 2 for inpainting",
            "StableDiffusionInpaintPipeline",
            "stabilityai/stable-diffusion-2-inpainting",
            "PNDMScheduler",
        ),
        Family(
            "Stable Diffusion XL",
            "StableDiffusionXLPipeline",
            "stabilityai/stable-diffusion-xl-base-1.0",
            "EulerDiscreteScheduler",
        ),
        Family(
            "Stable Diffusion XL for inpainting",
            "StableDiffusionXLInpaintPipeline",
            "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            "EulerDiscreteScheduler",
        ),
        *(
            Family(
                name, "StableDiffusion3Pipeline", f"stabilityai/{config}", "FlowMatchEulerDiscreteScheduler", "", _CLIPS
            )
            for name, config in (
                ("Stable Diffusion 3", "stable-diffusion-3-medium-diffusers"),
                ("Stable Diffusion 3.5 Medium", "stable-diffusion-3.5-medium"),
                ("Stable Diffusion 3.5 Large", "stable-diffusion-3.5-large"),
            )
        ),
        *(
            Family(
                f"FLUX.1 {name}",
                "FluxPipeline",
                f"black-forest-labs/FLUX.1-{name}",
                "FlowMatchEulerDiscreteScheduler",
                "",
                ("text_encoders.clip_l.", "text_encoders.t5xxl."),
            )
            for name in ("dev", "schnell")
        ),
    )
}

_UNSUITED = (
    ("conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias", "the refiner of Stable Diffusion XL"),
    (f"{DENOISER}input_blocks.1.0.time_stack.in_layers.0.weight", "Stable Video Diffusion"),
    ("edm_mean", "Playground v2.5"),
)
_OTHERS = (
    ("distilled_guidance_layer.in_proj.bias", "Chroma"),
    ("single_stream_modulation.lin.weight", "FLUX.2"),
    ("early_stream_modulations.image.lin.weight", "FLUX.3"),
    ("double_layers.0.attn.w2q.weight", "AuraFlow"),
    ("cap_embedder.0.weight", "Lumina 2"),
    ("layers.0.adaLN_modulation.0.weight", "Z-Image"),
    ("patchify_proj.weight", "LTX-Video"),
    ("head.modulation", "Wan"),
    ("txtfusion.projector.weight", "Krea 2"),
    ("txt_in.text_norm.weight", "Qwen-Image"),
)
"""Kinds with one tensor each that no other has. With a `config` folder, diffusers loads some of them."""

_KIN = ("StableDiffusionXL", "StableDiffusion3", "StableDiffusion", "Flux")
"""Words in the names of pipelines by which families differ."""

_FIRST_LAYER = f"{DENOISER}input_blocks.0.0.weight"
"""The first layer of a U-Net: as wide as the channels that it takes."""
_ASK_FOR_BASE = "Choose a model that paints pictures from words."
_SPLIT_NORM = f"{DENOISER}output_blocks.11.1.transformer_blocks.0.norm1.bias"
_V_SPREAD = 0.09
"""Stable Diffusion 2 does not say what it predicts. ComfyUI tells it by this tensor's spread, which is wider for v."""


@dataclass(frozen=True, slots=True)
class SingleFile:
    """A model in one file that can be loaded, as far as its header tells."""

    path: Path
    header: Header
    pipeline: str
    """The class of diffusers' pipeline."""
    sampling: Sampling
    operations: frozenset[Operation]
    """What can be done with it."""
    scheduler: str
    """The class of its scheduler."""
    changes: Mapping[str, Any]
    """Settings of the scheduler that the file knows better than its configuration."""
    config: str
    """The folder or hub id that its configuration comes from."""

    @property
    def is_configured(self) -> bool:
        """Whether its configuration lies on this machine."""
        return Path(self.config).is_dir()

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return self.header.numbers


def recognise_file(path: Path, config: str | None, *, named: bool = True) -> SingleFile:
    """The model in a file, with the diffusers folder or hub id of its configuration.

    `named` says whether the host chose the configuration, which then knows better than a guess from the file.
    Raises UnusableFiles, with what the file is instead, if it cannot be loaded.
    """
    header = read_header(path)
    shown = path.name
    contents = contents_of(header)
    if contents.is_adapter:
        raise UnusableFiles(f"{shown} is {contents}, not a model.", "Name it under [[models.loras]] of a model.")
    if contents is Contents.CONTROLNET:
        raise UnusableFiles(
            f"{shown} is a ControlNet, not a model.", "Name it under [[models.controlnets]] of a model."
        )
    if contents is Contents.DENOISER and not header.has(DENOISER):
        raise UnusableFiles(f"{shown} is {contents}.", "Take the whole model, as one file or as a diffusers folder.")
    if contents not in (Contents.CHECKPOINT, Contents.DENOISER):
        raise UnusableFiles(f"{shown} is {contents}, not a model.", "Take a whole model.")
    family = _family(header, shown, config is not None)
    lacking = _lacking(header, family)
    if lacking:
        raise UnusableFiles(
            f"{shown} is incomplete: it has no {' and no '.join(lacking)}.",
            "Take the whole model, as one file or as a diffusers folder.",
        )
    folder = Path(config) if config is not None and Path(config).is_dir() else None
    if folder is None:
        if family is None:
            raise UnusableFiles(
                f"{shown} is a model of a kind that Atelier cannot tell from its tensors.",
                "Set `config` to a diffusers folder of the same kind.",
            )
        scheduler, settings = family.scheduler, {"prediction_type": family.prediction} if family.prediction else {}
        pipeline = family.pipeline
    else:
        index = read_settings(folder / INDEX, f"config/{INDEX}")
        pipeline = pipeline_class(index, f"config/{INDEX}")
        check_tokenizers(folder, index, "config/")
        _check_family(family, pipeline, shown)
        scheduler, settings = read_scheduler(folder, index)
        check_scheduler(pipeline, scheduler, settings)
    changes = _predicted(header, family, config is not None and named)
    _check_edm(header, scheduler, settings, shown)
    if changes.get("rescale_betas_zero_snr") and scheduler not in ZERO_SNR:
        scheduler, changes = "DDIMScheduler", {**changes, "timestep_spacing": "trailing"}
    changes = {name: value for name, value in changes.items() if settings.get(name) != value}
    source = config if config is not None else family.config if family is not None else ""
    sampling = sampling_of(scheduler, {**settings, **changes}, pipeline)
    operations = operations_of(pipeline, header.width(_FIRST_LAYER), upscales=False)
    return SingleFile(path, header, pipeline, sampling, operations, scheduler, changes, source)


def _family(header: Header, shown: str, configured: bool) -> Family | None:
    """The family of a checkpoint; None for a kind that only its configuration can tell.

    Raises UnusableFiles for one that does not paint from words.
    """

    def has(name: str) -> bool:
        return name in header.tensors or DENOISER + name in header.tensors

    for name, kind in _UNSUITED:
        if name in header.tensors and not (name == "edm_mean" and configured):
            remedy = "Take it as a diffusers folder." if name == "edm_mean" else _ASK_FOR_BASE
            raise UnusableFiles(f"{shown} is {kind}, which cannot be loaded from one file.", remedy)
    for name, kind in _OTHERS:
        if has(name):
            if configured:
                return None
            raise UnusableFiles(f"{shown} is a model of the kind {kind}.", "Take it as a diffusers folder.")
    if has("joint_blocks.0.context_block.adaLN_modulation.1.bias"):
        if has("joint_blocks.37.x_block.mlp.fc1.weight"):
            return FAMILIES["Stable Diffusion 3.5 Large"]
        medium = header.width(f"{DENOISER}pos_embed") == 147456
        return FAMILIES["Stable Diffusion 3.5 Medium" if medium else "Stable Diffusion 3"]
    if has("double_blocks.0.img_attn.norm.key_norm.scale") or has("double_blocks.0.img_attn.norm.key_norm.weight"):
        if header.width(f"{DENOISER}img_in.weight") not in (None, 64):
            raise UnusableFiles(f"{shown} is a FLUX.1 that needs a picture (Fill, Depth or Canny).", _ASK_FOR_BASE)
        return FAMILIES["FLUX.1 dev" if has("guidance_in.in_layer.bias") else "FLUX.1 schnell"]
    channels = header.width(_FIRST_LAYER)
    if channels is None:
        return None
    if channels not in (4, 9):
        raise UnusableFiles(
            f"{shown} is a model that needs a picture beside the words (its denoiser takes {channels} channels).",
            _ASK_FOR_BASE,
        )
    if header.has("conditioner.embedders.1."):
        name = "Stable Diffusion XL"
    elif header.width(f"{DENOISER}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight") == 1024 or header.has(
        "cond_stage_model.model."
    ):
        name = "Stable Diffusion 2"
    else:
        name = "Stable Diffusion 1"
    return FAMILIES[name + (" for inpainting" if channels == 9 else "")]


def _lacking(header: Header, family: Family | None) -> list[str]:
    needs = family.needs if family is not None else ()
    lacking = []
    if not header.has(DENOISER):
        lacking.append("denoiser")
    if not header.has(*TEXT_ENCODERS):
        lacking.append("text encoder")
    elif missing := [name.removeprefix("text_encoders.").rstrip(".") for name in needs if not header.has(name)]:
        lacking.append(f"text encoder {' or '.join(missing)}")
    if not header.has(*VAES):
        lacking.append("VAE")
    return lacking


def _check_family(family: Family | None, pipeline: str, shown: str) -> None:
    """Raise UnusableFiles where a file is clearly of another family than its configuration."""
    if family is None:
        return

    own, configured = (next((kin for kin in _KIN if kin in name), "") for name in (family.pipeline, pipeline))
    if configured and own != configured:
        raise UnusableFiles(
            f"{shown} is a {family.name}, and its `config` is for another kind of model ({pipeline}).",
            "Set `config` to a diffusers folder of the same kind, or leave it out.",
        )


def _predicted(header: Header, family: Family | None, configured: bool) -> dict[str, Any]:
    """What the file itself says of the scheduler's settings.

    ComfyUI and trainers mark a file that predicts v, by empty tensors or in its metadata. Few mark epsilon, so that
    word counts only where the host named no configuration.
    """
    facts = header.metadata
    stated = (facts.get("modelspec.prediction_type") or facts.get("modelspec.predict_key") or "").lower()
    architecture = facts.get("modelspec.architecture", "")
    changes: dict[str, Any] = {}
    if (
        "v_pred" in header.tensors
        or stated in ("v", "v_prediction", "v-prediction")
        or facts.get("ss_v_parameterization", "").lower() in ("true", "1")
        or architecture.endswith("-768-v")
    ):
        changes["prediction_type"] = "v_prediction"
    elif not configured and (stated in ("epsilon", "eps") or architecture.endswith("v2-512")):
        changes["prediction_type"] = "epsilon"
    elif not configured and family is FAMILIES["Stable Diffusion 2"] and (values := header.values(_SPLIT_NORM)):
        changes["prediction_type"] = "v_prediction" if statistics.pstdev(values) > _V_SPREAD else "epsilon"
    if "ztsnr" in header.tensors and changes.get("prediction_type") == "v_prediction":
        changes["rescale_betas_zero_snr"] = True
    if family is not None and not family.prediction:
        return {}
    return changes


def _check_edm(header: Header, scheduler: str, settings: Mapping[str, Any], shown: str) -> None:
    """Raise UnusableFiles for continuous noise (CosXL) whose configuration has a scheduler for discrete steps."""
    if "edm_vpred.sigma_max" not in header.tensors:
        return
    if not scheduler.startswith("EDM") and settings.get("timestep_type") != "continuous":
        raise UnusableFiles(
            f"{shown} predicts v for continuous noise (EDM, as CosXL), and its configuration is for other noise.",
            "Set `config` to a diffusers folder whose scheduler has timestep_type = continuous.",
        )
