"""A loop whose orders begin in the step in which they come, however quick its other threads are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from bot.worker.loop import WorkerLoop


class AtOnce(Executor):
    """Does what it is given at once, in the thread that gives it."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)
        return future


def at_once(loop: WorkerLoop) -> WorkerLoop:
    """Have a loop decode pictures and read prompts in its own thread.

    Orders that wait when its models are in memory then begin together, so that their forwards can be counted.
    """
    preparation = loop._preparation
    assert {"_decoder", "_reader"} <= vars(preparation).keys(), "otherwise nothing would change"
    preparation._decoder = preparation._reader = AtOnce()  # type: ignore[assignment]
    return loop
