"""A process that lives for one picture: an upload in, a sentence about it out.

`bot/requests/describing.py` starts it as `python -m bot.worker.describing`. It loads the model anew each time and uses
the CPU only, so that it takes no memory of the GPU while people paint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import torch
import transformers

from bot import system
from bot.engine import framing
from bot.errors import PaintFailed
from bot.jobs import PictureLimits
from bot.language.reasons import packed
from bot.worker import nsfw
from bot.worker.answering import serve
from bot.worker.inputs import on_white, opened
from bot.worker.library_errors import told

MOST_TOKENS = 60
"""The length of a sentence. A caption has about fifteen tokens."""
_BEAMS = 3
_NICENESS = 10
"""People who paint go before."""


def describe(folder: Path, picture: PIL.Image.Image) -> str:
    """One sentence about a picture in RGB, by the model in a folder. Raises PaintFailed if the model is unusable."""
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        model, found = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise PaintFailed("The model that describes pictures cannot be loaded: {error}", error=told(error)) from error
    if found["missing_keys"] or found["mismatched_keys"]:
        raise PaintFailed("The model that describes pictures is incomplete: some of its weights are missing.")
    inputs = processor(images=picture, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=MOST_TOKENS, num_beams=_BEAMS, do_sample=False)
    return str(processor.decode(tokens[0], skip_special_tokens=True)).strip()


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    system.give_way(_NICENESS)
    try:
        picture = on_white(opened(body))
        if order["limits"] is not None:
            nsfw.load().check_upload(picture, PictureLimits(**order["limits"]))
        words = describe(Path(order["folder"]), picture)
    except PaintFailed as refusal:
        return framing.pack({"kind": "refused", "words": packed(refusal.reason)})
    return framing.pack({"kind": "described", "words": words})


if __name__ == "__main__":
    serve(_answer)
