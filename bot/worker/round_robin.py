"""Work beside the device, piece by piece and person by person. Imported in the engine process only."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

_END = object()


class RoundRobinPool:
    """Threads that do a piece of work for one owner, then one for the next, round and round.

    So somebody's one picture never waits for a pile of somebody else's, but for one piece of each who was there before.
    An owner's works are begun in the order they came. Leaving the context waits until all work is done.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Make it; the threads start as they are needed."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[Iterator[object]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def submit(self, owner: Hashable, pieces: Iterator[object]) -> None:
        """Have work done; what the iterator does until it yields or ends is a piece."""
        with self._lock:
            self._waiting.setdefault(owner, deque()).append(pieces)
        self._pool.submit(self._serve)

    def _serve(self) -> None:
        """Do pieces until none waits; what another thread has in hand it goes on with itself."""
        while (turn := self._next()) is not None:
            owner, pieces = turn
            try:
                ended = next(pieces, _END) is _END
            except Exception:
                # Nobody else sees this thread's errors, and what is left of the others' work must go on.
                log.exception("a piece of work beside the device failed")
                ended = True
            if not ended:
                with self._lock:
                    self._waiting.setdefault(owner, deque()).appendleft(pieces)

    def _next(self) -> tuple[Hashable, Iterator[object]] | None:
        """Take the first owner's oldest work; the owner goes behind the others."""
        with self._lock:
            if not self._waiting:
                return None
            owner = next(iter(self._waiting))
            works = self._waiting.pop(owner)
            pieces = works.popleft()
            if works:
                self._waiting[owner] = works
            return owner, pieces
