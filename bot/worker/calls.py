"""The data types of the batcher: the calls it gets, and the events it yields for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.engine import Progress, Started
from bot.jobs import Adapters, Shape


@dataclass(frozen=True, slots=True)
class Call:
    """One request: a pipeline and the arguments to call it with.

    `scheduler` belongs to this call alone. All rows of the call use the LoRAs of `adapters` in every denoiser; rows
    with different LoRAs can share a forward. The call is timed under `shape`. Calls with the same `batch` decode no
    picture while one of them waits for its denoiser, because both are not on the device together; None decodes at once.
    """

    id: Hashable
    owner: Hashable
    pipeline: Any
    scheduler: Any
    arguments: Mapping[str, Any]
    adapters: Adapters = ()
    shape: Shape = ("", 0, 0)
    batch: Hashable = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the call with this id; unknown ids are ignored."""

    id: Hashable


@dataclass(frozen=True, slots=True)
class Returned:
    """The call ended: the pipeline returned `output`."""

    output: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The call ended with this error: PaintFailed where it is in words for the requester."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The call was stopped."""


Event = Started | Progress | Returned | Failed | Cancelled
