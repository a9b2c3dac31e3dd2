"""Plays points of a kill test; by hand: `python -m tests.faults.test_contest_kills [FIRST [LAST [EVERY]]]`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from tests.faults.stage import Stuck

Played = Callable[..., Awaitable[tuple[int, list[str]]]]
"""Plays a story in a folder, killed at the point of a number or never; returns how many points it has, and faults."""


AT_A_TIME = 4
"""A story waits most of the time."""


async def broken(played: Played, home: Path, numbers: Iterable[int]) -> dict[int, list[str]]:
    """What a kill at each of these points broke, by the number of the point."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> tuple[int, list[str]]:
        async with turns:
            return number, (await played(home / str(number), number))[1]

    return {number: found for number, found in await asyncio.gather(*map(one, numbers)) if found}


async def sweep(played: Played, first: int, last: int, every: int) -> int:
    """Play each point once; returns how many broke a promise."""
    bad = []
    with tempfile.TemporaryDirectory() as home:
        count, found = await played(Path(home) / "0")
        print(count, "points", found, flush=True)
        for number in range(first, min(count, last) + 1, every):
            try:
                _, found = await played(Path(home) / str(number), number)
            except Stuck as stuck:
                found = [str(stuck)]
            if found:
                bad.append(number)
                names = (Path(home) / str(number) / "points").read_text(encoding="utf-8").splitlines()
                print(number, names[number - 1], *found, sep="\n      ", flush=True)
    print(len(bad), "broke a promise", bad, flush=True)
    return len(bad)


def main(played: Played) -> None:
    """Play the points that the command line names, and exit with 1 if one broke a promise."""
    first, last, every = [*map(int, sys.argv[1:]), *(1, 100_000, 1)[len(sys.argv) - 1 :]]
    sys.exit(bool(asyncio.run(sweep(played, first, last, every))))
