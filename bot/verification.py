"""Whether this Atelier made a picture: by its file, its invisible mark and its manifest.

The mark is looked for by `bot/worker/examine.py` in a process of its own, which decodes the picture.
"""

from __future__ import annotations

import array
import asyncio
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.errors import UserError
from bot.jobs import PictureRef
from bot.language.reasons import unpacked
from bot.storage.marks import Marks

SECONDS = 60.0
"""How long the look at one picture may take on a small machine that also paints."""
AT_ONCE = 2
"""How many pictures are looked at at the same time: each may take 300 MB while it is decoded."""
MOST_SIZES = 24
"""How many sizes of pictures are tried, the most frequent first."""

_EDITED = 14
"""From how many different bits of 64 on a picture does not look as it was painted."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the signed manifest of a file says.

    `state` is `valid`, `untrusted` (it holds, by a certificate that is not known here), `invalid`, or empty without a
    manifest. All texts are those of its maker.
    """

    state: str = ""
    generator: str = ""
    is_made_by_model: bool = False
    model: str = ""
    signer: str = ""
    is_signed_here: bool = False
    """Whether it holds, and this installation's certificate signed it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a picture. `ref` is the picture that it is, if that is known; it may be removed since."""

    is_ours: bool
    ref: PictureRef | None
    is_same_file: bool
    is_crop: bool
    is_edited: bool
    is_too_small: bool
    manifest: Manifest
    is_opened: bool = True
    """Whether it was looked for a mark in it; of videos and GIFs only the manifest is read."""


class Verification:
    """Looks at pictures that people send."""

    def __init__(self, marks: Marks, folder: Path, certificate: str) -> None:
        """`folder` has the secrets of this installation; `certificate` is the host's own, or empty."""
        self._marks = marks
        self._folder = folder
        self._certificate = certificate or str(folder / "certificate.pem")
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def verify(self, data: bytes) -> Verdict:
        """What is known of a picture. Raises UserError for what is no picture, StorageError if the storage refuses."""
        same = await self._marks.of_file(hashlib.sha256(data).hexdigest())
        async with self._turns:
            found = await self._examined(data)
        mark = found["mark"]
        ref = same
        if ref is None and mark is not None and mark["number"] is not None:
            ref = await self._marks.of_number(mark["number"])
        is_edited = False
        if same is None and ref is not None and mark is not None and not mark["is_crop"]:
            before = await self._marks.phash(ref)
            is_edited = before is not None and _distance(before, found["phash"]) >= _EDITED
        return Verdict(
            is_ours=same is not None or mark is not None,
            ref=ref,
            is_same_file=same is not None,
            is_crop=same is None and mark is not None and mark["is_crop"],
            is_edited=is_edited,
            is_too_small=found["is_too_small"],
            manifest=Manifest(**{name: found["manifest"][name] for name in Manifest.__slots__}),
            is_opened=found["is_opened"],
        )

    async def _examined(self, data: bytes) -> dict[str, Any]:
        marked = await self._marks.marked(MOST_SIZES)
        numbers = array.array("q", marked.numbers)
        if sys.byteorder == "big":
            numbers.byteswap()
        packed = numbers.tobytes()
        order = framing.pack(
            {
                "kind": "examine",
                "folder": str(self._folder.resolve()),
                "certificate": self._certificate,
                "sizes": marked.sizes,
                "lengths": [len(data), len(packed)],
            },
            data + packed,
        )
        try:
            message = framing.read(io.BytesIO(await child.run("bot.worker.examine", order, SECONDS)))
            if message is None:
                raise BadFrame("the answer is not whole")
        except ChildFailed as failure:
            raise UserError(
                "The picture could not be looked at. {reason} Try a smaller one.", reason=failure.reason
            ) from failure
        except BadFrame as error:
            raise UserError("The picture could not be looked at. Try again.") from error
        answer = message[0]
        if answer["kind"] == "refused":
            raise UserError(unpacked(answer["words"]))
        return answer


def _distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()
