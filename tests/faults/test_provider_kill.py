"""The bot is killed while a provider paints: nothing is lost without a word, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bot.app import App, open_app
from bot.jobs import Job, JobId, JobStatus, Surface
from tests.faults.provider_victim import WHO, config_of
from tests.provider_server import COST, KEY, ProviderServer, provider_server

ESTIMATE = 52_725
"""1756 tokens of output and 9 of words."""


async def victim(data: Path, server: ProviderServer) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.faults.provider_victim", str(data), server.base_url),
        env={**os.environ, "ATELIER_KEY_FAR": KEY},
    )


async def killed(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def ended(app: App, count: int) -> list[Job]:
    changed = app.database.listen()
    async with asyncio.timeout(60):
        while True:
            changed.clear()
            jobs = [await app.queue.get(JobId(number)) for number in range(1, count + 1)]
            known = [job for job in jobs if job is not None and job.status not in ("queued", "running")]
            if len(known) == count:
                return known
            await changed.wait()


async def test_a_kill_while_a_provider_paints_pays_at_most_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_KEY_FAR", KEY)
    async with provider_server() as server:
        server.open.clear()
        process = await victim(tmp_path, server)
        async with asyncio.timeout(60):
            while len(server.asked) < 2:  # noqa: ASYNC110 - the process tells nothing else
                await asyncio.sleep(0.02)
        await killed(process)
        server.open.set()
        async with open_app(config_of(tmp_path, server.base_url), Surface.DISCORD) as app:
            paid, free = await ended(app, 2)
            spent = (await app.policy.purse(await app.policy.ruling(WHO))).funds
        assert (paid.status, free.status) == (JobStatus.FAILED, JobStatus.RENDERED)
        assert "may have charged the host" in (paid.reason or "")
        assert [fund.used for fund in spent] == [0, ESTIMATE, ESTIMATE]
        assert sorted(asked.fields["model"] for asked in server.asked) == ["gpt-image-2", "sd-turbo", "sd-turbo"]


async def test_a_kill_after_the_answer_keeps_what_was_billed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_KEY_FAR", KEY)
    async with provider_server() as server:
        process = await victim(tmp_path, server)
        async with asyncio.timeout(60):
            while len(server.asked) < 2:  # noqa: ASYNC110 - the process tells nothing else
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await killed(process)
        async with open_app(config_of(tmp_path, server.base_url), Surface.DISCORD) as app:
            paid, free = await ended(app, 2)
            spent = (await app.policy.purse(await app.policy.ruling(WHO))).funds
        assert free.status is JobStatus.RENDERED
        assert sum(asked.fields["model"] == "gpt-image-2" for asked in server.asked) == 1
        charged = {JobStatus.RENDERED: COST, JobStatus.FAILED: 0}[paid.status]
        assert spent[0].used == charged
        assert spent[2].used in (COST, ESTIMATE)
