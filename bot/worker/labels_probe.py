"""A process that lives for one message: whether pictures can be labelled here, for the doctor. It makes no secrets.

It labels a drawn picture with the certificate and the secret of the marks, and reads both back.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from bot.config import EngineConfig
from bot.engine import framing
from bot.errors import PaintFailed
from bot.system import is_open_to_others
from bot.worker import manifest, marking
from bot.worker.answering import serve
from bot.worker.labels import KEY_FILE, own_secret
from bot.worker.manifest import CERTIFICATE, PRIVATE_KEY, Signing

GOOD, NOTE, BAD = "ok", "note", "problem"
_SOON_DAYS = 30
_NUMBER = 0x5A5A5A5A5A5A

Said = tuple[str, str, str, str]
"""What was looked at, how it is, and in words what was found and the remedy."""


def look(settings: EngineConfig, folder: Path) -> Iterator[Said]:
    """What is to be said of the certificate and the mark."""
    yield _certificate(settings, folder)
    if settings.mark:
        yield _mark(folder)
    else:
        yield "Mark", NOTE, "off: copies of pictures are not recognised", "Set mark = true under [engine]."


def _certificate(settings: EngineConfig, folder: Path) -> Said:
    what, is_own = "Certificate", not settings.certificate
    certificate = folder / CERTIFICATE if is_own else Path(settings.certificate)
    key = folder / PRIVATE_KEY if is_own else Path(settings.private_key)
    if is_own and not (certificate.exists() and key.exists()):
        return what, GOOD, f"{certificate} is made at the first start", ""
    try:
        signed = Signing(certificate, key).sign(_png(), "doctor", {})
    except PaintFailed as error:
        return what, BAD, str(error), _remedy(certificate, is_own=is_own)
    read = manifest.read(signed, "image/png")
    if read.state not in ("valid", "untrusted"):
        words = f"{certificate} signs, but what it signed does not hold when it is read"
        return what, BAD, words, _remedy(certificate, is_own=is_own)
    if is_open_to_others(key):
        return what, BAD, f"other users of this machine can read {key}", f"Run: chmod 600 {key}"
    days = (manifest.end_of(certificate) - datetime.now(UTC)).days
    whose = "made here, so readers do not know it" if is_own else "the host's own"
    words = f"{certificate} ({whose}) signs, and its manifest can be read; it ends in {days} days"
    if days < _SOON_DAYS:
        return what, NOTE if days >= 0 else BAD, words, _remedy(certificate, is_own=is_own)
    return what, GOOD, words, ""


def _remedy(certificate: Path, *, is_own: bool) -> str:
    if is_own:
        return f"Stop Atelier and delete {certificate}: the next start makes another one."
    return "Name another certificate and its key, or leave both empty: then one is made."


def _mark(folder: Path) -> Said:
    what, path = "Mark", folder / KEY_FILE
    if not path.exists():
        return what, GOOD, f"its secret {path} is made at the first start", ""
    try:
        secret = own_secret(folder)
    except PaintFailed as error:
        return what, BAD, str(error), "Restore the file from your copy."
    picture = _picture()
    found = marking.find(marking.mark(picture, secret, _NUMBER), secret, [picture.size], np.array([_NUMBER]))
    if found is None or found.number != _NUMBER:
        return what, BAD, f"a mark by {path} cannot be read back", "Restore the file from your copy."
    if is_open_to_others(path):
        return what, BAD, f"other users of this machine can read {path}", f"Run: chmod 600 {path}"
    words = f"a mark by {path} can be read back. Keep a copy: without it no marked picture is recognised"
    return what, GOOD, words, ""


def _picture() -> PIL.Image.Image:
    """Soft patches of colour."""
    colours = np.random.default_rng(7).integers(0, 256, (6, 6, 3), dtype="uint8")
    return PIL.Image.fromarray(colours).resize((512, 512), PIL.Image.Resampling.BICUBIC)


def _png() -> bytes:
    buffer = io.BytesIO()
    _picture().save(buffer, "PNG")
    return buffer.getvalue()


def _answer(order: dict[str, Any], _: bytes) -> bytes:
    settings = EngineConfig(**order["engine"])
    return framing.pack({"kind": "said", "findings": list(look(settings, Path(order["folder"])))})


if __name__ == "__main__":
    serve(_answer)
