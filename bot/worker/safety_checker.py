"""The safety checker that a model brings: whatever goes wrong with it, no picture passes unseen.

A model without one is painted without. One that names a checker in its `model_index.json` meant it to be there, and
neither diffusers nor transformers insists: weights that a file lacks are made up. Imported in the engine process only.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import diffusers
from safetensors import safe_open

from bot.errors import PaintFailed
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.loras import first_line

log = logging.getLogger(__name__)

FOLDER = "safety_checker"
"""Where it lies in a model's folder, and what diffusers calls it."""


def is_named(folder: Path) -> bool:
    """Whether the model in a folder names a safety checker. Raises what reading its index raises."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return bool((index.get(FOLDER) or (None,))[0])


def look(model: str, folder: Path) -> None:
    """Raise PaintFailed where the safety checker of the model in a folder is plainly no such thing; builds nothing."""
    try:
        for file in (folder / FOLDER).glob("*.safetensors"):
            with safe_open(file, "np"):
                pass
    except Exception as error:
        raise unavailable(model, first_line(error)) from error


def load(model: str, folder: Path, dtype: Any) -> Any:
    """The safety checker of the model in a folder, whole; None where diffusers knows no such class.

    Raises PaintFailed where it cannot be had.
    """
    library, name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))[FOLDER]
    kind = getattr(getattr(diffusers.pipelines, library, None), name, None)
    if kind is None:
        # Then diffusers will say what it makes of it; what it cannot load it does not leave out.
        return None
    try:
        checker, found = kind.from_pretrained(
            folder / FOLDER, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.exception("the safety checker of model %s cannot be loaded", model)
        raise unavailable(model, first_line(error)) from error
    if lacking := sorted(found["missing_keys"]):
        raise unavailable(model, f"{len(lacking)} of its weights are missing, such as {lacking[0]}")
    return checker


def unavailable(model: str, why: str) -> PaintFailed:
    """What is said of a model whose checker cannot be had."""
    return PaintFailed(
        f"Safety check unavailable: the model {model} names a safety checker that is missing or broken ({why}). "
        f"Whoever hosts it puts its folder {FOLDER} back."
    )


def guard(model: str, checker: Any, pipeline: Any) -> None:
    """Let no picture out of a pipeline that the model's safety checker did not judge.

    Raises PaintFailed where the pipeline has no use for it.
    """
    if checker is None:
        return
    if getattr(pipeline, FOLDER, None) is not checker:
        raise PaintFailed(
            f"Safety check unavailable: what the model {model} paints like this, its safety checker would not see. "
            "Choose another model."
        )
    check = getattr(pipeline, "run_safety_checker", None)
    if check is None:
        # It looks for itself, as those of Cosmos do, and whatever it raises shows nothing.
        return

    def guarded(image: Any, *arguments: Any, **options: Any) -> Any:
        try:
            answer = check(image, *arguments, **options)
            if answer[1] is None or len(answer[1]) != len(image):
                raise ValueError(f"{len(image)} pictures were checked, and {answer[1]!r} is what is known of them")
        except Exception as error:
            # The batcher knows what to do about memory, and about a device that is lost.
            if is_out_of_memory(error) or is_device_lost(error):
                raise
            log.exception("the safety checker of model %s failed", model)
            raise PaintFailed(
                f"Safety check unavailable: the safety checker of the model {model} failed, so the picture is not "
                "shown. Try again or another model; whoever hosts it finds the reason in the log."
            ) from error
        return answer

    # Past the pipeline's own __setattr__, as the batcher does it.
    vars(pipeline)["run_safety_checker"] = guarded
