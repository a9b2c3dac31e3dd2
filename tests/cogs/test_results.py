"""Results at the edge of a run: what meets a client that is closing."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from bot.errors import TryLater
from bot.jobs import Failed
from tests.conftest import Workshop


async def repost() -> None:
    return None


async def test_what_meets_a_closed_session_is_left_to_the_next_run(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aiohttp says it where the bot is stopped while a result is on its way."""
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a fox")
    (job,) = await workshop.ended()
    results: Any = workshop.env.bot.get_cog("Results")

    async def edit(*_: object, **__: object) -> None:
        raise RuntimeError("Session is closed")

    with monkeypatch.context() as patch:
        patch.setattr(discord.PartialMessage, "edit", edit)
        with pytest.raises(RuntimeError):
            await results.show(job, Failed("It did not work."), repost)
        patch.setattr(type(workshop.env.bot), "is_closed", lambda _: True)
        with pytest.raises(TryLater, match="Atelier is stopping"):
            await results.show(job, Failed("It did not work."), repost)
