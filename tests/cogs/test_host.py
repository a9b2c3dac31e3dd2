"""/host engines and `atelier engines`: the host sees the lanes, drains one and brings it back; nobody else does."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import simcord
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.app import heartbeat_of
from bot.engine import Engine
from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.findings import CheckStatus, engines
from bot.heartbeat import last_lanes
from bot.jobs import DRAINED, JobStatus
from cogs import _requests
from cogs.host import NOT_THE_HOST, _number
from tests.cogs.test_every_control import result
from tests.cogs.test_stats import make_host
from tests.conftest import Workshop

NAMES = ("gpu 0", "gpu 1")


@pytest.fixture
def engine() -> Engine:
    lanes = [FakeEngine() for _ in NAMES]
    for lane, name in zip(lanes, NAMES, strict=True):
        lane.name, lane.device, lane.warm = name, "cuda (H100)", ("emoji",)
    return Fleet(lanes)


def fakes(workshop: Workshop) -> Sequence[Any]:
    """The two lanes."""
    return workshop.app.engine.lanes


async def run_engines(workshop: Workshop, *options: str) -> tuple[int | None, str]:
    """Run `atelier engines` on the folder of the running bot, in a process of its own."""
    command = (sys.executable, "-m", "bot", "engines", *options, "--data", str(workshop.app.config.data))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_nobody_but_the_host_sees_or_drains_engines(workshop: Workshop) -> None:
    make_host(workshop, moderator=True)
    stage = await result(workshop)
    member = workshop.member("eve")
    with pytest.raises(simcord.SetupError):
        await member.slash(workshop.channel, "host engines")
    await workshop.open_group("host", member)
    for eve in (member, workshop.member("mod", moderator=True)):
        refused = await eve.slash(workshop.channel, "host engines")
        assert (refused.ephemeral, refused.response.content) == (True, NOT_THE_HOST)
        pressed = await stage.use(eve, f"a2:drain:{_number('gpu 0')}:0")
        assert pressed.response.content == NOT_THE_HOST
    assert workshop.app.lanes.drained == frozenset()


async def test_the_host_drains_a_lane_and_brings_it_back(workshop: Workshop) -> None:
    host, ada = make_host(workshop, moderator=True), workshop.member("ada")
    first, second = fakes(workshop)
    second.trouble("flux", "Its file is gone.")
    shown = await host.slash(workshop.channel, "host engines")
    words = shown.response.content
    assert "**gpu 0** — It takes requests." in words
    assert "cuda \\(H100\\) · 0 of 1 places taken · loaded: emoji" in words
    assert "flux: Its file is gone." in words
    await host.click(shown.response, label="Drain gpu 0")
    assert workshop.app.lanes.drained == {"gpu 0"}
    for _ in range(3):
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended(3)
    assert (len(first.orders), len(second.orders)) == (0, 3)
    await workshop.restart()
    assert workshop.app.lanes.drained == {"gpu 0"}, "it stays drained over a restart"
    workshop.env.bot.owner_id = host.id
    again = await host.slash(workshop.channel, "host engines")
    assert "⏸️ **gpu 0** — Drained: it gets nothing new." in again.response.content
    await host.click(again.response, label="Bring back gpu 0")
    await host.click(again.response, label="Drain gpu 1")
    await ada.slash(workshop.channel, "imagine", prompt="a dog")
    await workshop.ended(4)
    assert (len(first.orders), len(second.orders)) == (1, 3)


async def test_a_lane_that_was_missing_at_a_start_comes_back_drained(workshop: Workshop) -> None:
    host = make_host(workshop, moderator=True)
    await workshop.app.lanes.drain("gpu 1")
    await workshop.app.lanes.drain("gpu 0")
    lanes = fakes(workshop)
    await workshop.restart(lanes[0])
    workshop.env.bot.owner_id = host.id
    shown = await host.slash(workshop.channel, "host engines")
    assert "Drained, and missing since the last start: gpu 1" in shown.response.content
    path = heartbeat_of(workshop.app.config.data)
    states = [asdict(state) for state in workshop.app.lane_states()]
    path.write_text(json.dumps({"at": time.time(), "connected": True, "engine": "", "lanes": states}))
    _, output = await run_engines(workshop)
    assert "gpu 1: drained; the bot that runs does not have it." in output
    path.unlink()
    await workshop.app.lanes.bring_back("gpu 0")
    await workshop.restart(Fleet(lanes))
    assert workshop.app.lanes.drained == {"gpu 1"}
    await workshop.app.lanes.bring_back("gpu 1")
    await workshop.restart(lanes[0])
    rows = await workshop.app.database.fetch_all("SELECT name FROM lanes")
    assert [row["name"] for row in rows] == ["gpu 0"], "what is not drained is forgotten with its lane"


async def test_the_host_reads_what_to_do_about_a_lane_that_is_stopped(workshop: Workshop) -> None:
    host = make_host(workshop, moderator=True)
    first, second = fakes(workshop)
    first.trouble("", "far is out of credit.")
    first.advice = "Pay far."
    second.is_up = False
    shown = await host.slash(workshop.channel, "host engines")
    assert "🔴 **gpu 0**" in shown.response.content
    assert "-# far is out of credit.\n-# Pay far." in shown.response.content
    path = heartbeat_of(workshop.app.config.data)
    states = [asdict(state) for state in workshop.app.lane_states()]
    path.write_text(json.dumps({"at": time.time(), "connected": True, "engine": "", "lanes": states}))
    _, output = await run_engines(workshop)
    assert "  far is out of credit.\n  Pay far." in output
    bad, waits = engines(last_lanes(path, time.time()))
    told = "Engine gpu 0", CheckStatus.BAD, "far is out of credit.", "Pay far."
    assert (bad.what, bad.status, bad.words, bad.remedy) == told
    assert (waits.what, waits.status, waits.words) == ("Engine gpu 1", CheckStatus.NOTE, "It is not up.")


async def test_the_host_sees_the_engines_in_a_direct_message(workshop: Workshop) -> None:
    host = make_host(workshop)
    shown = await host.user.slash("host engines")
    assert "**gpu 0**" in shown.response.content


async def test_a_drained_lane_finishes_what_it_has(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for lane in fakes(workshop):
        lane.open.clear()
    for _ in NAMES:
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.seen(lambda: all(lane.held for lane in fakes(workshop)))
    await workshop.app.lanes.drain("gpu 0")
    assert workshop.app.lane_states()[0].words == "Drained: it finishes what it has."
    for lane in fakes(workshop):
        lane.open.set()
    assert [job.status for job in await workshop.ended(2)] == [JobStatus.DELIVERED] * 2
    assert workshop.app.lane_states()[0].words == "Drained: it gets nothing new."


async def test_while_every_lane_is_drained_requests_wait_and_say_so(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for name in NAMES:
        await workshop.app.lanes.drain(name)
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    assert _requests.ALL_DRAINED in asked.response.content
    shown = await ada.slash(workshop.channel, "queue")
    assert "the host has stopped the engines for it, keeps its place" in shown.response.content
    (job,) = await workshop.jobs()
    row = await workshop.app.database.fetch_one("SELECT promised_at, stated_place FROM jobs")
    assert row is not None
    assert (row["promised_at"], row["stated_place"]) == (None, DRAINED.place), "no start was promised"
    assert job.status is JobStatus.QUEUED
    await workshop.app.lanes.bring_back("gpu 1")
    assert [job.status for job in await workshop.ended()] == [JobStatus.DELIVERED]


async def test_a_request_that_waits_is_told_that_its_lanes_were_drained(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for lane in fakes(workshop):
        lane.open.clear()
    for _ in range(3):
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
    for name in NAMES:
        await workshop.app.lanes.drain(name)
    message = (await workshop.jobs())[-1].destination.message_id
    await workshop.seen(lambda: _requests.ALL_DRAINED in workshop.message(message).content)
    for lane in fakes(workshop):
        lane.open.set()


async def test_the_command_line_drains_a_lane_of_the_running_bot(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    path = heartbeat_of(workshop.app.config.data)
    states = [asdict(state) for state in workshop.app.lane_states()]
    path.write_text(json.dumps({"at": time.time(), "connected": True, "engine": "", "lanes": states}))
    code, output = await run_engines(workshop, "--drain", "gpu 1")
    assert (code, "gpu 1: Drained: it gets nothing new." in output) == (0, True), output
    assert "gpu 0: It takes requests." in output
    assert "cuda (H100) · 0 of 1 places taken" in output
    await workshop.seen(lambda: workshop.app.lanes.drained == {"gpu 1"})
    for _ in range(2):
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended(2)
    assert [len(lane.orders) for lane in fakes(workshop)] == [2, 0]
    path.unlink()
    _, output = await run_engines(workshop, "--bring-back", "gpu 1")
    assert output.splitlines() == [f"{name}: not drained; the bot does not run." for name in NAMES]
    await workshop.seen(lambda: not workshop.app.lanes.drained)


async def test_the_command_line_names_the_engines_when_one_is_mistyped(workshop: Workshop) -> None:
    code, output = await run_engines(workshop, "--drain", "gpu 7")
    assert code == 78
    assert "There is no engine called 'gpu 7'. There is: gpu 0, gpu 1." in output


def test_the_command_line_needs_a_database(tmp_path: Any) -> None:
    refused = CliRunner().invoke(cli, ["engines", "--data", str(tmp_path)])
    assert (refused.exit_code, "start Atelier once" in refused.output) == (1, True)


async def test_a_button_of_a_lane_that_is_gone_says_so(workshop: Workshop) -> None:
    host = make_host(workshop, moderator=True)
    shown = await host.slash(workshop.channel, "host engines")
    await workshop.restart(FakeEngine())
    workshop.env.bot.owner_id = host.id
    gone = await host.click(shown.response, label="Drain gpu 0")
    assert "There is no such engine any more." in gone.response.content
