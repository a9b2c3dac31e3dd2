"""An animation, killed at its side effects: it is painted again until its file is kept, and then only shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import points
from tests.faults.stage import open_stage
from tests.local_discord import ADA, CHANNEL, Interaction

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")

FEW = 8


async def played(folder: Path, number: int = 0) -> tuple[int, list[str]]:
    """Play it, with a kill at a crash point; returns how many points were passed, and what was broken."""
    (folder / "data").mkdir(parents=True)
    async with open_stage(folder, number) as stage:

        async def type_() -> Interaction:
            return await stage.discord.type("animate", ADA, CHANNEL, prompt="an iris", to="a lotus", frames=4)

        answer = await stage._insist(type_, lambda: False)
        assert answer is not None
        await stage.ended("iris")
        await stage.idle()
        await stage.close()
    broken = []
    jobs = stage.rows("SELECT * FROM jobs_with_post ORDER BY id")
    broken += [f"job {job['id']} ended as {job['status']}" for job in jobs if job["status"] != "delivered"]
    broken += [f"job {job['id']} took {job['attempt']} attempts" for job in jobs if job["attempt"] > 2]
    # On a slow machine the person is told that it is ready; that message shows nothing.
    shown = {message.id: message for message in stage.discord.public() if "is ready: https://" not in message.content}
    if set(shown) != {str(job["message_id"]) for job in jobs} or len(shown) != len(jobs) or not jobs:
        broken.append(f"{len(jobs)} jobs are shown by {[message.content for message in shown.values()]}")
    for job in jobs:
        kept = stage.rows(f"SELECT coalesce(delivered_sha256, sha256) AS sha256 FROM images WHERE job_id = {job['id']}")
        files = shown[str(job["message_id"])].attachments if str(job["message_id"]) in shown else []
        if [row["sha256"] for row in kept] != [file["sha256"] for file in files] or len(kept) != 1:
            broken.append(f"job {job['id']} shows {len(files)} files, and {len(kept)} are kept")
    if "iris" in stage.log or "lotus" in stage.log or "Traceback" in stage.log:
        broken.append("the log has words of a prompt, or an error")
    return len((folder / "points").read_text(encoding="utf-8").splitlines()), broken


async def test_a_kill_at_any_side_effect_leaves_one_animation(tmp_path: Path) -> None:
    count, broken = await played(tmp_path / "0")
    assert broken == []
    assert await points.broken(played, tmp_path, range(1, count, max(count // FEW, 1))) == {}
