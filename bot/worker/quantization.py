"""Denoisers in fewer bits: in 8 bits by torchao, in 4 by bitsandbytes, or as a GGUF file has them.

Only the weights are packed. bitsandbytes' 8 bits are not used: they treat outliers of the whole batch, so that a
picture would depend on the others in its forward. Imported in the engine process only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders import single_file_model
from diffusers.quantizers import DiffusersAutoQuantizer

from bot.config import ModelConfig
from bot.engine import memory
from bot.engine.model_files.folder import DENOISERS, INDEX, Folder
from bot.engine.model_files.recognise import Recognised
from bot.engine.model_files.settings import read_settings
from bot.errors import UnusableFiles
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.library_errors import told


def load_denoiser(model: ModelConfig, files: Recognised, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """A model's packed denoiser by its part's name, on the CPU or the device; nothing if it is not packed.

    Raises UnusableFiles if this machine cannot do it, and the errors of the libraries for files that they refuse.
    """
    gguf = files.gguf if isinstance(files, Folder) else None
    bits = next((name for name in model.memory if name in memory.BITS), None)
    if gguf is None and bits is None:
        return {}
    if trouble := memory.trouble(model.memory, device, packed=gguf is not None):
        raise trouble
    part, kind = files.denoiser if isinstance(files, Folder) else _denoiser_of(Path(files.config))
    if not part:
        raise UnusableFiles(
            "its denoiser cannot be told from its settings, so it cannot be packed.", "Remove `memory`."
        )
    options = {"torch_dtype": dtype, "local_files_only": True, "quantization_config": _settings(bits, dtype)}
    denoiser = getattr(diffusers, kind)
    try:
        if isinstance(files, Folder) and gguf is None:
            variant = (
                files.variant if any(f".{files.variant}" in path.name for path, _ in files.parts[part].files) else None
            )
            module = denoiser.from_pretrained(
                files.path, subfolder=part, use_safetensors=True, variant=variant, **options
            )
        else:
            config = files.path if isinstance(files, Folder) else files.config
            with nullcontext() if gguf is not None else _packing():
                module = denoiser.from_single_file(
                    str(gguf or files.path), config=str(config), subfolder=part, **options
                )
    except (ImportError, RuntimeError) as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        what = "GGUF" if gguf is not None else bits
        raise UnusableFiles(
            f"this card or installation cannot do {what} ({told(error)}).", "Choose another `memory`, or remove it."
        ) from error
    return {part: module.eval()}


def is_quantized(module: Any) -> bool:
    """Whether a module's weights are packed."""
    return getattr(module, "hf_quantizer", None) is not None


@contextmanager
def _packing() -> Iterator[None]:
    """Have diffusers pack the weights of a single file.

    diffusers 0.42 takes them for packed already, and then torchao packs none of them without a word.
    """

    class Packing(DiffusersAutoQuantizer):  # type: ignore[misc]
        @classmethod
        def from_config(cls, config: Any, **options: Any) -> Any:
            return super().from_config(config, **{**options, "pre_quantized": False})

    single_file_model.DiffusersAutoQuantizer = Packing
    try:
        yield
    finally:
        single_file_model.DiffusersAutoQuantizer = DiffusersAutoQuantizer


def _settings(bits: str | None, dtype: torch.dtype) -> Any:
    match bits:
        case "8bit":
            from torchao.quantization import Int8WeightOnlyConfig

            return diffusers.TorchAoConfig(Int8WeightOnlyConfig(version=2))
        case "4bit":
            return diffusers.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
    return diffusers.GGUFQuantizationConfig(compute_dtype=dtype)


def _denoiser_of(folder: Path) -> tuple[str, str]:
    """The part and the class of the denoiser that a configuration names."""
    index = read_settings(folder / INDEX, INDEX)
    for part in DENOISERS:
        entry = index.get(part)
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str):
            return part, entry[1]
    return "", ""
