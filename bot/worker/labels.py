"""The labels in a result's file: made by a model, how, and by which installation. In the engine process only.

The file that was painted is stored as it is, because it may be painted again or continued, to the pixel. People get a
second file: the same picture with the invisible mark (`marking.py`) and the signed manifest (`manifest.py`).
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
import PIL.Image
from filelock import FileLock

from bot.config import EngineConfig
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Operation
from bot.system import is_open_to_others
from bot.worker import manifest, marking
from bot.worker.manifest import Signing

log = logging.getLogger(__name__)

KEY_FILE = "mark.key"
"""The file of the secret of the marks, in the same folder as the certificate."""

_BYTES = 32


@dataclass(frozen=True, slots=True)
class Maker:
    """The model that made a picture: with the sha256 of its weights, or with the provider that painted."""

    model: str
    provider: str = ""
    model_hash: str = ""


class Labels:
    """Labels pictures with the secrets of one installation."""

    def __init__(self, settings: EngineConfig, folder: Path) -> None:
        """Read the secrets in a folder, or make them. Raises PaintFailed in words."""
        self._detail = settings.provenance
        with _alone(folder):
            self._secret = own_secret(folder) if settings.mark else None
            self._signing = (
                Signing(Path(settings.certificate), Path(settings.private_key))
                if settings.certificate
                else manifest.own_signing(folder)
            )

    def marked(self, picture: PIL.Image.Image) -> tuple[PIL.Image.Image, int] | None:
        """A picture with a mark of its own, and the mark's number; None if the host wants no marks."""
        number = self.new_mark()
        return None if number is None else (self.with_mark(picture, number), number)

    def new_mark(self) -> int | None:
        """A number for the mark of a file; None if the host wants no marks."""
        return None if self._secret is None else secrets.randbits(marking.BITS)

    def with_mark(self, picture: PIL.Image.Image, number: int) -> PIL.Image.Image:
        """A picture with the mark of a number."""
        assert self._secret is not None  # noqa: S101 - only then is there a number
        return marking.mark(picture.convert("RGB"), self._secret, number)

    def signed(
        self, data: bytes, request: GenerationRequest, seed: int, maker: Maker, kind: str = "image/png"
    ) -> bytes:
        """A file of a media type with its manifest. If it cannot be signed, the log says why and it stays as it is."""
        try:
            return self._signing.sign(data, maker.model, _told(request, seed, maker, self._detail), kind)
        except c2pa.C2paError:
            log.exception("a picture could not be signed, so its file has no manifest")
            return data


def _told(request: GenerationRequest, seed: int, maker: Maker, detail: str) -> Mapping[str, Any]:
    """What the manifest says of a request. It never says who asked."""
    if detail == "none":
        return {}
    facts: dict[str, Any] = {"operation": str(request.operation)}
    if maker.provider:
        facts["provider"] = maker.provider
    else:
        facts |= {
            "seed": seed,
            "steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "model_hash": maker.model_hash,
        }
    if request.frames:
        facts |= {"frames": request.frames}
    if request.operation is Operation.MORPH:
        facts |= {"end_seed": seed if request.end_seed is None else request.end_seed}
    if detail == "full":
        facts |= {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
        facts |= {"end_prompt": request.end_prompt} if request.end_prompt else {}
    return facts


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep the engine processes of other devices from making the same secrets meanwhile."""
    with ExitStack() as stack:
        # What reads or makes the secrets says in words what is wrong with the folder.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(FileLock(folder / "lock"))
        yield


def own_secret(folder: Path) -> bytes:
    """The secret of the marks in a folder, made if it is not there. Raises PaintFailed in words."""
    path = folder / KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            manifest.write(path, secrets.token_hex(_BYTES).encode())
        if is_open_to_others(path):
            log.warning("others may read the secret %s: take their rights away with chmod 600", path)
        return read_secret(path)
    except (OSError, ValueError) as error:
        raise PaintFailed(
            "Pictures cannot be marked: the secret {file} cannot be read. The host has to restore it, or to delete "
            "it: then pictures that were marked before are no longer recognised.",
            file=path,
        ) from error


def read_secret(path: Path) -> bytes:
    """The secret in a file. Raises OSError or ValueError."""
    secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if len(secret) != _BYTES:
        raise ValueError(f"{os.fspath(path)} has {len(secret)} bytes")
    return secret


def main() -> None:
    """Make the secrets in a folder that lacks them: its path is the argument, and standard input has the settings."""
    try:
        Labels(EngineConfig.model_validate_json(sys.stdin.read()), Path(sys.argv[1]))
    except PaintFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
