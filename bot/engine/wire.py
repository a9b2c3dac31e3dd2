"""Frames on the pipe between the bot and the engine process: one dataclass for each kind.

A frame's header (`framing.py`) holds its kind, which is the name of its class without `Frame`, and its fields. Encoded
pictures are its body. Reasons in words are packed, so that the bot can say them in any language.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, BinaryIO, get_args

from bot.engine import framing
from bot.engine.framing import BadFrame, split
from bot.jobs import UNLIMITED, GenerationRequest, Image, JobId, PictureLimits, UserId
from bot.language.reasons import packed, unpacked

_NUMBERS = ("int", "JobId", "UserId")
"""The types of fields that must be whole numbers when a frame is read."""

OrderKey = tuple[JobId, int]
"""Job and attempt, which identify an order."""


class Stage(StrEnum):
    """What a thread of the engine process does. Each stage before the last has a time limit of its own."""

    DECODE = "decoding the pictures of a request"
    FETCH = "fetching a model's files"
    LOAD = "loading a model"
    ENCODE = "encoding a prompt"
    START = "beginning a picture"
    STEP = "taking a step"
    FINISH = "encoding a picture"
    TRY = "trying what makes a model faster"
    COMPILE = "compiling"
    REST = "waiting for work"


# ---- what the bot says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetupFrame:
    """The first frame: sections of the configuration as `model_dump` gives them, and the timings known so far."""

    models: list[dict[str, Any]]
    engine: dict[str, Any]
    timings: str
    log_level: str
    calibration: str = ""
    """The file in which the engine remembers what makes models faster on this machine; without one it forgets."""
    provenance: str = ""
    """The folder of the secrets that pictures are labelled with; without one they have no mark and no manifest."""
    known_files: str = ""
    """The file with the hashes of the weights that were used here before; without one they are not compared."""
    observe: bool = False
    """Whether the engine says after each order how it ran; each model's first forwards are slower for that."""
    host: str = ""
    """The name of the host, if it is not that of the bot."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Models that cannot be used on this host and are not among `models`, each with the reason in words."""
    device: str = ""
    """The device as the host named it, such as cuda:1, of which the process sees no other; empty if by its kind."""
    sharing: int = 1
    """How many engine processes share the cores and the memory of the machine."""


@dataclass(frozen=True, slots=True)
class SubmitFrame:
    """Paint this, with the encoded pictures that the request names, by their sha256."""

    job_id: JobId
    attempt: int
    owner: UserId
    request: GenerationRequest
    uploads: Mapping[str, bytes]
    limits: PictureLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class CancelFrame:
    """Stop working on this attempt at a job."""

    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class StopFrame:
    """Finish the orders that are there, and end."""


# ---- what the engine says --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadyFrame:
    """Orders can be taken, on this device. `troubles`: models that cannot be used, each with the reason in words."""

    troubles: dict[str, str]
    device: str


@dataclass(frozen=True, slots=True)
class LeavingFrame:
    """The process ends now, for a reason in words; no order is at fault."""

    reason: str


@dataclass(frozen=True, slots=True)
class StageFrame:
    """A thread of the engine, called `thread`, begins a stage and has left the one before.

    It works on `orders`, or on `model` for all orders that wait for it. `size` is how many bytes it loads.
    """

    thread: str
    stage: Stage
    orders: tuple[OrderKey, ...] = ()
    model: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class StartedFrame:
    """The engine began to work on an order."""

    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class ProgressFrame:
    """Denoising step `step` of `of` is done."""

    job_id: JobId
    attempt: int
    step: int
    of: int


@dataclass(frozen=True, slots=True)
class PreviewFrame:
    """How an order looks so far."""

    job_id: JobId
    attempt: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FinishedFrame:
    """An order's pictures, and the sha256 of the weights that painted them."""

    job_id: JobId
    attempt: int
    images: tuple[Image, ...]
    model_hash: str


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """An order cannot be painted, for a reason in words for the requester."""

    job_id: JobId
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class LoadedFrame:
    """The models that are in memory now."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimingsFrame:
    """All timings the engine knows, as `Timings.dump` writes them, and the steps since the last such frame."""

    timings: str
    steps: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObservedFrame:
    """How an order with this model ran, in words, and the most memory in use meanwhile; before its FinishedFrame."""

    model: str
    peak_bytes: int
    ran: list[str]


ToWorker = SetupFrame | SubmitFrame | CancelFrame | StopFrame
OrderFrame = StartedFrame | ProgressFrame | PreviewFrame | FinishedFrame | FailedFrame
"""The frames about one order."""
FromWorker = ReadyFrame | LeavingFrame | LoadedFrame | StageFrame | TimingsFrame | ObservedFrame | OrderFrame
Frame = ToWorker | FromWorker


def kind_of(frame: Frame | type[Frame]) -> str:
    """The kind of a frame, as its header names it."""
    kind = frame if isinstance(frame, type) else type(frame)
    return kind.__name__.removesuffix("Frame").lower()


_CLASSES: Mapping[str, type[Frame]] = {kind_of(kind): kind for kind in get_args(Frame)}


def encode(frame: Frame) -> bytes:
    """The frame as bytes."""
    header = {each.name: getattr(frame, each.name) for each in fields(frame)}
    body = b""
    match frame:
        case SubmitFrame():
            header["request"] = asdict(frame.request)
            header["limits"] = asdict(frame.limits)
            header["uploads"] = [[sha256, len(data)] for sha256, data in frame.uploads.items()]
            body = b"".join(frame.uploads.values())
        case PreviewFrame():
            body = header.pop("jpeg")
        case FinishedFrame():
            header["images"] = [
                {
                    "seed": image.seed,
                    "width": image.width,
                    "height": image.height,
                    "sha256": image.sha256,
                    "phash": image.phash,
                    "nsfw": image.nsfw,
                    "delivered_sha256": image.delivered_sha256,
                    "mark": image.mark,
                    "sizes": [len(image.png), len(image.delivered)],
                }
                for image in frame.images
            ]
            body = b"".join(image.png + image.delivered for image in frame.images)
        case TimingsFrame():
            body = header.pop("timings").encode()
        case FailedFrame() | LeavingFrame():
            header["reason"] = packed(frame.reason)
        case ReadyFrame() | SetupFrame():
            header["troubles"] = {name: packed(words) for name, words in frame.troubles.items()}
        case _:
            pass
    return framing.pack({"kind": kind_of(frame), **header}, body)


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read one frame, blocking; None at the end of the stream. Raises BadFrame."""
    message = framing.read(stream)
    return None if message is None else _decode(*message)


async def read_frame_async(stream: asyncio.StreamReader) -> Frame | None:
    """Read one frame; None at the end of the stream. Raises BadFrame."""
    message = await framing.read_async(stream)
    return None if message is None else _decode(*message)


class Inbox:
    """A queue of the bot's frames between threads, in the order in which they came."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()

    def put(self, frame: Frame) -> None:
        """Add a frame."""
        self._frames.put(frame)

    def wake(self) -> None:
        """End the wait of the reader, if it waits, without a frame."""
        self._frames.put(None)

    def take(self, *, wait: bool) -> list[Frame]:
        """The frames that came since the last call; with `wait` it waits for a frame or for `wake`."""
        frames = [self._frames.get()] if wait else []
        with suppress(queue.Empty):
            while True:
                frames.append(self._frames.get_nowait())
        return [frame for frame in frames if frame is not None]


def _decode(header: dict[str, Any], body: bytes) -> Frame:
    kind = _CLASSES.get(header.pop("kind"))
    if kind is None:
        raise BadFrame("no frame has the kind that the header says")
    try:
        return _build(kind, header, body)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadFrame(f"a {kind.__name__} does not hold what it should") from error


def _key(job_id: Any, attempt: Any) -> OrderKey:
    if type(job_id) is not int or type(attempt) is not int:
        raise TypeError(f"an order is {job_id!r}, {attempt!r}")
    return JobId(job_id), attempt


def _build(kind: type[Frame], header: dict[str, Any], body: bytes) -> Frame:
    """Build the frame of a class. Raises ValueError, LookupError or TypeError if a field is missing or unknown."""
    if kind is PreviewFrame:
        header["jpeg"], body = body, b""
    elif kind is TimingsFrame:
        header["timings"], body = body.decode(), b""
    elif kind is SubmitFrame:
        names, sizes = [name for name, _ in header["uploads"]], [size for _, size in header["uploads"]]
        header["uploads"] = dict(zip(names, split(body, sizes), strict=True))
        for sha256, data in header["uploads"].items():
            if hashlib.sha256(data).hexdigest() != sha256:
                raise BadFrame("a picture in the frame is not the one it names")
        header["request"], body = GenerationRequest.from_fields(header["request"]), b""
        header["limits"] = PictureLimits(**header["limits"])
    elif kind is FinishedFrame:
        facts = header["images"]
        files = split(body, [size for fact in facts for size in fact.pop("sizes")])
        header["images"] = tuple(
            Image(png, delivered=delivered, **fact)
            for png, delivered, fact in zip(files[::2], files[1::2], facts, strict=True)
        )
        body = b""
    elif kind is LoadedFrame:
        header["models"] = tuple(map(str, header["models"]))
    elif kind in (FailedFrame, LeavingFrame):
        header["reason"] = unpacked(header["reason"])
    elif kind in (ReadyFrame, SetupFrame):
        header["troubles"] = {name: unpacked(words) for name, words in header["troubles"].items()}
    elif kind is StageFrame:
        header["stage"] = Stage(header["stage"])
        header["orders"] = tuple(_key(*order) for order in header["orders"])
    if body:
        raise ValueError(f"{len(body)} bytes belong to nothing")
    frame: Frame = kind(**header)
    for each in fields(frame):
        value = getattr(frame, each.name)
        if each.type in _NUMBERS and type(value) is not int:
            raise TypeError(f"{each.name} is {value!r}")
    return frame
