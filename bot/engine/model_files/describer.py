"""The host's model that describes pictures in words: what its files say, before it is loaded.

transformers reads such models, in a process of its own only, because it imports torch.
"""

from __future__ import annotations

from pathlib import Path

from bot.engine.model_files.header import read_header
from bot.engine.model_files.settings import read_settings
from bot.errors import UnusableFiles

KINDS = ("blip", "git")
"""Kinds of models that turn a picture into one sentence without being asked a question, by their `model_type`."""

WEIGHTS = "model.safetensors"
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""How pictures are prepared; transformers 5 writes the first, and earlier releases wrote the second."""


def check_describer(folder: Path) -> None:
    """Raise UnusableFiles, with the remedy, for a folder whose model cannot describe pictures, as far as files tell."""
    if not folder.is_dir():
        raise UnusableFiles(f"its folder {folder.name} is missing.", "Put it back, or correct engine.describer.")
    kind = read_settings(folder / "config.json", "config.json").get("model_type")
    read_settings(folder / "tokenizer_config.json", "tokenizer_config.json")
    name = next((name for name in _PROCESSORS if (folder / name).exists()), _PROCESSORS[-1])
    read_settings(folder / name, name)
    if kind not in KINDS:
        raise UnusableFiles(
            f"{folder.name} holds a model of the kind {kind}, and only the kinds {' and '.join(KINDS)} are loaded.",
            "Take one that describes pictures, such as Salesforce/blip-image-captioning-base.",
        )
    if not (folder / WEIGHTS).is_file():
        raise UnusableFiles(f"{WEIGHTS} is missing.", "Download the version of the model in safetensors.")
    read_header(folder / WEIGHTS, WEIGHTS)
