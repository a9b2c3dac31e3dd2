"""A model of the configuration, with its LoRAs and ControlNets: what they are, and which of them cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bot.config import ControlNetConfig, LoraConfig, ModelConfig
from bot.engine.model_files.adapters import check_controlnet, check_lora, flat_layers, lora_file
from bot.engine.model_files.folder import Folder, recognise_folder
from bot.engine.model_files.gguf import is_gguf
from bot.engine.model_files.header import read_header
from bot.engine.model_files.single_file import SingleFile, recognise_file
from bot.errors import UnusableFiles

Recognised = Folder | SingleFile


def recognise(source: Path, config: str | None = None) -> Recognised:
    """The model in a folder or a file. Raises UnusableFiles, with the remedy, for anything that cannot be loaded."""
    try:
        if source.is_dir():
            return recognise_folder(source)
        if is_gguf(source):
            return _recognise_gguf(source, config)
        return recognise_file(source, config)
    except OSError as error:
        raise UnusableFiles(
            f"its files cannot be read ({error.strerror}).", "Make them readable for the user that runs Atelier."
        ) from error


def _recognise_gguf(source: Path, config: str | None) -> Folder:
    """The denoiser in a GGUF file with the diffusers folder of the rest. Raises UnusableFiles without such a folder."""
    if config is None or not Path(config).is_dir():
        raise UnusableFiles(
            f"{source.name} is a GGUF file, which has only the denoiser of a model.",
            "Set `config` to the diffusers folder on this machine that has the text encoders and the VAE.",
        )
    return recognise_folder(Path(config), source)


def layers_of(model: Recognised) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's layers by their flat names, as `adapters.check_lora` compares them."""
    if isinstance(model, SingleFile):
        return flat_layers({name: tensor.shape for name, tensor in model.header.tensors.items()})
    shapes = {}
    for part, weights in model.parts.items():
        shapes.update({f"{part}.{name}": shape for name, shape in weights.shapes.items()})
    return flat_layers(shapes)


def unusable_adapters(
    model: ModelConfig, layers: Mapping[str, tuple[int, ...]]
) -> dict[LoraConfig | ControlNetConfig, UnusableFiles]:
    """The LoRAs and ControlNets of a model on this machine that cannot be used, each with the reason."""
    troubles: dict[LoraConfig | ControlNetConfig, UnusableFiles] = {}
    for lora in model.loras:
        if not Path(lora.source).exists():
            continue
        try:
            file = lora_file(Path(lora.source))
            check_lora(read_header(file), layers, file.name)
        except UnusableFiles as error:
            troubles[lora] = error
    for net in model.controlnets:
        if not Path(net.source).exists():
            continue
        try:
            check_controlnet(Path(net.source), layers)
        except UnusableFiles as error:
            troubles[net] = error
    return troubles
