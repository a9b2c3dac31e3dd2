"""A bot without Discord whose only lanes are on the hosts of a Ray cluster, for `test_cluster_kills.py`.

    python -m tests.bot.engine.ray_bot ADDRESS FOLDER JOBS

It queues so many jobs, unless the database has some, and ends when all of them are painted. FOLDER/ready appears once
every lane is ready.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot.app import App, open_app
from bot.config import Config, EngineConfig, LimitsConfig, RayConfig
from bot.engine.cluster import engines
from bot.engine.fleet import Fleet
from bot.jobs import ChannelId, Destination, GenerationRequest, GuildId, JobId, MessageId, Requester, Surface, UserId
from bot.logs import setup_logging

LIGHT = (sys.executable, str(Path(__file__).parents[2] / "faults" / "light_engine.py"))


def request(number: int) -> GenerationRequest:
    """The request of a job; it takes its last step once a file `go` exists."""
    prompt = f"apple {number} held by go"
    return GenerationRequest(prompt, "emoji", 16, 16, 3, 3.0, seed=number)


async def queue(app: App, jobs: int) -> None:
    """Put the jobs into the queue, as requests whose messages are there."""

    async def admit(_: object) -> None:
        return

    for number in range(1, jobs + 1):
        who, where = Requester(UserId(number), GuildId(1)), Destination(ChannelId(1), MessageId(number))
        await app.queue.enqueue(who, where, request(number), interaction_id=None, admit=admit, seconds=1.0)


async def run(address: str, folder: Path, jobs: int) -> None:
    """Paint all jobs."""
    ray = RayConfig(lanes=2, address=address, folder=str(folder / "there"))
    limits = LimitsConfig(pace=10_000, depth=1000, quota=1_000_000)
    config = Config(
        data=folder / "data", encrypt=False, limits=limits, engine=EngineConfig(devices="none", ray=ray, slots=4)
    )

    async def nothing(_: str) -> str:
        return ""

    fleet = Fleet(await engines(config, None, nothing, painter=(*LIGHT, str(folder))), ["emoji"])
    painting = asyncio.create_task(fleet.run())
    try:
        async with open_app(config, Surface.DISCORD, engine=fleet) as app:
            if await app.queue.get(JobId(1)) is None:
                await queue(app, jobs)
            for lane in fleet.lanes:
                await lane.ready()
            (folder / "ready").touch()
            while await app.queue.depth() or await app.queue.running():  # noqa: ASYNC110 - a test's own wait
                await asyncio.sleep(0.1)
    finally:
        painting.cancel()
        await asyncio.gather(painting, return_exceptions=True)


if __name__ == "__main__":
    setup_logging("info")
    asyncio.run(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
