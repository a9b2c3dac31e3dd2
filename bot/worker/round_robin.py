"""Work in other threads than the device's, one piece for each person in turn. Imported in the engine process only."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

log = logging.getLogger(__name__)

_END = object()

Work = TypeVar("Work")


class Turns(Generic[Work]):
    """Work of several owners, who take turns. The works of one owner come in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Work]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, owner: Hashable, work: Work) -> None:
        """Add work of an owner, after all that the owner has."""
        self._waiting.setdefault(owner, deque()).append(work)

    def take(self) -> tuple[Hashable, Work] | None:
        """Take the oldest work of the first owner, and put the owner behind the others; None without any."""
        if not self._waiting:
            return None
        owner = next(iter(self._waiting))
        works = self._waiting.pop(owner)
        work = works.popleft()
        if works:
            self._waiting[owner] = works
        return owner, work

    def put_back(self, owner: Hashable, work: Work) -> None:
        """Put work that was taken before all that its owner has, for the owner's next turn."""
        self._waiting.setdefault(owner, deque()).appendleft(work)


class RoundRobinPool:
    """Threads that do one piece of work for each owner in turn.

    So a picture of one person waits for at most one piece of each other person, not for all their pictures. The works
    of one owner begin in the order in which they came. Leaving the context waits until all work is done.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Make a pool of at most `threads` threads, which start when they are needed."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._turns: Turns[Iterator[object]] = Turns()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def submit(self, owner: Hashable, pieces: Iterator[object]) -> None:
        """Add work for an owner; each `next` of the iterator is one piece of it."""
        with self._lock:
            self._turns.add(owner, pieces)
        self._pool.submit(self._serve)

    def _serve(self) -> None:
        """Do pieces of work until none waits. Another thread may do the next piece of a work."""
        while True:
            with self._lock:
                turn = self._turns.take()
            if turn is None:
                return
            owner, pieces = turn
            try:
                ended = next(pieces, _END) is _END
            except Exception:
                # Nothing else reports errors of this thread, and the other owners' work must go on.
                log.exception("a piece of work beside the device failed")
                ended = True
            if not ended:
                with self._lock:
                    self._turns.put_back(owner, pieces)
