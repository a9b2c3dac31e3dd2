"""How well the start times that people are told come true.

    python -m benchmarks.forecast [--requests 60] [--warm 12] [--rate 3] [--step SECONDS [SECONDS ...]]

The real app with the real engine process and the model in the box. First a few requests by which it learns its own
speed, then mixed ones at random times, so many a second that a line forms: 10 to 60 steps, one to three pictures, three
sizes, with and without guidance, of five people and every tenth of somebody new; now and then one who waits changes
their mind. Each one's start as told when it was accepted is compared with its start as it came: it came true if it was
off by no more than half of the wait, or by two seconds where that is more. Corrections are counted, and do not count.
Then, for those who waited when the last one asked, what was foreseen at that moment: from there on nobody came.

With `--step` lanes without weights take the place of the engine, one for each number: the seconds of a forward there.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from bot.app import App, open_app
from bot.config import Config, EngineConfig, LimitsConfig
from bot.delivery.poster import Repost, Shown
from bot.engine import Event, Order
from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.engine.timing import STEP
from bot.jobs import ChannelId, Destination, GuildId, Job, MessageId, News, Queued, Requester, Surface, UserId, utcnow
from bot.requests.admission import Admitted
from bot.requests.options import Options
from bot.storage.reports import KEPT_SECONDS, KEPT_SHARE


class Nowhere:
    """A poster that shows nothing to people and counts corrections."""

    def __init__(self) -> None:
        self.corrections = 0

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        self.corrections += isinstance(news, Queued)
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""


async def ask(app: App, number: int, choose: random.Random) -> Admitted:
    options = Options(
        "a red apple",
        steps=choose.randint(10, 60),
        images=choose.randint(1, 3),
        guidance_scale=choose.choice((1.0, 3.0, 3.0)),
        aspect=choose.choice(("1:1", "1:1", "3:2", "2:3")),
    )
    who = Requester(UserId(number % 5 if number % 10 else 1000 + number), GuildId(1))
    quote = await app.admission.quote(who, options, Destination(ChannelId(1)))
    admitted = await app.admission.admit(quote)
    assert admitted is not None
    await app.queue.place_message(admitted.job.id, MessageId(number + 1))
    return admitted


async def ended(app: App, admitted: Admitted) -> Job:
    while True:
        job = await app.queue.get(admitted.job.id)
        if job is not None and job.posted_at is not None:
            return job
        await asyncio.sleep(0.05)


def true_of(pairs: Sequence[tuple[float, float]]) -> str:
    """How many of the told waits came true, by the real waits."""
    kept = sum(abs(told - real) <= max(KEPT_SHARE * real, KEPT_SECONDS) for told, real in pairs)
    return f"{kept} of {len(pairs)} ({kept / max(len(pairs), 1):.0%})"


class Paced(FakeEngine):
    """A lane that takes one request at a time, and a given time for each of its forwards."""

    def __init__(self, name: str, step: float) -> None:
        super().__init__()
        self.name = name
        self._step = step

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint an order in its time, and learn that."""
        work = order.request.work
        self.seconds = work.forwards * self._step
        async with aclosing(super().submit(order)) as events:
            async for event in events:
                yield event
        self.timings.record(work.shape, STEP, work.rows, self._step)


async def run(requests: int, warm: int, rate: float, steps: Sequence[float] = ()) -> None:
    engine = Fleet([Paced(f"lane {number}", step) for number, step in enumerate(steps)]) if steps else None
    choose = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        limits = LimitsConfig(pace=10_000, depth=10_000, quota=1_000_000)
        config = Config(
            data=Path(folder) / "data", limits=limits, engine=EngineConfig(device="cpu", threads=1), log_level="error"
        )
        async with open_app(config, Surface.SANDBOX, engine=engine) as app:
            poster = Nowhere()
            app.delivery.attach(poster)
            for number in range(warm):
                await ended(app, await ask(app, number, choose))
            told = []
            for number in range(requests):
                told.append(await ask(app, number, choose))
                if not number % 10 and number:
                    # A person who waits cancels their request.
                    await app.dispatcher.cancel(choose.choice(told[-8:]).job.id)
                await asyncio.sleep(choose.expovariate(rate))
            then = utcnow()
            foreseen = {turn.job_id: turn.starts_at for turn in await app.line.turns()}
            jobs = [await ended(app, admitted) for admitted in told]
    pairs = []
    for admitted, job in zip(told, jobs, strict=True):
        if job.started_at is None:
            continue  # cancelled before its start
        pairs.append(
            ((admitted.starts_at - job.asked_at).total_seconds(), (job.started_at - job.asked_at).total_seconds())
        )
    last = [
        ((foreseen[job.id] - then).total_seconds(), (job.started_at - then).total_seconds())
        for job in jobs
        if job.started_at is not None and job.id in foreseen
    ]
    print(f"{true_of(pairs)} within half of the wait or {KEPT_SECONDS:.0f} s; {poster.corrections} corrections")
    print(f"of those who waited when the last one asked, by what was foreseen then: {true_of(last)}\n")
    print(
        "| told wait | requests | median told s | median real s | median error s | p90 error s | median error / wait |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for low, high in ((0.0, 2.0), (2.0, 10.0), (10.0, 1e9)):
        some = [(told, real) for told, real in pairs if low <= told < high]
        if not some:
            continue
        errors = sorted(abs(told - real) for told, real in some)
        ratio = statistics.median(abs(told - real) / max(real, 1.0) for told, real in some)
        name = f"{low:.0f} to {high:.0f} s" if high < 1e9 else f"over {low:.0f} s"
        print(
            f"| {name} | {len(some)} | {statistics.median(t for t, _ in some):.1f} | "
            f"{statistics.median(r for _, r in some):.1f} | {statistics.median(errors):.2f} | "
            f"{errors[int(0.9 * (len(errors) - 1))]:.2f} | {ratio:.0%} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--warm", type=int, default=12)
    parser.add_argument("--rate", type=float, default=3.0)
    parser.add_argument("--step", type=float, nargs="+", default=())
    arguments = parser.parse_args()
    asyncio.run(run(arguments.requests, arguments.warm, arguments.rate, arguments.step))
