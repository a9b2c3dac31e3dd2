"""The one easel everybody paints at: orders go from the pipe into the hub's batches, and pictures back.

The thread that calls `run` is the only one that touches the device. Pictures are encoded in a thread of their own, so
that nobody's next step waits for somebody's PNG. Imported in the engine process only.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bot.engine import Progress, Started
from bot.engine.batching import Call, Cancel, Event, Failed, Hub, Returned
from bot.engine.pipelines import Studio
from bot.engine.timing import DECODE, START, STEP, Timings
from bot.engine.wire import Frame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest

log = logging.getLogger(__name__)

Key = tuple[int, int]
"""Job and attempt: what the bot knows an order by."""

_PARTS = {"unet": STEP, "transformer": STEP, START: START, DECODE: DECODE}
"""What is timed, by the hub's names."""
_TELL_SECONDS = 5.0
"""Between two reports of the timings."""
_LOOK_BEYOND = 50
"""Every so many forwards one may be larger than its knee: what is known of large ones must not grow old."""


class Easel:
    """Serves orders until told to stop."""

    def __init__(
        self,
        studio: Studio,
        take: Callable[..., list[Frame]],
        send: Callable[[Frame], None],
        rows: int,
        timings: Timings | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Make an easel; with `alone` no two orders share a forward."""
        self._studio = studio
        self._take = take
        self._send = send
        self._hub = Hub(
            self._report,
            row_cap=rows,
            wear=studio.wardrobe.on_rows,
            measure=self._measure,
            knee=self._knee,
            alone=alone,
        )
        self._timings = timings or Timings()
        self._told_at: float | None = None
        self._learned = False
        self._forwards = itertools.count(1)
        self._requests: dict[Key, GenerationRequest] = {}
        self._stopping = False
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    def run(self) -> None:
        """Paint until a `stop` comes. Raises what torch raises when the device is lost."""
        with self._encoder:
            self._hub.run(self._news)

    def _news(self, idle: bool) -> Iterable[Call | Cancel] | None:
        """The orders and cancellations that came since the last step; None when there will be no more."""
        if self._stopping:
            return None
        self._tell_timings(idle)
        news: list[Call | Cancel] = []
        for frame in self._take(wait=idle):
            if frame.kind == "stop":
                self._stopping = True
                break
            key = (frame.fields["job_id"], frame.fields["attempt"])
            if frame.kind == "cancel":
                news.append(Cancel(key))
            elif (call := self._call(key, frame.fields["owner"], frame.fields["request"])) is not None:
                news.append(call)
        return news

    def _call(self, key: Key, owner: int, fields: dict[str, Any]) -> Call | None:
        """An order as the hub takes it; None when its model cannot be had, which the requester is told."""
        request = GenerationRequest.from_fields(fields)
        try:
            loaded = self._studio.load(request.model)
            call = Call(
                key,
                owner,
                loaded.pipeline,
                self._studio.scheduler(request),
                self._studio.arguments(request),
                self._studio.adapters(request),
                shape=request.work.shape,
            )
        except PaintFailed as error:
            self._tell("failed", key, reason=str(error))
            return None
        self._requests[key] = request
        return call

    def _report(self, call: Call, event: Event) -> None:
        """Tell the bot what becomes of an order; a cancelled one ends in silence."""
        key: Key = call.id  # type: ignore[assignment]
        match event:
            case Started():
                self._tell("started", key)
            case Progress(step, of):
                self._tell("progress", key, step=step, of=of)
            case Returned(output):
                self._encoder.submit(self._finish, key, self._requests.pop(key), output)
            case Failed(error):
                request = self._requests.pop(key)
                self._tell("failed", key, reason=self._studio.explain(request, error))
            case _:
                self._requests.pop(key)

    def _finish(self, key: Key, request: GenerationRequest, output: Any) -> None:
        """Encode an order's pictures and send them; in the encoder's thread."""
        try:
            images = self._studio.images(request, output)
        except PaintFailed as error:
            self._tell("failed", key, reason=str(error))
            return
        except Exception:
            # Whatever it was, somebody waits for an answer, and this thread's errors reach nobody.
            log.exception("the pictures of job %d could not be encoded", key[0])
            self._tell("failed", key, reason="The pictures could not be encoded; the log says why.")
            return
        facts = [
            {"seed": i.seed, "width": i.width, "height": i.height, "sha256": i.sha256, "size": len(i.png)}
            for i in images
        ]
        body = b"".join(image.png for image in images)
        model_hash = self._studio.hash_of(request.model)
        self._tell("finished", key, body, images=facts, model_hash=model_hash)

    def _measure(self, call: Call, part: str, rows: int, seconds: float) -> None:
        if part in _PARTS:
            self._timings.record(call.shape, _PARTS[part], rows, seconds)
            self._learned = True

    def _knee(self, call: Call, part: str) -> int | None:
        if _PARTS.get(part) != STEP or next(self._forwards) % _LOOK_BEYOND == 0:
            return None
        return self._timings.knee(call.shape)

    def _tell_timings(self, idle: bool) -> None:
        """Tell the bot what was learned, now and then and before resting."""
        now = time.monotonic()
        if self._learned and (idle or self._told_at is None or now >= self._told_at + _TELL_SECONDS):
            self._send(Frame("timings", {}, self._timings.dump().encode()))
            self._learned, self._told_at = False, now

    def _tell(self, kind: str, key: Key, body: bytes = b"", **fields: Any) -> None:
        self._send(Frame(kind, {"job_id": key[0], "attempt": key[1], **fields}, body))
