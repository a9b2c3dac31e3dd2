"""The values that all packages share: a request becomes a job, a job becomes images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NewType, Protocol, Self

from bot.language import Sentence, mark, say, sentence
from bot.language.reasons import Reason, unpacked
from bot.money import NOTHING, Micros

JobId = NewType("JobId", int)
UserId = NewType("UserId", int)
GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
MessageId = NewType("MessageId", int)
RoleId = NewType("RoleId", int)

Adapters = tuple[tuple[str, float], ...]
"""LoRAs by name, each with its weight; empty means the model without LoRAs."""

Clock = Callable[[], datetime]

TURN_MEMORY = timedelta(hours=1)
"""How long the scheduler remembers the GPU time that a person used."""

MOST_PIXELS = 50_000_000
"""The most pixels of an upload: 50 megapixels take 150 MB while they are decoded."""
MASK_TOLERANCE = 0.02
"""How much the proportions of a mask may differ from its image's, as a part of them: scaling rounds to pixels."""

Shape = tuple[str, int, int]
"""A model (with its ControlNet), and the width and height of its pictures in pixels. Each shape is timed separately."""


class Row(Protocol):
    """A row of the database: its values by the name or the position (from 0) of a column."""

    def __getitem__(self, column: str | int, /) -> Any: ...

    def keys(self) -> list[str]:
        """The names of the columns."""
        ...


def utcnow() -> datetime:
    """Now, as an aware UTC time: the default clock of every service."""
    return datetime.now(UTC)


def to_text(at: datetime) -> str:
    """Write a time so that text order is time order: ISO 8601, UTC, always microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str | None) -> datetime | None:
    """Read what `to_text` wrote; None stays None."""
    return None if text is None else datetime.fromisoformat(text)


class JobStatus(StrEnum):
    """The state of a job: queued → running → rendered → delivered, or failed, or cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Surface(StrEnum):
    """The program through which people ask. One process serves one surface and never touches the jobs of another."""

    DISCORD = "discord"
    SANDBOX = "sandbox"
    TERMINAL = "terminal"

    @property
    def outlives_process(self) -> bool:
        """Whether a job of this surface can still be delivered after a restart."""
        return self is Surface.DISCORD


class Operation(StrEnum):
    """How the pictures of a request are made."""

    TEXT2IMAGE = "text2image"
    IMAGE2IMAGE = "image2image"
    INPAINT = "inpaint"
    """A part of a picture is painted again: the white parts of a mask, or some cells of a grid."""
    OUTPAINT = "outpaint"
    """A picture is continued beyond its edges; the picture itself keeps its pixels, except at the seam."""
    BLEND = "blend"
    """Several pictures are mixed evenly, pixel by pixel, and their mean is painted over."""
    UPSCALE = "upscale"
    """A network enlarges a picture; nothing is painted."""
    MORPH = "morph"
    """An animation from one prompt and seed to another: each frame is painted from words, somewhere between both."""

    FILM = "film"
    """A model for videos paints frames from words: all of them at once, as one sample."""
    IMAGE2FILM = "image2film"
    """A model for videos paints frames that go on from a picture."""

    @property
    def begins_with_noise(self) -> bool:
        """Whether it needs no picture to start from."""
        return self in (Operation.TEXT2IMAGE, Operation.MORPH, Operation.FILM)

    @property
    def is_film(self) -> bool:
        """Whether a model for videos paints it."""
        return self in (Operation.FILM, Operation.IMAGE2FILM)


class Kept(StrEnum):
    """What of a picture stays where a part of it is painted again, and its thing is told from a plain background."""

    THING = "thing"
    BACKGROUND = "background"


Margins = tuple[float, float, float, float]
"""How far a canvas reaches beyond a picture: left, upper, right and lower, in parts of its width and height."""

GRID = 4
"""A region of a picture is chosen as cells of a grid with this many rows and columns."""

MOST_SIDE = 2048
"""The longest side in pixels of a picture that is extended; a larger one is scaled down to it."""

UPSCALE_FACTOR = 4
"""How many times wider and higher the network of a model makes a picture."""

BLEND_PROMPT = mark("a blend of pictures")
"""What a blend without words is called, here and to the model."""
ENLARGED = mark("a picture, enlarged")
"""What a request is called that enlarges a picture which a person sent."""

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
class Work:
    """The work of a request in the engine: `forwards` of its denoiser with `rows` rows each, and `images` to decode."""

    shape: Shape
    rows: int
    forwards: int
    images: int


@dataclass(frozen=True, slots=True)
class StyleRef:
    """A version of a server's style: its number, its name, and the number of the version. An empty name is no style."""

    name: str = ""
    number: int = 0
    version: int = 0


NO_STYLE = StyleRef()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to paint, with every value resolved. Field names are those of diffusers; sizes are in pixels.

    It is stored as JSON. A field that is added later is missing in older JSON, so it needs a default.
    """

    prompt: str
    model: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    operation: Operation = Operation.TEXT2IMAGE
    num_images_per_prompt: int = 1
    negative_prompt: str = ""
    sampler: str = "default"
    loras: Adapters = ()
    image: str = ""
    """The sha256 of the upload to start from; empty for an operation that starts from noise."""
    blended: tuple[str, ...] = ()
    """The sha256 of the uploads that a blend mixes with `image`; the same one may come more than once."""
    mask_image: str = ""
    """The sha256 of the upload that says where to repaint `image`: its white parts are repainted."""
    region: tuple[int, ...] = ()
    """Where to repaint `image` if there is no mask: cells of the grid, row by row; 0 is the upper left one."""
    kept: Kept | None = None
    """What of `image` is kept, if there is neither a mask nor a region."""
    margins: Margins = (0.0, 0.0, 0.0, 0.0)
    """How far the canvas of an outpaint reaches beyond `image`."""
    strength: float = 1.0
    """How much of `image` is painted over, from 0 (nothing) to 1."""
    controlnet: str = ""
    """The ControlNet that makes the picture follow `control_image`, by its name in the configuration."""
    control_image: str = ""
    """The sha256 of the upload that the ControlNet follows."""
    controlnet_conditioning_scale: float = 1.0
    draft: bool = False
    """Whether it was painted with the model's fast preset, so that a picture of it can be finished."""
    style: str = ""
    """The name of the style that was used, if any."""
    style_number: int = 0
    """The number of that style within its server."""
    style_version: int = 0
    provider: str = ""
    """The server that paints it and gets its words, by its name in the configuration; empty for this machine."""
    frames: int = 0
    """How many frames an animation has; 0 is for pictures. An animation is one picture, in one file."""
    end_prompt: str = ""
    """What the last frame of an animation shows; empty is the prompt."""
    end_seed: int | None = None
    """The seed of the last frame of an animation; None is the seed of the first."""

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Self:
        """Build a request of its fields; values from JSON (lists, strings) become tuples and enumerations."""
        read = dict(values)
        if "operation" in read:
            read["operation"] = Operation(read["operation"])
        if read.get("kept") is not None:
            read["kept"] = Kept(read["kept"])
        if "loras" in read:
            read["loras"] = tuple((name, weight) for name, weight in read["loras"])
        for name in ("region", "margins", "blended"):
            if name in read:
                read[name] = tuple(read[name])
        return cls(**read)

    @property
    def style_ref(self) -> StyleRef:
        """The version of the style that was used."""
        return StyleRef(self.style, self.style_number, self.style_version)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a person wrote, as the model reads them; they never go into a log.

        They are the prompt, the negative prompt, and for an animation that has one, the prompt of its last frame.
        """
        return (self.prompt, self.negative_prompt, *filter(None, [self.end_prompt]))

    @property
    def title(self) -> str:
        """What the person asked for, in one line: the prompt, and of an animation the last one too."""
        if self.prompt in (BLEND_PROMPT, ENLARGED):
            # Nobody typed it.
            return say(self.prompt)
        return f"{self.prompt} → {self.end_prompt}" if self.end_prompt else self.prompt

    @property
    def painted(self) -> int:
        """How many pictures are painted; each frame of an animation is one."""
        return self.frames or self.num_images_per_prompt

    @property
    def uploads(self) -> tuple[str, ...]:
        """The sha256 of every upload that the request uses."""
        return tuple(dict.fromkeys(filter(None, (self.image, *self.blended, self.mask_image, self.control_image))))

    @property
    def steps(self) -> int:
        """The denoising steps that are really done: with an image to start from, `strength` times as many."""
        if self.operation is Operation.UPSCALE:
            return 0
        steps = self.num_inference_steps
        return steps if self.operation.begins_with_noise else min(max(int(steps * self.strength), 1), steps)

    @property
    def cost(self) -> float:
        """The work in megapixel-steps: pixels times denoising steps, divided by a million."""
        return self.width * self.height * self.painted * self.steps / 1e6

    @property
    def work(self) -> Work:
        """The work in the engine: guidance takes two rows a picture, Heun two forwards a step except the last."""
        images = self.painted
        if self.operation.is_film:
            # One sample holds all frames, so its forwards are as large as those of a picture with all of their pixels.
            rows = 2 if self.guidance_scale > 1 else 1
            return Work((self.model, self.width, self.height * self.frames), rows, self.steps, 1)
        forwards = max(2 * self.steps - 1, 0) if self.sampler == "heun" else self.steps
        rows = 2 * images if self.guidance_scale > 1 else images
        model = f"{self.model}+{self.controlnet}" if self.controlnet else self.model
        return Work((model, self.width, self.height), rows, forwards, images)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed per image; asking for seed + n - 1 reproduces image n alone."""
        return tuple((self.seed + n) % 2**32 for n in range(self.num_images_per_prompt))


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked, in which server, and with which roles, the highest first, because limits may depend on them."""

    user_id: UserId
    guild_id: GuildId
    roles: tuple[RoleId, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes. The message `message_id` is edited until it holds the result."""

    channel_id: ChannelId
    message_id: MessageId | None = None
    parent_id: ChannelId | None = None
    """The parent channel, if the channel is a thread."""

    @property
    def channels(self) -> tuple[ChannelId, ...]:
        """The channels whose rules apply: a thread before its parent channel."""
        return (self.channel_id,) if self.parent_id is None else (self.channel_id, self.parent_id)


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


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request and its state; a row of the table `jobs`."""

    id: JobId
    requester: Requester
    destination: Destination
    request: GenerationRequest
    status: JobStatus
    attempt: int
    asked_at: datetime
    started_at: datetime | None = None
    painted_at: datetime | None = None
    posted_at: datetime | None = None
    reason: Reason | None = None
    deaths: int = 0
    """How many attempts ended because the engine died; an attempt that a restart of the bot ended does not count."""
    reposted_at: datetime | None = None
    """When the bot first began to post a new message because the old one was gone."""
    left_message_id: MessageId | None = None
    """A message that a new one has replaced and that is still to be deleted."""
    forgotten_at: datetime | None = None
    """When its words were deleted, because the person had their data deleted."""
    is_withheld: bool = False
    """Whether its message shows no prompt, because the prompt may not be painted."""
    post_id: int = 0
    """The message that shows it, by its number in the database; several jobs may have the same one."""
    series_id: int | None = None
    """The series that it belongs to, such as the prompts that one prompt with choices stands for."""
    label: str = ""
    """What it is called within its series."""
    follows: JobId | None = None
    """The job from whose picture it starts and for which it waits."""
    held_micros: Micros = NOTHING
    """What it was taken to cost in money when it was accepted."""
    billed_micros: Micros | None = None
    """What its provider billed, as far as it said so."""
    is_sent: bool = False
    """Whether a provider was asked for it."""

    @property
    def is_unposted(self) -> bool:
        """Whether the job has ended and its message still has to say how."""
        ended = self.status in (JobStatus.RENDERED, JobStatus.FAILED, JobStatus.CANCELLED)
        return ended and self.posted_at is None and self.forgotten_at is None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a job from a row of the view `jobs_with_post`."""
        asked_at = from_text(row["asked_at"])
        assert asked_at is not None  # noqa: S101 - the column is NOT NULL
        message_id = row["message_id"]
        return cls(
            id=JobId(row["id"]),
            requester=Requester(
                UserId(row["user_id"]), GuildId(row["guild_id"]), tuple(map(RoleId, json.loads(row["roles"])))
            ),
            destination=Destination(
                ChannelId(row["channel_id"]),
                None if message_id is None else MessageId(message_id),
                None if row["parent_id"] is None else ChannelId(row["parent_id"]),
            ),
            request=GenerationRequest.from_fields(json.loads(row["request"])),
            status=JobStatus(row["status"]),
            attempt=row["attempt"],
            deaths=row["deaths"],
            asked_at=asked_at,
            started_at=from_text(row["started_at"]),
            painted_at=from_text(row["painted_at"]),
            posted_at=from_text(row["posted_at"]),
            reposted_at=from_text(row["reposted_at"]),
            left_message_id=None if row["left_message_id"] is None else MessageId(row["left_message_id"]),
            forgotten_at=from_text(row["forgotten_at"]),
            reason=None if row["reason"] is None else unpacked(row["reason"]),
            is_withheld=bool(row["withheld"]),
            post_id=row["post_id"],
            series_id=row["series_id"],
            label=row["label"],
            follows=None if row["follows"] is None else JobId(row["follows"]),
            held_micros=Micros(row["held_micros"]),
            billed_micros=None if row["billed_micros"] is None else Micros(row["billed_micros"]),
            is_sent=row["sent_at"] is not None,
        )


@dataclass(frozen=True, slots=True)
class Queued:
    """News: the job waits at `place` in the queue, from 1, and starts at `starts_at`; None means in a moment."""

    place: int
    starts_at: datetime | None

    @property
    def is_held(self) -> bool:
        """Whether a moderator's pause or the host stops the job; then it has no place."""
        return self.place < 1


HELD = Queued(0, None)
"""News: the job waits until a moderator ends a pause."""
DRAINED = Queued(-1, None)
"""News: the job waits until the host brings an engine back."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queued job as the scheduler sees it, without the prompt."""

    job_id: JobId
    user_id: UserId
    guild_id: GuildId
    asked_at: datetime
    images: int
    work: Work
    seconds: float = 1.0
    """GPU seconds that the job is expected to take."""
    roles: tuple[RoleId, ...] = ()
    """The roles that the person had when they asked, the highest first."""
    channels: tuple[ChannelId, ...] = ()
    """Where they asked: the channel and, for a thread, its parent channel."""
    acknowledged: bool = True
    """Whether the person has seen that the request was accepted, and the picture that it starts from is there.

    The job may not start before.
    """
    again: bool = False
    """Whether an earlier attempt was interrupted; then the job goes first, because it had its turn already."""
    said: Queued | None = None
    """What the job's message says about its wait; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Start:
    """A job that was started: by whom, when, and with how many images, which count for the pace."""

    job_id: JobId
    user_id: UserId
    at: datetime
    images: int
    seconds: float = 0.0
    """GPU seconds that the job used, or until that is known, is expected to use."""
    turn: float = 0.0
    """The virtual time at which it started."""
    clock: float = 0.0
    """The scheduler's virtual time at that moment."""
    settled: bool = True
    """Whether `seconds` is final."""
    guild_id: GuildId = GuildId(0)
    """The server of the request; the start counts for the person's pace there."""


class Scope(StrEnum):
    """What a moderator's rule applies to."""

    SERVER = "server"
    CHANNEL = "channel"
    ROLE = "role"
    PERSON = "person"


Subject = tuple[Scope, int]
"""A scope and the id of the channel, role or person; the id 0 is the whole server."""

RuleValue = int | str | bool | tuple[int, ...] | tuple[str, ...] | None
"""A number, a time, or a list of what is allowed; None allows everything."""

Book = Mapping[Subject, Mapping[str, RuleValue]]
"""The rules of one server, by subject, then by name."""


@dataclass(frozen=True, slots=True)
class Painting:
    """News: the engine is at denoising step `step` of `of`; `preview` is a small JPEG of how it looks, or empty."""

    step: int
    of: int
    preview: bytes = b""


@dataclass(frozen=True, slots=True)
class Retrying:
    """News: the engine had to be restarted and the job is queued again."""


@dataclass(frozen=True, slots=True)
class Painted:
    """News: the pictures are ready; `webp` has them encoded smaller, for a channel that takes no larger files."""

    images: tuple[Image, ...]
    webp: tuple[bytes, ...] = ()
    lossless: bool = True
    """Whether every pixel of `webp` is as it was painted."""
    film: bytes = b""
    """An animation as MP4, for programs that show no WebP that moves; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Failed:
    """News: there will be no picture; `reason` is a sentence for the requester."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Cancelled:
    """News: the job was cancelled."""


Passing = Queued | Painting | Retrying
"""News that newer news replaces; some of it may never be shown."""

News = Passing | Painted | Failed | Cancelled
