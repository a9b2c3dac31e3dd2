"""A desk where nobody hurries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.delivery import endings, gate, progress
from bot.storage.database import open_database
from tests.bot.delivery.desk import Desk


@pytest.fixture
def posts_per_channel() -> int:
    """So many that nobody waits; the tests of the throttle say otherwise."""
    return 10_000


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses but those a test is about."""
    monkeypatch.setattr("bot.storage.database.INSIST_SECONDS", 0.01)
    monkeypatch.setattr(progress, "EDIT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(endings, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(gate, "LONGEST_PAUSE_SECONDS", 0.0)


@pytest.fixture
async def desk(tmp_path: Path, posts_per_channel: int, unhurried: None) -> AsyncIterator[Desk]:
    """A desk on a database of its own."""
    async with open_database(tmp_path / "atelier.db") as database:
        yield Desk(database, tmp_path, posts_per_channel)
