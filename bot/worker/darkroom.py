"""A process that prepares pictures for providers and finishes those that come back: `python -m bot.worker.darkroom`.

The bot decodes no pictures, and torch is not needed for this. Uploads are decoded, checked and cut to the size that the
provider paints, without what else their files hold. What comes back is decoded, checked, marked, signed and encoded
like every other picture. It answers messages until the pipe ends, and gets no keys.
"""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image

from bot.config import EngineConfig
from bot.engine import framing, wire
from bot.engine.wire import FinishedFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Operation, PictureLimits
from bot.language.reasons import packed
from bot.worker import nsfw
from bot.worker.answering import serve_all
from bot.worker.inputs import Check, Inputs, decode, on_white, opened, separate
from bot.worker.labels import Labels, Maker
from bot.worker.nsfw import BLOCKED
from bot.worker.parameters import remote_parameters
from bot.worker.printing import Printer

_PREVIEW_SIDE = 256
"""The longer side of a preview in pixels, as of the local engine's."""


class Unreadable(PaintFailed):
    """Nothing of what a provider answered is a picture that can be read."""


class Darkroom:
    """Prepares and finishes pictures with the settings and the secrets of one installation."""

    def __init__(self, settings: EngineConfig, folder: Path | None) -> None:
        """Load the safety check and the secrets. Raises PaintFailed in words."""
        self._detail = settings.provenance
        self._check = nsfw.load() if settings.safety == "on" else None
        self._printer = Printer(self._check, None if folder is None else Labels(settings, folder))

    def prepared(self, order: SubmitFrame) -> tuple[list[bytes], bytes]:
        """The pictures of an order as PNGs, and its mask, transparent where it is painted, or nothing.

        Raises PaintFailed for pictures that cannot or may not be used.
        """
        request = order.request
        if request.operation is Operation.BLEND:
            return [_png(each) for each in separate(request, order.uploads, self._may_be_used(order.limits))], b""
        inputs = self._inputs(order)
        if inputs.image is None:
            return [], b""
        return [_png(inputs.image)], b"" if inputs.mask_image is None else _png(_transparent(inputs.mask_image))

    def preview(self, data: bytes, limits: PictureLimits) -> bytes:
        """A small JPEG of a partial image; nothing if it is no picture, or the safety check would hide it."""
        try:
            picture = on_white(opened(data))
            if self._check is not None and limits.hides(self._check.score(picture)):
                return b""
        except PaintFailed:
            return b""
        picture.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=75)
        return buffer.getvalue()

    def finished(self, order: SubmitFrame, answers: list[bytes], maker: Maker) -> FinishedFrame:
        """The pictures that a provider painted, as every result is: checked, marked, signed and encoded.

        What is no picture is left out. Raises Unreadable if none is one, and PaintFailed if one may not be shown.
        """
        request = order.request
        canvas = self._inputs(order).canvas if request.operation is Operation.INPAINT else None
        pictures = [picture for answer in answers if (picture := _answered(answer)) is not None]
        if not pictures:
            raise Unreadable("What {provider} answered is no picture that Atelier can read.", provider=maker.provider)
        images = []
        for picture, seed in zip(pictures, request.seeds, strict=False):
            if canvas is not None:
                picture = canvas.finished(picture)
            image = self._printer.image(request, seed, picture, self._text(request, picture, maker), maker)
            if order.limits.blocks(image.nsfw):
                raise PaintFailed(BLOCKED)
            images.append(image)
        return FinishedFrame(order.job_id, order.attempt, tuple(images), "")

    def _inputs(self, order: SubmitFrame) -> Inputs:
        return decode(order.request, order.uploads, self._may_be_used(order.limits))

    def _may_be_used(self, limits: PictureLimits) -> Check:
        check = self._check
        return (lambda _: None) if check is None else lambda picture: check.check_upload(picture, limits)

    def _text(self, request: GenerationRequest, picture: PIL.Image.Image, maker: Maker) -> str:
        if self._detail == "none":
            return ""
        told = request if self._detail == "full" else replace(request, prompt="", negative_prompt="")
        return remote_parameters(told, picture.size, maker.model, maker.provider)


def _answered(data: bytes) -> PIL.Image.Image | None:
    """The picture in an answer; None if it cannot be read."""
    try:
        return on_white(opened(data))
    except PaintFailed:
        return None


def _transparent(mask: PIL.Image.Image) -> PIL.Image.Image:
    """A mask in shades of grey, white where it is painted, as the API wants it: transparent there."""
    whole = PIL.Image.new("RGBA", mask.size)
    whole.putalpha(mask.point(lambda shade: 255 - shade))
    return whole


def _png(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@functools.cache
def _darkroom(engine: str, folder: str) -> Darkroom:
    return Darkroom(EngineConfig.model_validate_json(engine), Path(folder) if folder else None)


def _order(data: bytes) -> SubmitFrame:
    frame = wire.read_frame(io.BytesIO(data))
    assert isinstance(frame, SubmitFrame)  # noqa: S101 - the bot sends nothing else
    return frame


def _answer(header: dict[str, Any], body: bytes) -> bytes:
    try:
        room = _darkroom(header["engine"], header["folder"])
        first, *rest = framing.split(body, header["lengths"])
        match header["kind"]:
            case "prepare":
                pictures, mask = room.prepared(_order(first))
                parts = [*pictures, mask]
                return framing.pack({"kind": "prepared", "lengths": list(map(len, parts))}, b"".join(parts))
            case "preview":
                return framing.pack({"kind": "preview"}, room.preview(first, PictureLimits(**header["limits"])))
            case _:
                maker = Maker(header["model"], header["provider"])
                return framing.pack({"kind": "finished"}, wire.encode(room.finished(_order(first), rest, maker)))
    except Unreadable as error:
        return framing.pack({"kind": "unreadable", "words": packed(error.reason)})
    except PaintFailed as error:
        return framing.pack({"kind": "failed", "words": packed(error.reason)})


if __name__ == "__main__":
    serve_all(_answer)
