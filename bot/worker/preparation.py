"""What other threads do before an order is painted: decode its pictures, fetch its model's files, read its prompts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from bot.engine.wire import Stage, StageFrame, SubmitFrame
from bot.jobs import GenerationRequest
from bot.worker.cutout import Find
from bot.worker.inputs import Inputs, decode
from bot.worker.orders import WaitingOrder
from bot.worker.pipelines import ModelStore
from bot.worker.prompts import Prompts, Reading
from bot.worker.stages import Stages

DECODERS = 2
"""Requests whose pictures are decoded at a time, so that one that takes long does not hold up all others."""


class Preparation:
    """Prepares orders. Leaving the context waits until all that was begun is done."""

    def __init__(self, store: ModelStore, find: Find | None, stages: Stages, wake: Callable[[], None]) -> None:
        """`find` is the host's model that finds the thing in a picture; `wake` is called whenever something is done."""
        self._store, self._stages, self._wake = store, stages, wake
        self._decode = partial(decode, find=find)
        self._fetched: dict[str, Future[Any]] = {}
        """The models whose files are fetched, or were."""
        self._decoder = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._fetcher = ThreadPoolExecutor(len(store.names), thread_name_prefix="fetcher")
        self._pools = ExitStack()

    def __enter__(self) -> Self:
        for pool in (self._decoder, self._reader, self._fetcher):
            self._pools.enter_context(pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pools.__exit__(kind, error, traceback)

    def inputs(self, frame: SubmitFrame) -> Future[Inputs]:
        """The pictures that an order starts from, decoded."""
        request = frame.request
        if not request.uploads and request.operation.begins_with_noise:
            nothing: Future[Inputs] = Future()
            nothing.set_result(Inputs())
            return nothing
        doing = StageFrame("", Stage.DECODE, ((frame.job_id, frame.attempt),))
        nsfw = self._store.finisher.nsfw
        check = [] if nsfw is None else [partial(nsfw.check_upload, limits=frame.limits)]
        return self._beside(self._decoder, doing, self._decode, request, frame.uploads, *check)

    def fetch(self, model: str) -> None:
        """Have the files of a model here, unless they are or were asked for."""
        if model not in self._fetched:
            doing = StageFrame("", Stage.FETCH, model=model)
            self._fetched[model] = self._beside(self._fetcher, doing, self._store.fetch, model)

    def fetched(self, model: str) -> Future[Any] | None:
        """When the files of a model are here; None if nobody asked for them."""
        return self._fetched.get(model)

    def forget(self, model: str) -> None:
        """Fetch the files of a model again when it is asked for next."""
        del self._fetched[model]

    def texts(self, order: WaitingOrder) -> Future[tuple[Reading, ...]]:
        """The texts of an order as its model reads them; the model must be in memory."""
        doing = StageFrame("", Stage.ENCODE, (order.key,))
        return self._beside(self._reader, doing, _read, self._store.prompts(order.request.model), order.request)

    def _beside(
        self, pool: ThreadPoolExecutor, doing: StageFrame, work: Callable[..., Any], *arguments: Any
    ) -> Future[Any]:
        """Have a thread do something, which it tells the bot, and wake the loop when it is done."""

        def told() -> Any:
            with self._stages.beside(doing):
                return work(*arguments)

        future = pool.submit(told)
        future.add_done_callback(lambda _: self._wake())
        return future


def _read(prompts: Prompts, request: GenerationRequest) -> tuple[Reading, ...]:
    """The texts of a request as its model reads them; in the reader's thread."""
    return tuple(map(prompts.read, request.texts))
