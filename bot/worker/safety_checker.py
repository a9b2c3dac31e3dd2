"""The safety checker that a model brings: no picture is shown that the checker has not seen, even when it fails.

A model that names no checker is used without one. A model that names one in its `model_index.json` must have it:
diffusers and transformers do not check this, and fill in random weights if some are missing. Imported in the engine
process only.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import diffusers

from bot.engine.model_files.folder import INDEX, SAFETY_CHECKER, safety_checker_trouble, variant_of, weights_of
from bot.engine.model_files.settings import read_settings
from bot.errors import PaintFailed
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.library_errors import told

log = logging.getLogger(__name__)

FOLDER = SAFETY_CHECKER
"""The checker's folder in a model's folder, and its name in diffusers."""


def is_named(folder: Path) -> bool:
    """Whether the model in a folder names a safety checker. Raises UnusableFiles if its index cannot be read."""
    entry = read_settings(folder / INDEX, INDEX).get(FOLDER)
    return isinstance(entry, list) and bool(entry) and entry[0] is not None


def look(model: str, folder: Path) -> None:
    """Raise PaintFailed if the safety checker of the model in a folder is damaged. It is not loaded."""
    if why := safety_checker_trouble(folder):
        raise unavailable(model, why)


def numbers(folder: Path) -> int:
    """How many numbers the safety checker in a model's folder has; 0 without one."""
    if not is_named(folder):
        return 0
    return weights_of(folder, FOLDER).numbers


def load(model: str, folder: Path, dtype: Any) -> Any:
    """The complete safety checker of the model in a folder; None if diffusers does not know its class.

    Raises PaintFailed if it cannot be loaded.
    """
    library, name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))[FOLDER]
    kind = getattr(getattr(diffusers.pipelines, library, None), name, None)
    if kind is None:
        # Diffusers loads it together with the pipeline, and raises if it cannot.
        return None
    try:
        checker, found = kind.from_pretrained(
            folder / FOLDER,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=variant_of(folder, FOLDER),
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.exception("the safety checker of model %s cannot be loaded", model)
        raise unavailable(model, told(error)) from error
    if lacking := sorted(found["missing_keys"]):
        raise unavailable(model, f"{len(lacking)} of its weights are missing, such as {lacking[0]}")
    return checker


def unavailable(model: str, why: str) -> PaintFailed:
    """The error for a model whose checker cannot be loaded."""
    return PaintFailed(
        "Safety check unavailable: the model {model} names a safety checker that is missing or broken ({error}). The "
        "host has to restore its folder {folder}.",
        model=model,
        error=why,
        folder=FOLDER,
    )


def guard(model: str, checker: Any, pipeline: Any) -> None:
    """Let no picture out of a pipeline that the model's safety checker did not judge.

    Raises PaintFailed if the pipeline does not use the checker.
    """
    if checker is None:
        return
    if getattr(pipeline, FOLDER, None) is not checker:
        raise PaintFailed(
            "Safety check unavailable: the safety checker of the model {model} cannot check pictures of this kind. "
            "Choose another model.",
            model=model,
        )
    check = getattr(pipeline, "run_safety_checker", None)
    if check is None:
        # The pipeline checks its pictures itself, as those of Cosmos do. If that raises, nothing is shown.
        return

    def guarded(image: Any, *arguments: Any, **options: Any) -> Any:
        try:
            answer = check(image, *arguments, **options)
            if answer[1] is None or len(answer[1]) != len(image):
                raise ValueError(f"{len(image)} pictures were checked, and the answer is {answer[1]!r}")
        except Exception as error:
            # The batcher handles a lack of memory and a lost device.
            if is_out_of_memory(error) or is_device_lost(error):
                raise
            log.exception("the safety checker of model %s failed", model)
            raise PaintFailed(
                "Safety check unavailable: the safety checker of the model {model} failed, so the picture is not "
                "shown. Try again or another model. The host can find the reason in the log.",
                model=model,
            ) from error
        return answer

    # Bypass the pipeline's own __setattr__, as `coroutines.py` does.
    vars(pipeline)["run_safety_checker"] = guarded
