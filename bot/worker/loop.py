"""The loop of the engine process: orders go from the pipe into shared batches, and pictures go back.

An order passes four stages. First, other threads decode its uploads and fetch its model's files (`preparation.py`).
Then it waits until its model is in memory, which `residency.py` decides before every step. Another thread reads its
prompts, because it may take a while to read what people wrote. Last, the batcher paints it. The thread that calls `run`
is the only one that touches the device. Pictures are encoded in other threads, so that no step waits for a PNG, and one
for each person in turn, so that one person's pictures do not wait for all of another's.

An order to enlarge a picture needs no model in memory and no step: once its picture is decoded and its model's files
are here, it goes to the threads that encode. If the model has no network for it, the host's network runs on the device:
one tile after each step of the others, for one person in turn.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import assert_never, cast

from bot.engine import Progress, Started
from bot.engine.timing import Timings
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    LeavingFrame,
    LoadedFrame,
    ObservedFrame,
    OrderKey,
    PreviewFrame,
    ProgressFrame,
    ReadyFrame,
    SetupFrame,
    Stage,
    StageFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    TimingsFrame,
)
from bot.errors import PaintFailed
from bot.jobs import Operation
from bot.logs import hide, traced
from bot.worker import residency
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Cancel, Event, Failed, Returned
from bot.worker.cutout import Find
from bot.worker.endings import Endings
from bot.worker.kernels import peak_bytes
from bot.worker.orders import CallId, PaintingOrder, WaitingOrder
from bot.worker.pipelines import ModelStore
from bot.worker.preparation import Preparation
from bot.worker.preview_sender import PreviewSender
from bot.worker.previews import LatentTap
from bot.worker.prompts import Reading
from bot.worker.rehearsal import rehearse
from bot.worker.row_policy import MeasuredRows
from bot.worker.stages import Stages

log = logging.getLogger(__name__)

_TELL_SECONDS = 5.0
"""The least time between two reports of the timings to the bot, while requests are painted."""
_LOAD_BYTES_PER_SECOND = 1e9
"""How fast a model is expected to load the first time; its files are in the system's cache after hashing."""


class WorkerLoop:
    """Serves orders until told to stop."""

    def __init__(
        self,
        store: ModelStore,
        inbox: Inbox,
        send: Callable[[Frame], None],
        rows: int,
        timings: Timings | None = None,
        *,
        alone: bool = False,
        preview_seconds: float = 0,
        find: Find | None = None,
    ) -> None:
        """Make a loop; with `alone` no two orders share a forward.

        A preview of each order is sent every `preview_seconds`; 0 sends none. `find` is the host's model that finds the
        thing in a picture.
        """
        self._store = store
        self._finisher = store.finisher
        self._inbox = inbox
        self._send = send
        self._rows = rows
        self._stages = Stages(send)
        self._preparation = Preparation(store, find, self._stages, inbox.wake)
        self._endings = Endings(store.finisher, send, self._stages, store.machine.encoders)
        self._previews = PreviewSender(store.finisher, send, self._stages, self._endings.threads, preview_seconds)
        self._policy = MeasuredRows(timings or Timings(), store.row_loras.on_rows, store.run)
        self._batcher = StepBatcher(self._policy, row_cap=rows, alone=alone, begins=self._begins)
        self._told_at: float | None = None
        self._told_loaded: tuple[str, ...] = ()
        self._waiting: dict[OrderKey, WaitingOrder] = {}
        self._abandoned: list[Cancel] = []
        """Calls of orders of which another call has failed."""
        self._painting: dict[OrderKey, PaintingOrder] = {}
        self._used_at: dict[str, float] = {}
        self._load_seconds: dict[str, float] = {}
        self._switch = residency.Switch()
        self._stopping = False

    def run(self) -> None:
        """Paint until a `stop` comes. Raises what torch raises when the device is lost."""
        with self._preparation, self._endings, closing(self._batcher):
            while (news := self._news()) is not None:
                for call, event in self._batcher.step(news):
                    self._report(call, event)
                self._endings.enlarge_a_tile()

    def _news(self) -> list[Call | Cancel] | None:
        """The calls that may begin, and the cancellations since the last step; None after a `stop`, when all is done.

        It waits while no work is there.
        """
        idle = self._batcher.is_idle and not self._endings.needs_device
        if self._stopping and idle and not self._waiting:
            return None
        self._tell_loaded()
        self._tell_timings(idle)
        wait = False
        while True:
            cancels = self._receive(wait=wait)
            loading = self._make_room()
            news: list[Call | Cancel] = [*cancels, *self._beginning()]
            idle = idle and not self._endings.needs_device
            if self._stopping and idle and not self._waiting and not news:
                return None
            if news or not idle:
                return news
            # While no order waits, one thing at a time is tried; an order that comes meanwhile waits for it.
            wait = not loading and not (not self._waiting and self._improve())
            if wait:
                self._stages.rest()

    def _improve(self) -> bool:
        """Try one more thing that makes forwards faster; returns whether there was one.

        First a picture is painted with each model, for one to five seconds. Then graphs are recorded for more rows, for
        about a second each. Compiling takes up to minutes.
        """
        store = self._store
        if (name := store.unrehearsed) is not None:
            self._stages.begin(Stage.TRY, model=name)
            rehearse(store, name, self._rows)
            return True
        if store.graphs.can_record_ahead:
            self._stages.begin(Stage.TRY)
            if store.graphs.record_ahead(self._rows):
                return True
        if not store.graphs.can_improve:
            return False
        self._stages.begin(Stage.COMPILE)
        return store.graphs.improve()

    def _receive(self, *, wait: bool) -> list[Cancel]:
        """Read the frames that came; returns the cancellations."""
        cancels, self._abandoned = self._abandoned, []
        for frame in self._inbox.take(wait=wait):
            match frame:
                case SubmitFrame():
                    if not self._stopping:
                        self._admit(frame)
                case CancelFrame():
                    key = (frame.job_id, frame.attempt)
                    self._waiting.pop(key, None)
                    self._endings.cancel(key)
                    if (painting := self._painting.get(key)) is not None:
                        cancels += _abandoned(key, painting)
                case StopFrame():
                    self._stopping = True
                case SetupFrame():
                    log.warning("a second setup is ignored")
                case (
                    ReadyFrame()
                    | LeavingFrame()
                    | LoadedFrame()
                    | StageFrame()
                    | TimingsFrame()
                    | ObservedFrame()
                    | StartedFrame()
                    | ProgressFrame()
                    | PreviewFrame()
                    | FinishedFrame()
                    | FailedFrame()
                ):
                    raise ValueError(f"a {type(frame).__name__} goes the other way")
                case _:
                    assert_never(frame)
        return cancels

    def _admit(self, frame: SubmitFrame) -> None:
        """Accept an order, and let other threads decode its inputs and fetch its model."""
        key, request = (frame.job_id, frame.attempt), frame.request
        hide(*request.texts)
        inputs = self._preparation.inputs(frame)
        self._waiting[key] = WaitingOrder(key, frame.owner, request, frame.limits, inputs, time.monotonic())
        self._preparation.fetch(request.model)

    def _make_room(self) -> bool:
        """Load the model that orders wait for, if it is time to, and evict models to make space for it.

        Returns whether it tried to load one.
        """
        models = list(self._models()) if self._waiting else []
        self._switch = residency.decide(models, self._store.machine.budget)
        for idle in self._switch.evict:
            log.info("model %s makes room", idle)
            self._store.evict(idle)
        name = self._switch.load
        if name is None:
            return False
        self._stages.begin(Stage.LOAD, model=name, size=self._store.size(name))
        started = time.monotonic()
        with self._refusing(name):
            self._store.load(name)
            self._load_seconds[name] = time.monotonic() - started
        return True

    def _models(self) -> Iterator[residency.Model]:
        """The models in memory, and the models whose files are here so that they can be loaded."""
        now = time.monotonic()
        painting = Counter(order.request.model for order in self._painting.values())
        for name in self._store.names:
            fetched = self._preparation.fetched(name)
            if not self._store.is_resident(name) and (fetched is None or not fetched.done()):
                continue
            with self._refusing(name):
                size = self._store.size(name)
                yield residency.Model(
                    name,
                    size,
                    self._load_seconds.get(name, size / _LOAD_BYTES_PER_SECOND),
                    self._used_at.get(name, 0.0),
                    self._store.is_resident(name),
                    painting[name],
                    tuple(
                        now - order.since
                        for order in self._waiting.values()
                        if order.request.model == name and order.is_painted and order.inputs.done()
                    ),
                )

    @contextmanager
    def _refusing(self, model: str) -> Iterator[None]:
        """If the body cannot load a model, fail all orders that wait for it; the next order tries again."""
        try:
            yield
        except PaintFailed as error:
            self._preparation.forget(model)
            for order in [order for order in self._waiting.values() if order.request.model == model]:
                del self._waiting[order.key]
                self._send(FailedFrame(*order.key, error.reason))

    def _beginning(self) -> list[Call]:
        """The orders that are ready to begin, as calls for the batcher."""
        calls = []
        begun: set[str] = set()
        for order in list(self._waiting.values()):
            model = order.request.model
            if not order.is_painted:
                self._enlarge(order)
                continue
            if not order.inputs.done() or not self._store.is_resident(model) or model in self._switch.hold:
                continue
            if order.texts is None:
                order.texts = self._preparation.texts(order)
            if not order.texts.done():
                continue
            if model not in begun and model in self._held():
                continue
            begun.add(model)
            del self._waiting[order.key]
            if not self._painting:
                # What ran while no order was painted is nothing to report.
                self._store.graphs.ran.take()
            try:
                made = self._calls(order, order.texts)
            except PaintFailed as error:
                self._send(FailedFrame(*order.key, error.reason))
                continue
            calls += made
            now = self._used_at[model] = time.monotonic()
            canvas, tap = order.inputs.result().canvas, LatentTap(made[len(made) // 2].scheduler)
            self._painting[order.key] = PaintingOrder(
                order.owner, order.request, order.limits, canvas, len(made), tap, now
            )
        return calls

    def _held(self) -> frozenset[str]:
        """The models whose parts take turns on the device and whose orders do not begin now.

        Their orders begin together, when all that wait have been read, and others begin after all of them have ended.
        """
        held = {order.request.model for order in self._painting.values()}
        held |= {
            order.request.model
            for order in self._waiting.values()
            if order.is_painted and order.inputs.done() and (order.texts is None or not order.texts.done())
        }
        return frozenset(name for name in held if self._store.works_in_batches(name))

    def _enlarge(self, order: WaitingOrder) -> None:
        """Begin to enlarge a picture, in other threads or on the device, if it and its model's files are here."""
        fetched = self._preparation.fetched(order.request.model)
        # If the files cannot be had, `_make_room` fails the order.
        if not order.inputs.done() or fetched is None or not fetched.done() or fetched.exception() is not None:
            return
        del self._waiting[order.key]
        try:
            picture = order.inputs.result().image
        except PaintFailed as error:
            self._send(FailedFrame(*order.key, error.reason))
            return
        assert picture is not None  # noqa: S101 - `decode` refuses an order without one
        self._endings.enlarge(order, picture)

    def _begins(self, stage: Stage, calls: Sequence[Hashable]) -> None:
        """Tell what the batcher begins, and for which orders."""
        self._stages.begin(stage, list(dict.fromkeys(call[:2] for call in cast(Sequence[CallId], calls))))

    def _calls(self, order: WaitingOrder, texts: Future[tuple[Reading, ...]]) -> list[Call]:
        """An order as calls for the batcher. Raises PaintFailed in words."""
        request = order.request
        try:
            read = texts.result()
        except PaintFailed:
            raise
        except Exception as error:
            log.error("the prompt of job %d cannot be read\n%s", order.key[0], traced(error, *request.texts))  # noqa: TRY400
            raise PaintFailed("This prompt could not be read. The host can find the reason in the log.") from error
        if request.controlnet:
            # The first request for a ControlNet loads it.
            self._stages.begin(Stage.LOAD, [order.key])
            self._store.pipeline(request)
        self._stages.begin(Stage.ENCODE, [order.key])
        if request.operation is Operation.MORPH:
            arguments = self._store.frames(request, read)
        else:
            arguments = [self._store.arguments(request, order.inputs.result(), read)]
        return [
            Call(
                (*order.key, number),
                order.owner,
                self._store.pipeline(request),
                self._store.scheduler(request),
                each,
                self._store.adapters(request),
                shape=request.work.shape,
                batch=request.model if self._store.works_in_batches(request.model) else None,
            )
            for number, each in enumerate(arguments)
        ]

    def _report(self, call: Call, event: Event) -> None:
        """Send an event of an order to the bot; for a cancelled order it sends nothing."""
        *_, number = cast(CallId, call.id)
        key: OrderKey = cast(CallId, call.id)[:2]
        order = self._painting[key]
        if not isinstance(event, Started | Progress):
            order.ended += 1
            if order.ended == order.calls:
                del self._painting[key]
        if order.is_abandoned:
            return
        match event:
            case Started():
                if not order.is_started:
                    order.is_started = True
                    self._send(StartedFrame(*key))
            case Progress(step, of):
                if order.advance(number, step):
                    self._send(ProgressFrame(*key, order.step, of))
                    if order.step < of:
                        self._previews.show(key, order, call.pipeline)
            case Returned(output):
                order.outputs[number] = output
                if key in self._painting:
                    return
                if self._store.graphs.ran.is_observing:
                    self._send(ObservedFrame(order.request.model, peak_bytes(), self._store.graphs.ran.take()))
                self._endings.encode(key, order, self._finisher.finished(order.request, order.output, order.canvas))
            case Failed(error):
                self._abandoned += _abandoned(key, order)
                self._send(FailedFrame(*key, self._store.explain(order.request, error)))

    def _tell_loaded(self) -> None:
        """Tell the bot which models are in memory, if others are than before."""
        loaded = tuple(filter(self._store.is_resident, self._store.names))
        if loaded != self._told_loaded:
            self._told_loaded = loaded
            self._send(LoadedFrame(loaded))

    def _tell_timings(self, idle: bool) -> None:
        """Send new timings to the bot: every few seconds, and before the loop waits."""
        now = time.monotonic()
        policy = self._policy
        if policy.has_news and (idle or self._told_at is None or now >= self._told_at + _TELL_SECONDS):
            self._send(TimingsFrame(policy.timings.dump(), policy.step_histogram.take()))
            policy.has_news, self._told_at = False, now


def _abandoned(key: OrderKey, order: PaintingOrder) -> list[Cancel]:
    """Say nothing of an order any more; returns the cancellations of its calls. Those that have ended are ignored."""
    order.is_abandoned = True
    return [Cancel((*key, number)) for number in range(order.calls)]
