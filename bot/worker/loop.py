"""The loop of the engine process: orders go from the pipe into shared batches, and pictures go back.

An order passes four stages. First, other threads decode its uploads and fetch its model's files. Then it waits until
its model is in memory, which `residency.py` decides before every step. Another thread reads its prompts, because it may
take a while to read what people wrote. Last, the batcher paints it. The thread that calls `run` is the only one that
touches the device. Pictures are encoded in other threads, so that no step waits for a PNG, and one for each person in
turn, so that one person's pictures do not wait for all of another's.

An order to enlarge a picture needs no model in memory and no step: once its picture is decoded and its model's files
are here, it goes to the threads that encode. If the model has no network for it, the host's network runs on the device:
one tile after each step of the others, for one person in turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

import PIL.Image

from bot.engine import Progress, Started
from bot.engine.timing import Timings
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
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
from bot.jobs import GenerationRequest, Image, Operation, PictureLimits
from bot.logs import hide, traced
from bot.worker import previews, residency
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Cancel, Event, Failed, Returned
from bot.worker.canvas import Canvas
from bot.worker.inputs import Inputs, decode
from bot.worker.kernels import peak_bytes
from bot.worker.nsfw import BLOCKED
from bot.worker.pipelines import ModelStore
from bot.worker.previews import LatentPreview, LatentTap
from bot.worker.prompts import Prompts, Reading
from bot.worker.rehearsal import rehearse
from bot.worker.round_robin import RoundRobinPool, Turns
from bot.worker.row_policy import MeasuredRows

log = logging.getLogger(__name__)

DECODERS = 2
"""Requests whose pictures are decoded at a time, so that one that takes long does not hold up all others."""
_TELL_SECONDS = 5.0
"""The least time between two reports of the timings to the bot, while requests are painted."""
_LOAD_BYTES_PER_SECOND = 1e9
"""How fast a model is expected to load the first time; its files are in the system's cache after hashing."""


@dataclass(slots=True)
class _WaitingOrder:
    """An order that is not being painted yet; its `inputs` are decoded meanwhile.

    Its `texts`, the prompt and the negative prompt, are read once its model is in memory.
    """

    key: OrderKey
    owner: int
    request: GenerationRequest
    limits: PictureLimits
    inputs: Future[Inputs]
    since: float
    texts: Future[tuple[Reading, ...]] | None = None

    @property
    def is_painted(self) -> bool:
        """Whether it needs its model in memory."""
        return self.request.operation is not Operation.UPSCALE


@dataclass(slots=True)
class _PaintingOrder:
    """An order that is being painted, and when it was last shown."""

    owner: int
    request: GenerationRequest
    limits: PictureLimits
    canvas: Canvas | None
    tap: LatentTap
    shown_at: float


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
    ) -> None:
        """Make a loop; with `alone` no two orders share a forward.

        A preview of each order is sent every `preview_seconds`; 0 sends none.
        """
        self._store = store
        self._inbox = inbox
        self._send = send
        self._rows = rows
        self._policy = MeasuredRows(timings or Timings(), store.row_loras.on_rows, store.run)
        self._batcher = StepBatcher(self._policy, row_cap=rows, alone=alone, begins=self._begin)
        self._is_resting = True
        self._told_at: float | None = None
        self._waiting: dict[OrderKey, _WaitingOrder] = {}
        self._painting: dict[OrderKey, _PaintingOrder] = {}
        self._finishing: set[OrderKey] = set()
        """The orders that are enlarged or encoded. A cancelled one is taken out: its next piece of work is not done."""
        self._enlarging: Turns[tuple[_WaitingOrder, Iterator[PIL.Image.Image | None]]] = Turns()
        """The orders whose pictures are enlarged on the device."""
        self._latent_previews: dict[str, LatentPreview] = {}
        self._preview_seconds = preview_seconds
        self._fetched: dict[str, Future[Any]] = {}
        self._used_at: dict[str, float] = {}
        self._load_seconds: dict[str, float] = {}
        self._switch = residency.Switch()
        self._stopping = False
        self._decoder = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._fetcher = ThreadPoolExecutor(len(store.names), thread_name_prefix="fetcher")
        self._encoder = RoundRobinPool(store.machine.encoders, "encoder")

    def run(self) -> None:
        """Paint until a `stop` comes. Raises what torch raises when the device is lost."""
        with self._decoder, self._reader, self._fetcher, self._encoder, closing(self._batcher):
            while (news := self._news()) is not None:
                for call, event in self._batcher.step(news):
                    self._report(call, event)
                self._enlarge_a_tile()

    def _news(self) -> list[Call | Cancel] | None:
        """The calls that may begin, and the cancellations since the last step; None after a `stop`, when all is done.

        It waits while no work is there.
        """
        idle = self._batcher.is_idle and not self._enlarging
        if self._stopping and idle and not self._waiting:
            return None
        self._tell_timings(idle)
        wait = False
        while True:
            cancels = self._receive(wait=wait)
            loading = self._make_room()
            news: list[Call | Cancel] = [*cancels, *self._beginning()]
            idle = idle and not self._enlarging
            if self._stopping and idle and not self._waiting and not news:
                return None
            if news or not idle:
                return news
            # While no order waits, one thing at a time is tried; an order that comes meanwhile waits for it.
            wait = not loading and not (not self._waiting and self._improve())
            if wait:
                self._rest()

    def _begin(self, stage: Stage, orders: Sequence[Hashable] = (), model: str = "", size: int = 0) -> None:
        """Tell the bot what this thread begins: each stage has a time limit, and only its orders are blamed."""
        keys: tuple[OrderKey, ...] = tuple(orders)  # type: ignore[arg-type]
        self._is_resting = False
        self._send(StageFrame(_thread(), stage, keys, model, size))

    def _rest(self) -> None:
        if not self._is_resting:
            self._begin(Stage.REST)
            self._is_resting = True

    def _improve(self) -> bool:
        """Try one more thing that makes forwards faster; returns whether there was one.

        First a picture is painted with each model, for one to five seconds. Then graphs are recorded for more rows, for
        about a second each. Compiling takes up to minutes.
        """
        store = self._store
        if (name := store.unrehearsed) is not None:
            self._begin(Stage.TRY, model=name)
            rehearse(store, name, self._rows)
            return True
        if store.graphs.can_record_ahead:
            self._begin(Stage.TRY)
            if store.graphs.record_ahead(self._rows):
                return True
        if not store.graphs.can_improve:
            return False
        self._begin(Stage.COMPILE)
        return store.graphs.improve()

    def _receive(self, *, wait: bool) -> list[Cancel]:
        """Read the frames that came; returns the cancellations."""
        cancels = []
        for frame in self._inbox.take(wait=wait):
            match frame:
                case SubmitFrame():
                    if not self._stopping:
                        self._admit(frame)
                case CancelFrame():
                    self._waiting.pop((frame.job_id, frame.attempt), None)
                    self._finishing.discard((frame.job_id, frame.attempt))
                    cancels.append(Cancel((frame.job_id, frame.attempt)))
                case StopFrame():
                    self._stopping = True
                case SetupFrame():
                    log.warning("a second setup is ignored")
                case (
                    ReadyFrame()
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
        inputs: Future[Inputs] = Future()
        if request.uploads or request.operation is not Operation.TEXT2IMAGE:
            doing = StageFrame("", Stage.DECODE, (key,))
            check = [] if self._store.nsfw is None else [partial(self._store.nsfw.check_upload, limits=frame.limits)]
            inputs = self._beside(self._decoder, doing, decode, request, frame.uploads, *check)
        else:
            inputs.set_result(Inputs())
        self._waiting[key] = _WaitingOrder(key, frame.owner, request, frame.limits, inputs, time.monotonic())
        if request.model not in self._fetched:
            doing = StageFrame("", Stage.FETCH, model=request.model)
            self._fetched[request.model] = self._beside(self._fetcher, doing, self._store.fetch, request.model)

    def _beside(
        self, pool: ThreadPoolExecutor, doing: StageFrame, work: Callable[..., Any], *arguments: Any
    ) -> Future[Any]:
        """Have a thread do something, which it tells the bot, and wake this one when it is done."""

        def told() -> Any:
            with self._told(doing):
                return work(*arguments)

        future = pool.submit(told)
        future.add_done_callback(lambda _: self._inbox.wake())
        return future

    @contextmanager
    def _told(self, doing: StageFrame) -> Iterator[None]:
        """Tell the bot what this thread does in the body, and that it rests afterwards."""
        self._send(replace(doing, thread=_thread()))
        try:
            yield
        finally:
            self._send(StageFrame(_thread(), Stage.REST))

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
        self._begin(Stage.LOAD, model=name, size=self._store.size(name))
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
            fetched = self._fetched.get(name)
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
            del self._fetched[model]
            for order in [order for order in self._waiting.values() if order.request.model == model]:
                del self._waiting[order.key]
                self._send(FailedFrame(*order.key, str(error)))

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
                doing = StageFrame("", Stage.ENCODE, (order.key,))
                order.texts = self._beside(self._reader, doing, _read, self._store.prompts(model), order.request)
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
                call = self._call(order, order.texts)
            except PaintFailed as error:
                self._send(FailedFrame(*order.key, str(error)))
                continue
            calls.append(call)
            now = self._used_at[model] = time.monotonic()
            canvas, tap = order.inputs.result().canvas, LatentTap(call.scheduler)
            self._painting[order.key] = _PaintingOrder(order.owner, order.request, order.limits, canvas, tap, now)
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

    def _enlarge(self, order: _WaitingOrder) -> None:
        """Begin to enlarge a picture, in other threads or on the device, if it and its model's files are here."""
        fetched = self._fetched.get(order.request.model)
        # If the files cannot be had, `_make_room` fails the order.
        if not order.inputs.done() or fetched is None or not fetched.done() or fetched.exception() is not None:
            return
        del self._waiting[order.key]
        try:
            picture = order.inputs.result().image
            assert picture is not None  # noqa: S101 - `decode` refuses an order without one
            if on_device := self._store.is_enlarged_on_device(order.request.model):
                if size := self._store.unloaded_upscaler:
                    self._begin(Stage.LOAD, [order.key], size=size)
                large = self._store.enlarged_on_device(picture)
            else:
                pictures = self._store.enlarged(order.request, picture)
        except PaintFailed as error:
            self._send(FailedFrame(*order.key, str(error)))
            return
        self._send(StartedFrame(*order.key))
        if on_device:
            self._finishing.add(order.key)
            self._enlarging.add(order.owner, (order, large))
        else:
            self._submit(order.key, order, pictures)

    def _enlarge_a_tile(self) -> None:
        """Do one piece of work on the device for the person whose turn it is; a whole picture goes to be encoded."""
        if (turn := self._enlarging.take()) is None:
            return
        owner, (order, large) = turn
        if order.key not in self._finishing:
            return
        self._begin(Stage.FINISH, [order.key])
        try:
            whole = next(large)
        except PaintFailed as error:
            self._finishing.discard(order.key)
            self._send(FailedFrame(*order.key, str(error)))
            return
        if whole is None:
            self._enlarging.put_back(owner, (order, large))
        else:
            self._submit(order.key, order, self._store.enlargement(order.request, whole))

    def _call(self, order: _WaitingOrder, texts: Future[tuple[Reading, ...]]) -> Call:
        """An order as a call for the batcher. Raises PaintFailed in words."""
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
            self._begin(Stage.LOAD, [order.key])
            self._store.pipeline(request)
        self._begin(Stage.ENCODE, [order.key])
        return Call(
            order.key,
            order.owner,
            self._store.pipeline(request),
            self._store.scheduler(request),
            self._store.arguments(request, order.inputs.result(), read),
            self._store.adapters(request),
            shape=request.work.shape,
            batch=request.model if self._store.works_in_batches(request.model) else None,
        )

    def _report(self, call: Call, event: Event) -> None:
        """Send an event of an order to the bot; for a cancelled order it sends nothing."""
        key: OrderKey = call.id  # type: ignore[assignment]
        match event:
            case Started():
                self._send(StartedFrame(*key))
            case Progress(step, of):
                self._send(ProgressFrame(*key, step, of))
                if step < of:
                    self._preview(key, call.pipeline)
            case Returned(output):
                order = self._painting.pop(key)
                if self._store.graphs.ran.is_observing:
                    self._send(ObservedFrame(order.request.model, peak_bytes(), self._store.graphs.ran.take()))
                self._submit(key, order, self._store.images(order.request, output, order.canvas))
            case Failed(error):
                request = self._painting.pop(key).request
                self._send(FailedFrame(*key, self._store.explain(request, error)))
            case _:
                self._painting.pop(key)

    def _preview(self, key: OrderKey, pipeline: Any) -> None:
        """Show how an order looks so far, if it is time to and its model allows previews."""
        order, now = self._painting[key], time.monotonic()
        if not self._preview_seconds or now < order.shown_at + self._preview_seconds:
            return
        latents, model = order.tap.latents, order.request.model
        # No preview if the model has a safety checker, which has not seen it, or packs its latents as Flux does.
        if latents is None or latents.ndim != 4 or getattr(pipeline, "safety_checker", None) is not None:
            return
        if model not in self._latent_previews:
            self._latent_previews[model] = LatentPreview(pipeline.vae, pipeline.vae_scale_factor)
        order.shown_at = now
        showing = self._show(key, self._latent_previews[model], latents.float().cpu().numpy(), order.limits)
        self._encoder.submit(order.owner, showing)

    def _show(
        self, key: OrderKey, latent_preview: LatentPreview, latents: Any, limits: PictureLimits
    ) -> Iterator[None]:
        """Send a preview, unless the safety check would hide one of its pictures. It runs in an encoder's thread."""
        with self._told(StageFrame("", Stage.FINISH, (key,))):
            if self._store.nsfw is None or self._may_be_previewed(latent_preview, latents, limits):
                self._send(PreviewFrame(*key, previews.encode(latent_preview.picture(latents))))
        yield

    def _may_be_previewed(self, latent_preview: LatentPreview, latents: Any, limits: PictureLimits) -> bool:
        assert self._store.nsfw is not None  # noqa: S101 - the caller has asked
        try:
            scores = [self._store.nsfw.score(latent_preview.picture(latents[[at]])) for at in range(len(latents))]
        except PaintFailed:
            # The log has the reason. The finished picture is checked again.
            return False
        return not any(map(limits.hides, scores))

    def _submit(self, key: OrderKey, order: _WaitingOrder | _PaintingOrder, pictures: Iterator[Image | None]) -> None:
        """Have the encoder's threads finish an order; the iterator does a piece of work each time."""
        self._finishing.add(key)
        self._encoder.submit(order.owner, self._finish(key, order.request, order.limits, pictures))

    def _finish(
        self, key: OrderKey, request: GenerationRequest, limits: PictureLimits, pictures: Iterator[Image | None]
    ) -> Iterator[None]:
        """Finish an order's pictures and send them, unless it is cancelled. It runs in an encoder's threads.

        If one of the pictures may not be shown, the order fails, and none of them leaves this process.
        """
        images: list[Image] = []
        try:
            while len(images) < request.num_images_per_prompt:
                if key not in self._finishing:
                    return
                with self._told(StageFrame("", Stage.FINISH, (key,))):
                    image = next(pictures)
                if image is not None:
                    if limits.blocks(image.nsfw):
                        raise PaintFailed(BLOCKED)
                    images.append(image)
                if len(images) < request.num_images_per_prompt:
                    yield
        except PaintFailed as error:
            self._send(FailedFrame(*key, str(error)))
        except Exception:
            # A person waits for an answer, and nothing else reports errors of this thread.
            log.exception("the pictures of job %d could not be encoded", key[0])
            self._send(FailedFrame(*key, "The pictures could not be encoded; the log says why."))
        else:
            self._send(FinishedFrame(*key, tuple(images), self._store.made_by(request)))
        finally:
            self._finishing.discard(key)

    def _tell_timings(self, idle: bool) -> None:
        """Send new timings to the bot: every few seconds, and before the loop waits."""
        now = time.monotonic()
        policy = self._policy
        if policy.has_news and (idle or self._told_at is None or now >= self._told_at + _TELL_SECONDS):
            self._send(TimingsFrame(policy.timings.dump(), policy.step_histogram.take()))
            policy.has_news, self._told_at = False, now


def _read(prompts: Prompts, request: GenerationRequest) -> tuple[Reading, ...]:
    """The prompt and the negative prompt of a request as its model reads them; in the reader's thread."""
    return tuple(map(prompts.read, request.texts))


def _thread() -> str:
    return threading.current_thread().name
