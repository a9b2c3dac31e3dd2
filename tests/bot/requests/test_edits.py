"""What a control under a picture asks for, as a request: an enlarged picture needs no words and is one."""

from __future__ import annotations

import pytest

from bot.config import EMBEDDED_MODEL
from bot.errors import UserError
from bot.jobs import Operation, Upload
from bot.requests.options import Edit, Options
from bot.requests.resolve import resolve

UPSCALE = Edit((), Operation.UPSCALE)


def an_upload(width: int, height: int) -> Upload:
    return Upload(b"", width, height, "a" * 64)


def test_enlarged_picture_needs_no_words_and_is_one() -> None:
    options = Options("", image=an_upload(1024, 512), images=4, edit=UPSCALE)
    request = resolve(options, (EMBEDDED_MODEL,), ("default",)).request
    assert (request.operation, request.prompt, request.num_images_per_prompt) == (Operation.UPSCALE, "", 1)
    assert (request.steps, request.work.forwards, request.cost) == (0, 0, 0)


@pytest.mark.parametrize("size", [(1025, 900), (900, 1025)])
def test_picture_that_would_become_too_large_is_refused_with_the_limit(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"longer than 4096 pixels, the limit: pictures of up to 1024×1024 pixels"):
        resolve(Options("a fox", image=an_upload(*size), edit=UPSCALE), (EMBEDDED_MODEL,), ("default",))


def test_everything_else_needs_words() -> None:
    with pytest.raises(UserError, match="Say what to paint"):
        resolve(Options("", image=an_upload(9, 9), edit=Edit(())), (EMBEDDED_MODEL,), ("default",))
