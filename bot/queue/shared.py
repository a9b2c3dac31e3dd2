"""One computation for all callers that ask for the same result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Runs a computation once for all who ask while an earlier run is under way.

    Each gets a result that was begun after they asked, so it holds everything they had written by then.
    """

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def fresh(self) -> T:
        """Return a result no part of which is older than this call; a cancelled caller does not disturb the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(), name="a computation for several")
        return await asyncio.shield(self._next)

    async def _run(self) -> T:
        async with self._turn:
            # A caller that asks from here on might miss what was written after the computation began.
            self._next = None
            return await self._compute()
