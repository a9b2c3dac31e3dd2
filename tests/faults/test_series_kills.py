"""A prompt that stands for six, killed at any side effect: the series is whole or never accepted, and shown once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import points
from tests.faults.stage import open_stage
from tests.local_discord import ADA, CHANNEL

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")

SIX = "a {red, green, blue} {iris, lotus}"
FEW = 6


async def played(folder: Path, number: int = 0) -> tuple[int, list[str]]:
    """Play it, with a kill at a crash point; returns how many points were passed, and what was broken."""
    (folder / "data").mkdir(parents=True)
    async with open_stage(folder, number) as stage:
        await stage.accept(lambda: stage.discord.type("imagine", ADA, CHANNEL, prompt=SIX))
        await stage.idle()
        await stage.close()
    broken = []
    jobs = stage.rows("SELECT * FROM jobs_with_post ORDER BY id")
    by_series = Counter(job["series_id"] for job in jobs)
    if not by_series or set(by_series.values()) != {6}:
        broken.append(f"a series has not six jobs: {by_series}")
    broken += [f"job {job['id']} ended as {job['status']}" for job in jobs if job["status"] != "delivered"]
    # An acceptance whose message nobody could see is withdrawn, so nothing is owed for it.
    # On a slow machine the person is told that it is ready; that message shows nothing.
    shown = [message for message in stage.discord.public() if "ready: https://" not in message.content]
    wanted = {str(job["message_id"]) for job in jobs}
    if {message.id for message in shown} != wanted or len(wanted) != 2 * len(by_series):
        broken.append(f"{len(jobs)} jobs are shown by {[message.content for message in shown]}")
    for message in shown:
        of_post = [job["id"] for job in jobs if str(job["message_id"]) == message.id]
        kept = stage.rows(
            "SELECT coalesce(delivered_sha256, sha256) AS sha256, sha256 AS painted FROM images "
            f"WHERE job_id IN ({', '.join(map(str, of_post))}) ORDER BY job_id"
        )
        if [row["sha256"] for row in kept] != [file["sha256"] for file in message.attachments]:
            broken.append(f"a message shows {len(message.attachments)} pictures, and {len(kept)} are kept")
        if "waits" in message.content or "is being painted" in message.content:
            broken.append(f"a message still says {message.content!r}")
    for row in stage.rows("SELECT sha256 FROM images"):
        file = next((stage.data / "pictures").rglob(f"{row['sha256']}*"), None)
        if file is None or hashlib.sha256(file.read_bytes()).hexdigest() != row["sha256"]:
            broken.append(f"the file {row['sha256']} is gone")
    if "iris" in stage.log or "Traceback" in stage.log:
        broken.append("the log has words of the prompt, or an error")
    return len((folder / "points").read_text(encoding="utf-8").splitlines()), broken


async def test_a_kill_at_any_side_effect_leaves_a_series_whole(tmp_path: Path) -> None:
    count, broken = await played(tmp_path / "0")
    assert broken == []
    assert await points.broken(played, tmp_path, range(count // FEW, count, count // FEW)) == {}
