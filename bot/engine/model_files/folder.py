"""A model as a diffusers folder: its index, its parts and their weights, looked at without loading any."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.engine.model_files.contents import Contents, contents_of
from bot.engine.model_files.gguf import read_gguf
from bot.engine.model_files.header import Header, git_pointer, is_git_pointer, read_header
from bot.engine.model_files.operations import FILMING, operations_of
from bot.engine.model_files.sampling import FLOW_PIPELINES, NOISE_PIPELINES, Sampling, is_flow, sampling_of
from bot.engine.model_files.settings import is_in_diffusers, is_in_transformers, read_settings, version_of
from bot.errors import UnusableFiles
from bot.jobs import Operation
from bot.language import sentence

INDEX = "model_index.json"

_WHOLE = "Download the whole model again."
_OTHER = "Choose a model that paints pictures from words, such as a Stable Diffusion or a Flux."

_MOVING = re.compile(
    r"Video|AnimateDiff|^(Wan|LTX|Mochi|Allegro|Latte|SkyReels|HunyuanSkyreels|Helios|EasyAnimate|I2VGen|ConsisID|PIA"
    r"|Cosmos(?!2TextToImage)|Kandinsky5(I2V|T2V)|SanaWM|CogVideo|Lucy|ChronoEdit|AnyFlow)"
)
_SOUND = re.compile(r"Audio|Music|Spectrogram|DanceDiffusion|AceStep")
_TEXT = re.compile(r"LLaDA|DiffusionGemma")
_SHAPE = re.compile(r"ShapE|Proteina")
_PICTURE_NEEDED = re.compile(
    r"Upscale|SuperRes|Pix2Pix|Depth2Img|ImageVariation|Marigold|PaintByExample|CycleDiffusion|DiffEdit|RePaint|Redux"
    r"|Refiner|Edit(Plus|Inpaint)*Pipeline|FluxControl(?!Net)|FluxFill|KontextInpaint|VisualCloze"
)

_HALF = re.compile(r"Prior(Emb2Emb)?Pipeline$|DecoderPipeline$|^Kandinsky(V22)?(Img2Img|Inpaint|Controlnet)*Pipeline$")

WORDS = ("text_encoder", "tokenizer", "bert", "prior_text_encoder", "processor", "mllm")
"""How the names of the parts begin that read a prompt."""
_WEIGHTLESS = re.compile("(Tokenizer|Scheduler|Processor|FeatureExtractor)(Fast|Pil)?$")
"""How the names of the classes end whose parts have no weights."""
SAFETY_CHECKER = "safety_checker"
UPSCALER = "upscaler"
"""The folder of the network that enlarges a model's pictures. The index does not name it."""
_OPTIONAL = (SAFETY_CHECKER, "feature_extractor", "watermarker")
"""Parts that are looked at in another way, or that a pipeline can do without."""
DENOISERS = ("unet", "transformer", "transformer_2", "prior", "decoder")

_UNFIT: Mapping[str, tuple[Contents, ...]] = {
    **dict.fromkeys(DENOISERS, (Contents.VAE, Contents.TEXT_ENCODER, Contents.CHECKPOINT, Contents.CONTROLNET)),
    **dict.fromkeys(
        ("text_encoder", "text_encoder_2", "text_encoder_3"),
        (Contents.VAE, Contents.DENOISER, Contents.CHECKPOINT, Contents.CONTROLNET),
    ),
    "vae": (Contents.TEXT_ENCODER, Contents.DENOISER, Contents.CHECKPOINT, Contents.LANGUAGE_MODEL),
}
"""Part → what its files may not turn out to hold, beside adapters. New kinds of models name their tensors anew, so what
is not known is let pass."""

_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("tokenizer.model",),
    ("sentencepiece.bpe.model",),
    ("vocab.model",),
)
"""Files of which one group makes a tokenizer."""

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one part, as far as it has any."""

    files: tuple[tuple[Path, Header], ...]

    @property
    def numbers(self) -> int:
        """How many numbers they are."""
        return sum(header.numbers for _, header in self.files)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by its name."""
        return {name: tensor.shape for _, header in self.files for name, tensor in header.tensors.items()}


@dataclass(frozen=True, slots=True)
class Folder:
    """A diffusers folder that can be loaded, as far as its headers tell."""

    path: Path
    pipeline: str
    """The class of diffusers' pipeline."""
    sampling: Sampling
    operations: frozenset[Operation]
    """What can be done with it."""
    variant: str | None
    """Which of several sets of weights is loaded, such as fp16; None is the one without a name."""
    parts: Mapping[str, Weights] = field(default_factory=dict)
    """Its parts with weights, by their folders."""
    denoiser: tuple[str, str] = ("", "")
    """The folder of its denoiser, such as unet, and the denoiser's class."""
    gguf: Path | None = None
    """The GGUF file that its denoiser is loaded from, instead of the one in the folder."""

    @property
    def numbers(self) -> int:
        """How many numbers the parts have together."""
        return sum(weights.numbers for weights in self.parts.values())


def recognise_folder(path: Path, gguf: Path | None = None) -> Folder:
    """The model in a folder, with its denoiser in a GGUF file if one is given; then the folder need not have it.

    Raises UnusableFiles, with what the folder is instead, if it cannot be loaded.
    """
    if not (path / INDEX).is_file():
        raise _no_model(path)
    index = read_settings(path / INDEX, INDEX)
    pipeline = pipeline_class(index, INDEX)
    parts = {
        name: (str(entry[0]), str(entry[1]))
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(half, str) for half in entry)
    }
    for name, (library, kind) in parts.items():
        checked = library == "diffusers" or (library == "transformers" and name.startswith("text_encoder"))
        if checked and not (is_in_diffusers(kind) if library == "diffusers" else is_in_transformers(kind)):
            raise UnusableFiles(
                f"its {name} is a {kind}, which the installed {library} {version_of(library)} does not know: the model "
                "is newer.",
                "Upgrade Atelier, or choose another model.",
            )
    if not any(name.startswith(WORDS) for name in parts):
        raise UnusableFiles(f"it has no text encoder, so it cannot paint from words ({pipeline}).", _OTHER)
    if pipeline.startswith("StableDiffusionXL") and "text_encoder" not in parts:
        raise UnusableFiles("it is a refiner, which only changes pictures.", _OTHER)
    weighted = [
        name for name, (_, kind) in parts.items() if not _WEIGHTLESS.search(kind) and not name.startswith(_OPTIONAL)
    ]
    denoiser = next((name for name in weighted if name in DENOISERS), "")
    stored = [name for name in weighted if gguf is None or name != denoiser]
    variant = _variant(path, stored)
    check_tokenizers(path, index, "")
    weights = {name: _weights(path, name, variant) for name in stored}
    if gguf is not None:
        if not denoiser:
            raise UnusableFiles(f"it has no denoiser that a GGUF file could be ({pipeline}).", _OTHER)
        weights[denoiser] = _packed(gguf)
    settings = {name: read_settings(path / name / "config.json", f"{name}/config.json") for name in weighted}
    if SAFETY_CHECKER in parts and (why := safety_checker_trouble(path)):
        raise UnusableFiles(
            f"it names a safety checker that is missing or broken ({why}).", f"Put its folder {SAFETY_CHECKER} back."
        )
    if (path / UPSCALER).is_dir():
        try:
            read_settings(path / UPSCALER / "config.json", "config.json")
            read_header(path / UPSCALER / "model.safetensors")
        except UnusableFiles as error:
            raise damaged_upscaler(error.words.rstrip(".")) from error
    channels = settings.get("unet", {}).get("in_channels")
    operations = operations_of(pipeline, channels, upscales=(path / UPSCALER).is_dir())
    sampling = _sampling(path, pipeline, index, parts)
    kind = parts[denoiser][1] if denoiser else ""
    return Folder(path, pipeline, sampling, operations, variant, weights, (denoiser, kind), gguf)


def _packed(file: Path) -> Weights:
    """The weights of a denoiser in a GGUF file. Raises UnusableFiles if the file holds anything else."""
    header = read_gguf(file)
    contents = contents_of(header)
    if contents not in (Contents.DENOISER, Contents.UNKNOWN):
        raise UnusableFiles(
            f"{file.name} is a GGUF file and does not hold a denoiser but {contents}.",
            "Take the GGUF version of the U-Net or the transformer.",
        )
    return Weights(((file, header),))


def damaged_upscaler(why: str) -> UnusableFiles:
    """The error for a folder with an upscaler that cannot be loaded."""
    return UnusableFiles(f"its {UPSCALER}/ is damaged ({why}).", "Without the folder it enlarges by Lanczos.")


def safety_checker_trouble(path: Path) -> str | None:
    """Why the safety checker in a model's folder cannot be loaded, as far as its headers tell; None if it can."""
    try:
        read_settings(path / SAFETY_CHECKER / "config.json", f"{SAFETY_CHECKER}/config.json")
        weights_of(path, SAFETY_CHECKER)
    except UnusableFiles as error:
        return error.words.rstrip(".")
    return None


def variant_of(path: Path, part: str) -> str | None:
    """Which set of a part's weights is loaded; None is the one without a name. Raises UnusableFiles without any."""
    return _variant(path, [part])


def pipeline_class(index: Mapping[str, Any], shown: str) -> str:
    """The class of diffusers' pipeline that an index names. Raises UnusableFiles if it does not paint from words."""
    pipeline = index.get("_class_name")
    if isinstance(pipeline, list):
        # A pipeline of its own code: [module, class].
        raise UnusableFiles("it brings a pipeline as code of its own, which is not run.", _OTHER)
    if not isinstance(pipeline, str) or not re.search("Pipeline|^ORT|^OV", pipeline):
        raise UnusableFiles(f"{shown} is damaged: it names no pipeline class.", _WHOLE)
    if pipeline.startswith("Flax"):
        raise UnusableFiles(f"it is a Flax model ({pipeline}).", "Take its PyTorch version with .safetensors files.")
    if re.search("Onnx|^ORT|OpenVINO|^OV", pipeline):
        raise UnusableFiles(f"it is an ONNX model ({pipeline}).", "Take its PyTorch version with .safetensors files.")
    if not is_in_diffusers(pipeline):
        raise UnusableFiles(
            f"its pipeline class {pipeline} is not known to the installed diffusers {version_of('diffusers')}: the "
            "model is newer, or the name in model_index.json is wrong.",
            "Upgrade Atelier, or choose another model.",
        )
    if "Modular" in pipeline:
        raise UnusableFiles(f"it is a modular pipeline ({pipeline}).", "Take the version with an ordinary pipeline.")
    for what, expression in (("videos", _MOVING), ("sounds", _SOUND), ("text", _TEXT), ("shapes", _SHAPE)):
        if expression.search(pipeline) and pipeline not in FILMING:
            raise UnusableFiles(f"it makes {what}, not pictures ({pipeline}).", _OTHER)
    if _HALF.search(pipeline):
        raise UnusableFiles(f"it is one half of a model and cannot paint alone ({pipeline}).", _OTHER)
    if _PICTURE_NEEDED.search(pipeline):
        raise UnusableFiles(f"it changes pictures and cannot paint from words alone ({pipeline}).", _OTHER)
    return pipeline


def read_scheduler(folder: Path, index: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class of a folder's scheduler, which its index names, and the settings. Raises UnusableFiles without them."""
    entry = index.get("scheduler")
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if not isinstance(name, str):
        raise UnusableFiles(f"its {INDEX} names no scheduler.", _WHOLE)
    return name, read_settings(folder / "scheduler" / "scheduler_config.json", "scheduler/scheduler_config.json")


def check_scheduler(pipeline: str, scheduler: str, settings: Mapping[str, Any]) -> None:
    """Raise UnusableFiles where a scheduler takes away noise and the model predicts a flow, or the other way round."""
    flow = is_flow(scheduler, settings)
    if (pipeline.startswith(FLOW_PIPELINES) and not flow) or (pipeline.startswith(NOISE_PIPELINES) and flow):
        wrong, right = ("a flow", "noise") if flow else ("noise", "a flow")
        raise UnusableFiles(
            f"its scheduler {scheduler} follows {wrong}, but a model for {pipeline} predicts {right}.",
            "Put the model's own scheduler/scheduler_config.json back.",
        )


def _sampling(path: Path, pipeline: str, index: Mapping[str, Any], parts: Collection[str]) -> Sampling:
    if "scheduler" not in parts:
        return Sampling(
            ("default",), why=(sentence("has no scheduler that could be exchanged ({pipeline})", pipeline=pipeline),)
        )
    scheduler, settings = read_scheduler(path, index)
    check_scheduler(pipeline, scheduler, settings)
    return sampling_of(scheduler, settings, pipeline)


def weights_of(path: Path, part: str) -> Weights:
    """The weights of one part. Raises UnusableFiles if they are not whole or something else."""
    return _weights(path, part, _variant(path, [part]))


def _no_model(path: Path) -> UnusableFiles:
    """What a folder without an index is."""
    try:
        names = sorted(file.relative_to(path).as_posix() for file in path.glob("*")) + [
            file.relative_to(path).as_posix() for file in path.glob("*/*.onnx")
        ]
    except OSError as error:
        return UnusableFiles(
            f"the folder cannot be read ({error.strerror}).", "Make it readable for the user that runs Atelier."
        )
    told = f"it has no {INDEX}"
    if any(name.endswith(".onnx") for name in names):
        return UnusableFiles(f"{told}: it is an ONNX model.", "Take its PyTorch version with .safetensors files.")
    if any(name.endswith(".msgpack") for name in names):
        return UnusableFiles(f"{told}: it is a Flax model.", "Take its PyTorch version with .safetensors files.")
    if "adapter_config.json" in names:
        return UnusableFiles(f"{told}: it is a LoRA.", "Name it under [[models.loras]] of a model.")
    if "config.json" in names:
        settings = read_settings(path / "config.json", "config.json")
        kind = settings.get("_class_name") or next(iter(settings.get("architectures") or ()), "part of a model")
        if str(kind).endswith("ControlNetModel"):
            return UnusableFiles(f"{told}: it is a ControlNet.", "Name it under [[models.controlnets]] of a model.")
        return UnusableFiles(
            f"{told}: it is only a {kind}, one part of a model.", "Give the folder of the whole model."
        )
    if files := [name for name in names if name.endswith(".safetensors")]:
        return UnusableFiles(f"{told}.", f"A single checkpoint is named by its file, such as {files[0]}.")
    if inner := [name for name in names if (path / name / INDEX).is_file()]:
        return UnusableFiles(f"{told}, but its folder {inner[0]} has one.", f"Name that folder {inner[0]}.")
    return UnusableFiles(f"{told}.", "A single checkpoint is named by its .safetensors file.")


def _variants(path: Path, part: str) -> dict[str, list[Path]]:
    """The sets of .safetensors files in a part's folder, by variant; "" is the one without a name."""
    found: dict[str, list[Path]] = {}
    for file in sorted((path / part).glob("*.safetensors")):
        # model.fp16-00001-of-00002.safetensors and model-00001-of-00002.fp16.safetensors are both written.
        _, _, variant = file.name.removesuffix(".safetensors").partition(".")
        variant = _SHARD.sub("", variant)
        found.setdefault(variant, []).append(file)
    return found


def _variant(path: Path, parts: Sequence[str]) -> str | None:
    """Which set of weights to load: the one without a name if each part has it, else the first that completes it.

    Raises UnusableFiles for parts that have none.
    """
    lacking = []
    for part in parts:
        if not (path / part).is_dir():
            raise UnusableFiles(f"its folder {part} is missing.", _WHOLE)
        variants = _variants(path, part)
        if not variants:
            raise _no_weights(path / part, part)
        if "" not in variants:
            lacking.append(set(variants))
    if not lacking:
        return None
    common = set.intersection(*lacking)
    if not common:
        names = ", ".join(sorted(set.union(*lacking)))
        raise UnusableFiles(
            f"its parts have their weights in different variants ({names}), none of them in all.", _WHOLE
        )
    return "fp16" if "fp16" in common else min(common)


def _no_weights(folder: Path, part: str) -> UnusableFiles:
    names = [file.name for file in folder.iterdir()]
    for endings, what in (
        ((".bin", ".pt", ".pth", ".ckpt"), "pickled weights (.bin), and pickles can run code when loaded"),
        ((".msgpack",), "Flax weights (.msgpack)"),
        ((".onnx", ".onnx_data", ".pb"), "ONNX weights (.onnx)"),
        ((".xml",), "OpenVINO weights"),
        ((".gguf",), "GGUF weights"),
        ((".index.json",), "an index of weights without the files it names"),
    ):
        if any(name.endswith(endings) for name in names):
            return UnusableFiles(f"its folder {part} has only {what}.", "Take the model's .safetensors version.")
    return UnusableFiles(f"its folder {part} has no weights.", _WHOLE)


def _weights(path: Path, part: str, variant: str | None) -> Weights:
    """The weights of a part that would be loaded. Raises UnusableFiles if they are not whole or something else."""
    variants = _variants(path, part)
    chosen = variant if variant is not None and variant in variants else ""
    files = list(_chosen(path, part, variants[chosen], chosen))
    headers = tuple((file, read_header(file, f"{part}/{file.name}")) for file in files)
    for file, header in headers:
        contents = contents_of(header)
        unfit = contents.is_adapter or contents in (Contents.EMBEDDING, Contents.NOTHING, Contents.QUANTISED)
        if unfit or contents in _UNFIT.get(part, ()):
            raise UnusableFiles(f"{part}/{file.name} holds {contents}, not the model's {part}.", _WHOLE)
    return Weights(headers)


def _chosen(path: Path, part: str, files: Sequence[Path], variant: str) -> Iterator[Path]:
    """The one file, or those that the index of a split one names. Raises UnusableFiles if one of them is missing."""
    ending = f".safetensors.index.{variant}.json" if variant else ".safetensors.index.json"
    indexes = [*(path / part).glob(f"*{ending}")]
    whole = [file for file in files if not _SHARD.search(file.name.removesuffix(".safetensors"))]
    whole = [file for file in whole if not _SHARD.search(file.name.split(".")[0])]
    if whole:
        # As diffusers and transformers do, which look for one file of the usual name first.
        usual = [file for file in whole if file.name.split(".")[0] in ("model", "diffusion_pytorch_model")]
        if not usual:
            raise UnusableFiles(
                f"{part}/{whole[0].name} does not have the name that is looked for (model.safetensors or "
                "diffusion_pytorch_model.safetensors).",
                "Rename it, or take the model as its authors published it.",
            )
        yield usual[0]
        return
    if not indexes:
        raise UnusableFiles(f"its {part} is split into several files, and their index (*{ending}) is missing.", _WHOLE)
    shown = f"{part}/{indexes[0].name}"
    places = read_settings(indexes[0], shown).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise UnusableFiles(f"{shown} is damaged: it names no weights.", _WHOLE)
    for name in sorted(set(places.values())):
        if "/" in name or "\\" in name or not (path / part / name).is_file():
            raise UnusableFiles(f"{shown} names {Path(name).name}, which is missing.", _WHOLE)
        yield path / part / name


def check_tokenizers(path: Path, index: Mapping[str, Any], above: str) -> None:
    """Raise UnusableFiles unless all tokenizers that an index names have their words.

    `above` is what sentences say before their folders.
    """
    for part, entry in index.items():
        if isinstance(entry, list) and len(entry) == 2 and re.search("Tokenizer(Fast)?$", str(entry[1])):
            _check_tokenizer(path / part, f"{above}{part}")


def _check_tokenizer(folder: Path, part: str) -> None:
    if not folder.is_dir():
        raise UnusableFiles(f"its folder {part} is missing, without which no prompt can be read.", _WHOLE)
    group = next((group for group in _TOKENIZERS if all((folder / name).is_file() for name in group)), None)
    if group is None:
        raise UnusableFiles(f"its folder {part} has no vocabulary, without which no prompt can be read.", _WHOLE)
    for name in group:
        if name.endswith(".json"):
            read_settings(folder / name, f"{part}/{name}")
        elif not (folder / name).stat().st_size:
            raise UnusableFiles(f"{part}/{name} is empty.", _WHOLE)
        elif is_git_pointer(folder / name):
            raise git_pointer(f"{part}/{name}")
