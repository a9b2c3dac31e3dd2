"""A house where Discord delays nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.config import Config
from bot.delivery import gate, progress
from bot.engine.fake import FakeEngine
from tests.bot.queue.house import House, opened


@pytest.fixture
def unhurried_by_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's rate limits but the ones a test is about."""
    for module, name in ((progress, "EDIT_SECONDS"), (progress, "PROGRESS_SECONDS"), (gate, "THROTTLE_SECONDS")):
        monkeypatch.setattr(module, name, 0.0)


@pytest.fixture
async def house(config: Config) -> AsyncIterator[House]:
    """A house whose engine paints at once."""
    async with opened(config, FakeEngine()) as house:
        yield house
