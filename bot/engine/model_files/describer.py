"""The host's models that look at pictures, to describe or compare them: what their files say, before they are loaded.

transformers reads such models, in processes of their own only, because it imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bot.engine.model_files.header import read_header
from bot.engine.model_files.settings import read_settings
from bot.errors import UnusableFiles

KINDS = ("blip", "git")
"""Kinds of models that turn a picture into one sentence without being asked a question, by their `model_type`."""

COMPARING = ("clip", "clip_vision_model")
"""Kinds of models that compare pictures."""

WEIGHTS = "model.safetensors"
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""How pictures are prepared; transformers 5 writes the first, and earlier releases wrote the second."""


def check_describer(folder: Path) -> None:
    """Raise UnusableFiles, with the remedy, for a folder whose model cannot describe pictures, as far as files tell."""
    _check(folder, "engine.describer", KINDS, "describes pictures, such as Salesforce/blip-image-captioning-base")
    read_settings(folder / "tokenizer_config.json", "tokenizer_config.json")


def check_likeness(folder: Path) -> None:
    """Raise UnusableFiles, with the remedy, for a folder whose model cannot compare pictures, as far as files tell."""
    _check(folder, "engine.likeness", COMPARING, "compares pictures, such as openai/clip-vit-base-patch32")


def check_segmenter(folder: Path) -> None:
    """Raise UnusableFiles, with the remedy, for a folder whose model cannot be loaded to find things in pictures.

    Whether it can segment pictures is known to transformers alone, in the engine process.
    """
    _check(folder, "engine.segmenter", (), "")


def _check(folder: Path, setting: str, kinds: Sequence[str], example: str) -> None:
    if not folder.is_dir():
        raise UnusableFiles(f"its folder {folder.name} is missing.", f"Put it back, or correct {setting}.")
    kind = read_settings(folder / "config.json", "config.json").get("model_type")
    name = next((name for name in _PROCESSORS if (folder / name).exists()), _PROCESSORS[-1])
    read_settings(folder / name, name)
    if kinds and kind not in kinds:
        raise UnusableFiles(
            f"{folder.name} holds a model of the kind {kind}, and only the kinds {' and '.join(kinds)} are loaded.",
            f"Take one that {example}.",
        )
    if not (folder / WEIGHTS).is_file():
        raise UnusableFiles(f"{WEIGHTS} is missing.", "Download the version of the model in safetensors.")
    read_header(folder / WEIGHTS, WEIGHTS)
