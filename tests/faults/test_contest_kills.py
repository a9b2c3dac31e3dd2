"""A contest from its theme to its winner, killed at any side effect: its messages, copy and count are there once.

    python -m tests.faults.test_contest_kills [FIRST [LAST [EVERY]]]

plays every point, and prints what was broken.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.jobs import to_text, utcnow
from bot.storage.database import open_database
from tests.faults import points
from tests.faults.invariants import GALLERY
from tests.faults.stage import Stage, Stuck, open_stage
from tests.local_discord import ADA, BOB, CLEO, GUILD, MODERATOR, Interaction, Message, Person

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")

FEW = 4
"""How many points the test plays."""


async def insisted(stage: Stage, act: Callable[[], Any], done: Callable[[], Any]) -> None:
    """Let a person act, again and again, until the rows say that it is done."""
    for _ in range(60):
        if done():
            return
        await stage._insist(act, done)
        await asyncio.sleep(0.1)
    raise Stuck(f"it was not done: {stage.rows('SELECT * FROM contests')}")


async def ended_part(stage: Stage, column: str, state: str) -> None:
    """Let a moderator end the part of the contest that is on, once."""

    async def end() -> Interaction:
        return await stage.discord.type("contest end", MODERATOR, contest=1)

    past = f"SELECT 1 FROM contests WHERE {column} <= ?"
    await insisted(stage, end, lambda: stage.rows(past, to_text(utcnow())))
    await stage.until_rows(f"SELECT 1 FROM contests WHERE state = '{state}' AND changed = shown", 1)


def message(stage: Stage) -> Message:
    (row,) = stage.rows("SELECT message_id FROM contests")
    return stage.discord.messages[str(row["message_id"])]


async def played(folder: Path, number: int = 0) -> tuple[int, list[str]]:
    """Play it, with a kill at a crash point; returns how many points were passed, and what was broken."""
    (folder / "data").mkdir(parents=True)
    async with open_database(folder / "data" / "atelier.db") as database:
        await database.execute(f"INSERT INTO rules VALUES ({GUILD}, 'server', 0, 'gallery', '[{GALLERY}, 9]')")
    async with open_stage(folder, number) as stage:
        for person, word in ((ADA, "iris"), (BOB, "lotus")):
            await stage.ask(person, f"an {word}")
            await stage.ended(word)
        await stage.idle()

        async def start() -> Interaction:
            return await stage.discord.type("contest start", MODERATOR, theme="anemones", entries="1d")

        await insisted(stage, start, lambda: stage.rows("SELECT 1 FROM contests"))
        await stage.until_rows("SELECT 1 FROM contests WHERE message_id IS NOT NULL AND changed = shown", 1)
        for person in (ADA, BOB):
            await entered(stage, person)
        await ended_part(stage, "entries_until", "voting")
        (entry,) = stage.rows("SELECT id FROM contest_entries WHERE user_id = ?", ADA.id)
        vote = f"a2:contestvote:{entry['id']}:1"
        await insisted(
            stage,
            lambda: stage.discord.press(message(stage), vote, CLEO),
            lambda: stage.rows("SELECT 1 FROM contest_votes"),
        )
        await ended_part(stage, "votes_until", "counted")
        await stage.until(lambda: stage.aside(GALLERY), "the winner was not copied")
        await stage.close()
    return len((folder / "points").read_text(encoding="utf-8").splitlines()), broken(stage)


async def entered(stage: Stage, person: Person) -> None:
    """Let a person enter their result."""
    (job,) = stage.rows("SELECT id FROM jobs WHERE user_id = ?", person.id)

    async def enter() -> Interaction:
        return await stage.discord.type("contest enter", person, result=str(job["id"]))

    mine = "SELECT 1 FROM contest_entries WHERE user_id = ?"
    await insisted(stage, enter, lambda: stage.rows(mine, person.id))


def broken(stage: Stage) -> list[str]:
    """What is not as it must be, in words."""
    found = []
    (contest,) = stage.rows("SELECT * FROM contests")
    told = {name: contest[name] for name in ("state", "entrants", "voters", "best", "winners")}
    if told != {"state": "counted", "entrants": 2, "voters": 1, "best": 1, "winners": 1}:
        found.append(f"the contest ended as {told}")
    shown = [each for each in stage.discord.public() if each.content.startswith("**Contest")]
    if {each.id for each in shown} != {str(contest["message_id"]), str(contest["news_id"])} or len(shown) != 2:
        found.append(f"the contest is shown by {[each.content for each in shown]}")
    for each in shown:
        if "One picture won, with 1 of 1 vote" not in each.content or f"<@{ADA.id}>" not in each.content:
            found.append(f"a message says {each.content!r}")
        if each.components:
            found.append("a message of a contest that is over has buttons")
    pinged = [each.pinged for each in shown if each.pinged]
    if pinged != [{ADA.id}]:
        found.append(f"{pinged} were pinged")
    if len(stage.aside(GALLERY)) != 1:
        found.append(f"the gallery shows {stage.aside(GALLERY)}")
    if stage.rows("SELECT 1 FROM contest_votes") or len(stage.rows("SELECT 1 FROM contest_entries")) != 1:
        found.append("votes or entries are left")
    found += [f"the log has {word!r}" for word in ("iris", "anemones", "Traceback") if word in stage.log]
    return found


async def test_a_kill_at_any_side_effect_leaves_a_contest_whole(tmp_path: Path) -> None:
    count, found = await played(tmp_path / "0")
    assert found == []
    # The first half is about the pictures, which other tests kill.
    assert await points.broken(played, tmp_path, range(count // 2, count, count // 2 // FEW)) == {}


if __name__ == "__main__":
    points.main(played)
