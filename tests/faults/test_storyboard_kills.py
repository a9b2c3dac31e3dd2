"""A storyboard that is made and changed, killed at any side effect: it is whole, shown once, and as its rows say.

    python -m tests.faults.test_storyboard_kills [FIRST [LAST [EVERY]]]

plays every point, and prints what was broken.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults import points
from tests.faults.stage import Stage, Stuck, open_stage
from tests.local_discord import Interaction

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")

PANELS = ("an iris opens", "an iris stands", "an iris fades")
REWORDED = "an iris dances"
FEW = 4
"""How many points the test plays."""


async def changed(stage: Stage, act: Callable[[], Awaitable[Interaction]], *answers: str) -> None:
    """Let Ada change a panel, again and again, until the bot answers that it is done."""
    for _ in range(40):
        answer = await stage._insist(act, lambda: False)
        assert answer is not None
        if answer.content.startswith(answers):
            await stage.idle()
            return
        # An earlier attempt was taken, and its panel is not painted yet.
        await asyncio.sleep(0.1)
    raise Stuck(f"a panel was not changed: {answer.content}")


async def played(folder: Path, number: int = 0) -> tuple[int, list[str]]:
    """Play it, with a kill at a crash point; returns how many points were passed, and what was broken."""
    (folder / "data").mkdir(parents=True)
    async with open_stage(folder, number) as stage:
        filled = {"title": "A day", "panels": "\n".join(PANELS), "look": "ink", "strength": "0.7"}
        message = await stage.accept(lambda: stage.discord.submit("a2:storyboard:0:0", **filled))
        await stage.idle()
        (row,) = stage.rows(f"SELECT min(id) AS first FROM jobs_with_post WHERE message_id = {message.id}")
        first = row["first"]
        press = stage.discord.press
        await changed(stage, lambda: press(message, f"a2:panelagain:{first}:2"), "About")
        await changed(stage, lambda: stage.discord.submit(f"a2:panelwords:{first}:1", prompt=REWORDED), "About")
        await changed(stage, lambda: press(message, f"a2:panelearlier:{first}:3"), "Moved", "This panel is the first")
        await stage.close()
    return len((folder / "points").read_text(encoding="utf-8").splitlines()), broken(stage)


def broken(stage: Stage) -> list[str]:
    """What is not as it must be, in words."""
    found = []
    jobs = stage.rows("SELECT * FROM jobs_with_post ORDER BY id")
    found += [f"job {job['id']} ended as {job['status']}" for job in jobs if job["status"] != "delivered"]
    shown = {message.id: message for message in stage.discord.public()}
    boards = stage.rows("SELECT * FROM series")
    if len(shown) != len(boards):
        found.append(f"{len(boards)} storyboards are shown by {[each.content for each in shown.values()]}")
    reworded = 0
    for series in boards:
        panels = stage.rows(f"SELECT * FROM panels WHERE series_id = {series['id']} ORDER BY place")
        of_series = {job["id"]: job for job in jobs if job["series_id"] == series["id"]}
        if [panel["place"] for panel in panels] != [1, 2, 3] or {panel["number"] for panel in panels} != {1, 2, 3}:
            found.append(f"panels {panels}")
        posts = {str(job["message_id"]) for job in of_series.values()}
        message = shown.get(next(iter(posts)))
        if len(posts) != 1 or message is None:
            found.append(f"storyboard {series['id']} is shown by {posts}")
            continue
        reworded += REWORDED in message.content
        for panel in panels:
            job = of_series.get(panel["job_id"])
            line = f"{panel['place']}. {panel['words']} · seed"
            if panel["number"] > 1 and not (job and json.loads(job["request"])["image"]):
                found.append(f"panel {panel['number']} starts from no picture")
            if job is None or line not in message.content or f"/show id:{job['id']}`" not in message.content:
                found.append(f"{line!r} with job {panel['job_id']} is not in {message.content!r}")
        if [file["filename"] for file in message.attachments] != [f"storyboard-{series['id']}.png"]:
            found.append(f"a storyboard shows {message.attachments}")
    if not reworded:
        found.append("no storyboard has the new words")
    for row in stage.rows("SELECT sha256 FROM images"):
        file = next((stage.data / "pictures").rglob(f"{row['sha256']}*"), None)
        if file is None or hashlib.sha256(file.read_bytes()).hexdigest() != row["sha256"]:
            found.append(f"the file {row['sha256']} is gone")
    if "iris" in stage.log or "Traceback" in stage.log:
        found.append(f"the log has words of the prompt, or an error: {stage.log[-3000:]}")
    return found


async def test_a_kill_at_any_side_effect_leaves_a_storyboard_whole(tmp_path: Path) -> None:
    count, found = await played(tmp_path / "0")
    assert found == []
    assert await points.broken(played, tmp_path, range(count // (FEW + 1), count, count // FEW)) == {}


if __name__ == "__main__":
    points.main(played)
