"""One who floods and fifty who ask now and then: our scheduler beside first come first served and round robin.

    python -m benchmarks.fairness [--minutes 60] [--light 50] [--out docs]

A simulation in GPU time with one place in the engine; it is the scheduler's own code that chooses. The one who floods
asks at the start for four hours of large requests, of 20 s of GPU time each; the others ask independently of each
other for one of 2 to 8 s, together for two thirds of the time there is. Jain's index is over the GPU time people got,
each beside what they asked for until then, but no more than an even share.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.loads import quantile
from benchmarks.report import Chart, svg, table
from bot.jobs import GuildId, JobId, UserId, Waiting, Work
from bot.queue.scheduler import FairQueue, Share

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
FLOODER = UserId(0)
LARGE_SECONDS = 20.0


def arrivals(minutes: float, light: int) -> list[Waiting]:
    """The requests and their times, the same in every run."""
    choose, asked = random.Random(3), [(0.0, FLOODER, LARGE_SECONDS) for _ in range(int(240 * 60 / LARGE_SECONDS))]
    at, rate = 0.0, 2 / 3 / 5.0
    while (at := at + choose.expovariate(rate)) < minutes * 60:
        asked.append((at, UserId(choose.randint(1, light)), choose.uniform(2.0, 8.0)))
    return [
        Waiting(JobId(number), user, GuildId(1), NOON + timedelta(seconds=at), 1, Work(("m", 8, 8), 1, 20, 1), seconds)
        for number, (at, user, seconds) in enumerate(asked)
    ]


class FirstCome:
    """First come, first served, as in most bots."""

    def __init__(self) -> None:
        self._queue: deque[Waiting] = deque()

    def waits(self, job: Waiting) -> None:
        self._queue.append(job)

    def choose(self, now: datetime) -> Waiting | None:
        return self._queue.popleft() if self._queue else None


class RoundRobin:
    """Each person in turn, whatever the size of the request."""

    def __init__(self) -> None:
        self._queues: dict[UserId, deque[Waiting]] = defaultdict(deque)
        self._turns: deque[UserId] = deque()

    def waits(self, job: Waiting) -> None:
        if not self._queues[job.user_id]:
            self._turns.append(job.user_id)
        self._queues[job.user_id].append(job)

    def choose(self, now: datetime) -> Waiting | None:
        if not self._turns:
            return None
        user = self._turns.popleft()
        job = self._queues[user].popleft()
        if self._queues[user]:
            self._turns.append(user)
        return job


class Ours:
    """The scheduler of the bot."""

    def __init__(self) -> None:
        self._fair_queue = FairQueue(lambda _: Share(10_000))

    def waits(self, job: Waiting) -> None:
        self._fair_queue.joins(job)

    def choose(self, now: datetime) -> Waiting | None:
        turn = self._fair_queue.next(now, ())
        return None if turn is None else self._fair_queue.take_and_start(turn)


ARMS: dict[str, Callable[[], FirstCome | RoundRobin | Ours]] = {
    "first come first served": FirstCome,
    "round robin": RoundRobin,
    "ours": Ours,
}


@dataclass(frozen=True, slots=True)
class Served:
    """The result of a load: the waits of the light users, and the GPU seconds by person."""

    waits: list[float]
    seconds: dict[UserId, float]
    flooder: list[tuple[float, float]]


def serve(jobs: Sequence[Waiting], arm: FirstCome | RoundRobin | Ours, minutes: float) -> Served:
    """Serve one after the other until the end; a job that is not served waited until then."""
    end, now = NOON + timedelta(minutes=minutes), NOON
    coming = deque(sorted(jobs, key=lambda job: job.asked_at))
    waits: dict[JobId, float] = {
        job.job_id: (end - job.asked_at).total_seconds() for job in jobs if job.user_id != FLOODER
    }
    seconds: dict[UserId, float] = defaultdict(float)
    flooder = [(0.0, 0.0)]
    while now < end:
        while coming and coming[0].asked_at <= now:
            arm.waits(coming.popleft())
        job = arm.choose(now)
        if job is None:
            if not coming:
                break
            now = coming[0].asked_at
            continue
        if job.user_id != FLOODER:
            waits[job.job_id] = (now - job.asked_at).total_seconds()
        now += timedelta(seconds=job.seconds)
        seconds[job.user_id] += job.seconds
        flooder.append(((now - NOON).total_seconds() / 60, seconds[FLOODER] / 60))
    return Served(list(waits.values()), dict(seconds), flooder)


def jain(served: Served, jobs: Sequence[Waiting], minutes: float) -> float:
    """Jain's index: 1 if all people got the same part of their fair share, 1 / n if one person got everything."""
    asked: dict[UserId, float] = defaultdict(float)
    for job in jobs:
        asked[job.user_id] += job.seconds
    even = max_min(list(asked.values()), minutes * 60)
    parts = [served.seconds.get(user, 0.0) / min(wanted, even) for user, wanted in asked.items()]
    return sum(parts) ** 2 / (len(parts) * sum(part**2 for part in parts))


def max_min(wanted: Sequence[float], capacity: float) -> float:
    """The even share, in GPU seconds: people who want less leave the rest to the others."""
    left = capacity
    for n, one in enumerate(ordered := sorted(wanted)):
        if one * (len(ordered) - n) >= left:
            return left / (len(ordered) - n)
        left -= one
    return ordered[-1]


def run(minutes: float, light: int, out: Path) -> str:
    jobs = arrivals(minutes, light)
    rows, lines, shares = [], {}, {}
    for name, arm in ARMS.items():
        served = serve(jobs, arm(), minutes)
        rows.append(
            [
                name,
                f"{jain(served, jobs, minutes):.3f}",
                *(f"{quantile(served.waits, share):.0f}" for share in (0.5, 0.95, 1.0)),
                f"{served.seconds.get(FLOODER, 0.0) / 60:.0f}",
            ]
        )
        lines[name] = [(share * 100, quantile(served.waits, share)) for share in [n / 100 for n in range(1, 101)]]
        shares[name] = served.flooder
    charts = [
        Chart("waits of those who ask now and then", "of a hundred requests", "waited at most, s", lines),
        Chart("the one who floods", "minutes", "GPU minutes", shares),
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "fairness.svg").write_text(svg(charts), encoding="utf-8")
    head = ["", "Jain's index", "light p50 s", "light p95 s", "longest s", "flooder's GPU minutes"]
    return table(head, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--light", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    print(run(arguments.minutes, arguments.light, arguments.out))
