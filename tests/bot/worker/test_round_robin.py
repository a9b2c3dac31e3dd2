"""Whose piece of work is done next beside the device."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bot.worker.round_robin import RoundRobinPool


class Bench:
    """One thread whose first piece is held until everything to be compared has been handed in."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._gate = threading.Event()

    def work(self, *names: str) -> Iterator[None]:
        for name in names:
            self.done.append(name)
            if name != names[-1]:
                yield

    def held(self, name: str) -> Iterator[None]:
        assert self._gate.wait(10)
        yield from self.work(name)

    def open(self) -> None:
        self._gate.set()


@pytest.mark.parametrize(
    ("works", "order"),
    [
        # One picture of somebody else goes before the rest of a pile.
        ([("pile", "p1 p2 p3 p4"), ("light", "l1")], "p0 p1 l1 p2 p3 p4"),
        # Two piles take turns, and neither is done twice as fast for being in two parts.
        ([("pile", "p1 p2 p3"), ("other", "o1 o2"), ("pile", "q1")], "p0 p1 o1 p2 o2 p3 q1"),
        # One owner's works are finished in the order they came.
        ([("pile", "p1 p2"), ("pile", "q1"), ("light", "l1")], "p0 p1 l1 p2 q1"),
        # Who comes at the same time goes in the order of coming.
        ([("a", "a1"), ("b", "b1"), ("c", "c1")], "p0 a1 b1 c1"),
    ],
)
def test_owners_take_turns(works: list[tuple[str, str]], order: str) -> None:
    bench = Bench()
    with RoundRobinPool(1, "test") as pool:
        pool.submit("pile", bench.held("p0"))
        for owner, names in works:
            pool.submit(owner, bench.work(*names.split()))
        bench.open()
    assert bench.done == order.split()


def test_several_threads_do_every_piece_once_and_one_work_is_never_done_twice_at_a_time() -> None:
    done: list[tuple[int, int]] = []

    def work(number: int) -> Iterator[None]:
        for piece in range(5):
            done.append((number, piece))
            yield

    with RoundRobinPool(4, "test") as pool:
        for number in range(40):
            pool.submit(number % 3, work(number))
    assert sorted(done) == [(number, piece) for number in range(40) for piece in range(5)]
    # A generator that is entered by two threads raises, which would have lost pieces.


def test_a_piece_that_fails_ends_its_own_work_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def broken() -> Iterator[None]:
        raise RuntimeError("no")
        yield

    with RoundRobinPool(1, "test") as pool:
        pool.submit("a", broken())
        pool.submit("b", bench.work("b1", "b2"))
    assert bench.done == ["b1", "b2"]
    assert "a piece of work beside the device failed" in caplog.text
