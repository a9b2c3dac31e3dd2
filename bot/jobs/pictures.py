"""Pictures: those that people send, and those that are painted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from bot.jobs.ids import JobId
from bot.jobs.rows import Row
from bot.language import Sentence, sentence

MOST_PIXELS = 50_000_000
"""The most pixels of an upload: 50 megapixels take 150 MB while they are decoded."""

MASK_TOLERANCE = 0.02
"""How much the proportions of a mask may differ from its image's, as a part of them: scaling rounds to pixels."""

GRID = 4
"""A region of a picture is chosen as cells of a grid with this many rows and columns."""

MOST_SIDE = 2048
"""The longest side in pixels of a picture that is extended; a larger one is scaled down to it."""

UPSCALE_FACTOR = 4
"""How many times wider and higher the network of a model makes a picture."""

MOST_UPSCALED = 4096
"""The longest side in pixels of an enlarged picture."""


def upscale_refusal(width: int, height: int) -> Sentence | None:
    """Why a picture cannot be enlarged, because it would become too large; None if it can."""
    if UPSCALE_FACTOR * max(width, height) <= MOST_UPSCALED:
        return None
    side = MOST_UPSCALED // UPSCALE_FACTOR
    return sentence(
        "The picture has {width}×{height} pixels. Enlarged {factor} times it would be longer than {most} pixels, the "
        "limit: pictures of up to {side}×{side} pixels can be enlarged.",
        width=width,
        height=height,
        factor=UPSCALE_FACTOR,
        most=MOST_UPSCALED,
        side=side,
    )


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """From which score of the safety check on a picture is not shown, or only behind a spoiler; None is never."""

    block: float | None = None
    spoiler: float | None = None

    def blocks(self, score: float | None) -> bool:
        """Whether a picture with a score may not be shown; None is a picture that was not checked."""
        return score is not None and self.block is not None and score >= self.block

    def hides(self, score: float | None) -> bool:
        """Whether a picture with a score may be shown only behind a spoiler, if at all."""
        return self.blocks(score) or (score is not None and self.spoiler is not None and score >= self.spoiler)


UNLIMITED = PictureLimits()
"""Every picture may be shown."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that a person sent, not decoded; its size in pixels is that of its header, after its rotation."""

    data: bytes = field(repr=False)
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture by its job and its number there, from 1; number 0 is the job as a whole."""

    job_id: JobId
    number: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture of a job: its seed, its size in pixels, and the name of its file."""

    ref: PictureRef
    seed: int
    width: int
    height: int
    sha256: str
    nsfw: float | None = None
    """How explicit it is, from 0 to 1; None if it was not checked."""
    delivered_sha256: str = ""
    """The name of the file that people get, if it is another one."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a picture from a row of `images`."""
        ref = PictureRef(JobId(row["job_id"]), row["number"])
        delivered = row["delivered_sha256"] or ""
        return cls(ref, row["seed"], row["width"], row["height"], row["sha256"], row["nsfw"], delivered)


@dataclass(frozen=True, slots=True)
class Image:
    """One finished picture: the encoded PNG and its seed and size."""

    png: bytes
    seed: int
    width: int
    height: int
    sha256: str
    phash: int | None = None
    """Its perceptual hash, as a signed number of 64 bits; None if the engine made none."""
    nsfw: float | None = None
    """How explicit it is, from 0 to 1; None if it was not checked."""
    delivered: bytes = b""
    """The PNG that people get, with the invisible mark; empty if that is `png`."""
    delivered_sha256: str = ""
    mark: int | None = None
    """The number in the invisible mark."""
