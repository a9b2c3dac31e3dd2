"""One computation for everybody who asks at the same time."""

from __future__ import annotations

import asyncio

import pytest

from bot.queue.shared import Shared


class Counting:
    """Computes how often it was asked to, once it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        if number == 3:
            raise ValueError(number)
        return number


async def asking(shared: Shared[int], people: int) -> list[asyncio.Task[int]]:
    asked = [asyncio.create_task(shared.fresh()) for _ in range(people)]
    for _ in range(5):
        await asyncio.sleep(0)
    return asked


async def test_whoever_asks_while_one_is_under_way_shares_the_next() -> None:
    compute = Counting()
    shared = Shared(compute)
    first, later, others = await asking(shared, 1), await asking(shared, 100), await asking(shared, 100)
    compute.may_end.set()
    assert await asyncio.gather(*first, *later, *others) == [1] + [2] * 200


async def test_who_goes_away_disturbs_nobody_and_an_error_reaches_all() -> None:
    compute = Counting()
    shared = Shared(compute)
    first, second = await asking(shared, 2), await asking(shared, 2)
    first[0].cancel()
    second[0].cancel()
    compute.may_end.set()
    assert [await first[1], await second[1]] == [1, 2]
    for failure in await asyncio.gather(*await asking(shared, 2), return_exceptions=True):
        assert isinstance(failure, ValueError)
    with pytest.raises(asyncio.CancelledError):
        await first[0]
    assert await shared.fresh() == 4
