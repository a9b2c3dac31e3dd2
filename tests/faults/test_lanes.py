"""Two engine processes beside each other: one of them, or the bot, is killed under load."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.stage import Stage, open_stage
from tests.faults.test_process import pictures
from tests.local_discord import ADA, BOB, Message

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops processes by POSIX signals")

REQUESTS = 24


@pytest.fixture(autouse=True)
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bots of these tests paint in two processes."""
    monkeypatch.setenv("ATELIER_ENGINE__DEVICES", '["cpu", "cpu"]')
    monkeypatch.setenv("ATELIER_ENGINE__SLOTS", "4")


async def under_load(stage: Stage) -> list[Message]:
    """Requests of two people, of which both processes have some and finish none."""
    messages = [
        await stage.ask(person, f"anemone {number} held by gate")
        for number in range(REQUESTS // 2)
        for person in (ADA, BOB)
    ]
    await stage.until_rows("SELECT 1 FROM jobs WHERE status = 'running'", 8)
    assert len(stage.engines()) == 2
    return messages


def check_each_once(stage: Stage, messages: list[Message]) -> None:
    """Every request has its one picture, and no picture is anywhere else."""
    assert sorted(name for message in messages for name in pictures(message)) == sorted(
        f"atelier-{number}-1.png" for number in range(1, REQUESTS + 1)
    )
    assert not any(pictures(message) for message in stage.discord.public() if message not in messages)
    assert len(stage.rows("SELECT 1 FROM images")) == REQUESTS


async def test_when_one_engine_is_killed_the_other_goes_on_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        messages = await under_load(stage)
        killed, kept = stage.engines()
        killed.kill()
        await stage.until_rows(
            "SELECT 1 FROM jobs WHERE attempt > 1 OR deaths > 0 OR status = 'queued' AND attempt = 1", 4
        )
        (tmp_path / "gate").touch()
        await stage.idle()

        check_each_once(stage, messages)
        assert kept.is_running()
        assert stage.deaths == 0
        await stage.close()


async def test_when_the_bot_is_killed_both_engines_go_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        messages = await under_load(stage)
        before = {process.pid for process in stage.engines()}
        stage.kill()
        await stage.until(lambda: stage.discord.identified == 2, "it did not come back")
        (tmp_path / "gate").touch()
        await stage.idle()

        check_each_once(stage, messages)
        after = {process.pid for process in stage.engines()}
        assert len(after) == 2
        assert not before & after
        assert stage.deaths == 1
        await stage.close()
