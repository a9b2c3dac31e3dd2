"""A bot that asks a provider for one picture and is killed meanwhile: `python -m tests.faults.provider_victim`.

The arguments are the data folder and the address of the provider. It asks for a picture as /imagine does, without
Discord, and then works until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot.app import open_app
from bot.config import BillConfig, Config, EngineConfig
from bot.jobs import ChannelId, Destination, GuildId, MessageId, Requester, Surface, UserId
from bot.requests.options import Options

WHO = Requester(UserId(1), GuildId(2))


def config_of(data: Path, base_url: str) -> Config:
    """A model that costs money and one that is free."""
    return Config(
        data=data,
        providers=[{"name": "far", "base_url": base_url, "per_minute": 1000}],
        models=[
            {"name": "two", "provider": "far", "source": "gpt-image-2", "api": {"previews": 0}},
            {"name": "free", "provider": "far", "source": "sd-turbo"},
        ],
        engine=EngineConfig(safety="off", mark=False),
        bill=BillConfig(money=1000),
    )


async def main(data: Path, base_url: str) -> None:
    """Ask for one picture of each model, and wait."""
    async with open_app(config_of(data, base_url), Surface.DISCORD) as app:
        for model in ("two", "free"):
            quote = await app.admission.quote(WHO, Options("a cat", model=model), Destination(ChannelId(3)))
            admitted = await app.admission.admit(quote)
            assert admitted is not None
            await app.queue.place_message(admitted.job.id, MessageId(admitted.job.id + 100))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
