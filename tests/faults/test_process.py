"""The bot process while the gateway, the API and the engine fail, one after the other."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import re
import struct
import time
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from PIL import Image

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import SAMPLERS
from bot.errors import UserError
from bot.requests.options import Options
from bot.requests.resolve import resolve
from tests.faults.light_engine import picture
from tests.faults.stage import TOKEN, Stage, open_stage
from tests.local_discord import ADA, BOB, Fault, Interaction, Message

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops processes by POSIX signals")

RESULT = r"^PATCH /api/channels/\d+/messages/\d+$"


def pictures(message: Message) -> list[str]:
    """The names of the pictures of a message."""
    return [attachment["filename"] for attachment in message.attachments]


async def painting(stage: Stage, message: Message) -> None:
    """Wait until a message says that its picture is being painted."""
    await stage.until(lambda: "Painting" in message.content, "it was not begun")


async def test_a_hundred_requests_outlive_a_kill_and_go_on_at_once(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        messages = [
            await stage.ask(person, f"anemone {number} held by gate", str(400 + number % 5))
            for number in range(50)
            for person in (ADA, BOB)
        ]
        (tmp_path / "gate").touch()
        await stage.until(lambda: any(map(pictures, messages)), "nothing was painted")
        stage.kill()
        await stage.until(lambda: discord.identified == 2, "it did not come back")
        ready, before = time.monotonic(), sum(map(bool, map(pictures, messages)))
        await stage.until(lambda: sum(map(bool, map(pictures, messages))) > before, "it did not go on")
        assert time.monotonic() - ready < 5
        await stage.idle()

        assert sorted(name for message in messages for name in pictures(message)) == sorted(
            f"atelier-{number}-1.png" for number in range(1, 101)
        )
        assert not any(pictures(message) for message in discord.public() if message not in messages)
        assert stage.deaths == 1
        await stage.close()


async def test_sigterm_with_a_hung_engine_ends_in_time_leaves_nobody_behind_and_loses_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        message = await stage.ask(ADA, "anemone, hang once")
        await stage.discord.until(lambda: (tmp_path / "hung").exists())
        (hung,) = stage.engines()
        begun = time.monotonic()
        await stage.restart()
        took = time.monotonic() - begun

        assert took <= 30
        assert not psutil.pid_exists(hung.pid)
        assert await stage.ended("anemone") == [message]
        assert pictures(message) == ["atelier-1-1.png"]
        await stage.close()


async def test_a_resume_that_brings_what_was_heard_already_makes_one_job_and_one_rating(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        result = await stage.ask(ADA, "anemone")
        await stage.ended("anemone")
        await stage.react(BOB, result, "👍")
        discord.overlap = 100
        await discord.drop_gateway()
        # Meanwhile Ada asks again and Bob changes his reaction twice; the bot does not hear it yet.
        missed = await discord.type("imagine", ADA, prompt="buttercup")
        await discord.take_back(result, "👍", BOB)
        await discord.react(result, "👍", BOB)
        await stage.until(lambda: discord.resumed, "it was not resumed")
        await stage.ended("buttercup")
        await stage.react(ADA, result, "❤️")
        await stage.until_rows("SELECT 1 FROM ratings", 2)

        assert (discord.identified, discord.resumed) == (1, 1)
        assert missed.answer is not None
        assert pictures(missed.answer) == ["atelier-2-1.png"]
        assert len(stage.rows("SELECT 1 FROM jobs")) == 2
        assert len(discord.public()) == 2
        await stage.close()


async def test_a_session_that_discord_forgot_is_begun_anew_by_one_identify(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        message = await stage.ask(ADA, "anemone held by gate")
        await painting(stage, message)
        await discord.drop_gateway(forget=True)
        (tmp_path / "gate").touch()
        await stage.until(lambda: pictures(message), "without a gateway nothing was delivered")
        await stage.until(lambda: discord.connected, "it did not come back")
        await stage.ask(ADA, "buttercup")
        await stage.ended("buttercup")

        assert (discord.identified, discord.resumed) == (2, 0)
        assert stage.deaths == 0
        await stage.close()


async def test_a_busy_discord_is_asked_once_a_second_and_nothing_is_lost(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        first = await stage.ask(ADA, "anemone held by gate")
        second = await stage.ask(BOB, "buttercup")
        await stage.ended("buttercup")
        third = await stage.ask(BOB, "crocus held by gate")
        await asyncio.gather(painting(stage, first), painting(stage, third))
        begun = len(discord.requests)
        edits = len(discord.edits)
        # First Discord is away; then it takes an edit, but its answer is lost.
        discord.faults = [Fault(RESULT, 503), Fault(RESULT, after=True)]
        (tmp_path / "gate").touch()
        await stage.ended("anemone")
        await stage.ended("crocus")
        await stage.idle()

        assert [pictures(message) for message in (first, second, third)] == [[f"atelier-{n}-1.png"] for n in (1, 2, 3)]
        assert len([message for message in discord.public() if message.interaction]) == 3
        tries = [request for request in discord.requests[begun:] if request.route.startswith("PATCH")]
        assert [request.status for request in tries] == [503, 0, 200, 200]
        assert all(later.at - earlier.at > 0.9 for earlier, later in pairwise(tries[:3]))
        finals = [edit["message"] for edit in discord.edits[edits:]]
        assert set(finals) == {first.id, third.id}
        assert len(finals) == 3, "the edit whose answer was lost was repeated"
        await stage.close()


async def test_five_minutes_of_errors_are_asked_once_a_second_at_most_and_cost_nothing_but_time(tmp_path: Path) -> None:
    async with open_stage(tmp_path, speed=60) as stage:
        discord = stage.discord
        here = [await stage.ask(ADA, f"anemone {number} held by gate", "401") for number in range(2)]
        there = await stage.ask(BOB, "buttercup held by gate", "402")
        await asyncio.gather(*(painting(stage, message) for message in (*here, there)))
        begun, edits = len(discord.requests), len(discord.edits)
        discord.faults = [Fault(RESULT, status) for _ in range(100) for status in (500, 503, 0)]
        (tmp_path / "gate").touch()
        await asyncio.sleep(300 / stage.speed)
        later = await stage.ask(BOB, "crocus", "402")
        tries = [request for request in discord.requests[begun:] if request.route.startswith("PATCH")]
        discord.faults.clear()
        await stage.ended("crocus")
        await stage.idle()

        messages = [*here, there, later]
        assert [pictures(message) for message in messages] == [[f"atelier-{number}-1.png"] for number in range(1, 5)]
        assert [message for message in discord.public() if message.interaction] == messages
        for channel in ("401", "402"):
            asked_at = [request.at * stage.speed for request in tries if f"/{channel}/" in request.route]
            assert len(asked_at) > 5, "it goes on"
            # Measured over ten, because a hundredth of our second is more than half of a second of the bot.
            assert all(after - before > 9 for before, after in zip(asked_at, asked_at[10:], strict=False))
        order = [edit["message"] for edit in discord.edits[edits:] if edit.get("files")]
        assert order.index(there.id) < order.index(later.id)
        await stage.close()


async def test_a_limit_of_all_routes_stops_all_of_them_for_its_time_and_loses_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        here = [await stage.ask(ADA, f"anemone {number} held by gate", "401") for number in range(2)]
        there = await stage.ask(BOB, "buttercup held by gate", "402")
        await asyncio.gather(*(painting(stage, message) for message in (*here, there)))
        begun = len(discord.requests)
        # More refusals than discord.py repeats a request by itself, in both channels.
        discord.faults = [Fault(RESULT, 429, times=12, retry_after=0.4, everywhere=True)]
        (tmp_path / "gate").touch()
        await stage.ended("anemone")
        await stage.ended("buttercup")
        await stage.idle()

        assert [pictures(message) for message in (*here, there)] == [[f"atelier-{n}-1.png"] for n in (1, 2, 3)]
        assert [message for message in discord.public() if message.interaction] == [*here, there]
        asked = discord.requests[begun:]
        assert sum(request.status == 429 for request in asked) == 12
        for limited in (request for request in asked if request.status == 429):
            # Requests that were already sent when the limit came do not count.
            held = [request.at for request in asked if limited.at + 0.1 < request.at < limited.at + 0.35]
            assert held == []
        await stage.close()


async def test_a_post_that_discord_took_but_never_answered_is_there_once(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        message = await stage.ask(ADA, "anemone held by gate")
        await painting(stage, message)
        message.deleted = True
        # The history does not show the message yet: only the nonce tells Discord that it has it already.
        discord.lagging = True
        discord.faults = [Fault(r"^POST /api/channels/\d+/messages$", after=True)]
        (tmp_path / "gate").touch()
        await stage.ended("anemone")
        await stage.idle()

        assert [pictures(message) for message in discord.public()] == [["atelier-1-1.png"]]
        posts = [request.status for request in discord.requests if request.route.startswith("POST /api/channels")]
        assert posts == [0, 200]
        await stage.close()


async def test_what_was_painted_before_a_kill_is_shown_after_it_and_not_painted_again(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        discord.faults = [Fault(RESULT, 503, times=1000)]
        message = await stage.ask(ADA, "anemone")
        await stage.until_rows("SELECT 1 FROM jobs WHERE status = 'rendered'", 1)
        (image,) = stage.rows("SELECT * FROM images")
        stage.kill()
        await stage.until(lambda: discord.identified == 2, "it did not come back")
        discord.faults.clear()
        await stage.ended("anemone")

        assert stage.rows("SELECT attempt FROM jobs") == [{"attempt": 1}]
        assert [file["sha256"] for file in message.attachments] == [image["sha256"]]
        await stage.close()


@pytest.mark.parametrize(
    ("status", "code"), [(403, 50001), (404, 10003)], ids=["the bot is kicked", "the channel is deleted"]
)
async def test_a_place_that_is_closed_ends_its_jobs_soon_and_is_asked_little(
    tmp_path: Path, status: int, code: int
) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord
        messages = [await stage.ask(ADA, f"anemone {number} held by gate", "401") for number in range(5)]
        await painting(stage, messages[0])
        other = await stage.ask(BOB, "buttercup held by gate", "402")
        await painting(stage, other)
        discord.faults = [Fault("/api/channels/401", status, code, times=1000)]
        begun = time.monotonic()
        (tmp_path / "gate").touch()
        await stage.ended("buttercup")
        await stage.idle()

        assert time.monotonic() - begun < 10
        refused = [request for request in discord.requests if request.status == status]
        for message in messages:
            assert len([request for request in refused if message.id in request.route]) <= 3
        # After three refusals the others are not even tried.
        assert 0 < len(refused) <= 3 * 3
        reasons = stage.rows("SELECT status, reason FROM jobs_with_post WHERE channel_id = 401")
        assert {row["status"] for row in reasons} == {"failed"}
        assert all(row["reason"] for row in reasons)
        assert pictures(other) == ["atelier-6-1.png"]
        discord.faults.clear()
        await stage.close()


async def test_a_thousand_random_buttons_change_nothing(tmp_path: Path) -> None:
    random = Random(5)
    kinds = [
        "a1:cancel:1",
        "a1:show:2",
        "a1:cancel:",
        "a1:",
        "1",
        "\n",
        "cancel",
        ":",
        "é",
        "٣",
        " ",
        "'; --",
        "9" * 19,
    ]
    made = ("".join(random.choices(kinds, k=random.randint(1, 4)))[:100] for _ in itertools.count())
    async with open_stage(tmp_path) as stage:
        await stage.ask(ADA, "anemone")
        waiting = await stage.ask(ADA, "buttercup held by gate")
        await stage.ended("anemone")
        await painting(stage, waiting)
        await stage.until(lambda: len(waiting.buttons()) == 1, "there is no button")
        tables = [row["name"] for row in stage.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        before = {table: stage.rows(f"SELECT * FROM {table}") for table in tables}
        pressed: list[Interaction] = []
        # A few at a time, because the bot answers no interaction that comes late.
        while len(pressed) < 1000:
            few = [await stage.discord.press(waiting, custom_id, BOB) for custom_id in itertools.islice(made, 20)]
            for interaction in few:
                await stage.until(lambda one=interaction: one.answer is not None, str(interaction.event["data"]))
            pressed += few

        words = {re.sub(r"\s+", " ", one.answer.content) for one in pressed if one.answer is not None}
        assert all("expired" in said or "Only the person who asked" in said for said in words), words
        assert not any(one.answer.public for one in pressed if one.answer is not None)
        assert {table: stage.rows(f"SELECT * FROM {table}") for table in tables} == before
        (tmp_path / "gate").touch()
        await stage.ended("buttercup")
        await stage.close()


ERRORS = [(400, 50035), (401, 0), (403, 50013), (404, 10062), (413, 40005), (429, 0), (500, 0), (503, 0), (0, 0)]
"""What Discord may answer: a status and its own code; 0 is a connection that breaks."""


async def test_no_secret_and_no_prompt_is_logged_whatever_discord_and_the_engine_answer(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        discord = stage.discord

        async def meets(
            route: str, error: tuple[int, int], *, times: int = 1, told: bool = True, **options: Any
        ) -> None:
            """Ask for a foxglove while an error happens."""
            fault = Fault(route, *error, times=times)
            discord.faults = [fault]
            asked = await discord.type("imagine", ADA, prompt="a foxglove", negative_prompt="an edelweiss", **options)
            await stage.until(lambda: not fault.times, f"{fault} was not met")
            await stage.until(lambda: not told or asked.answer or asked.followups, f"{fault} was never explained")
            await stage.idle()

        await stage.until(lambda: discord.connected, "the bot did not come")
        for error in ERRORS:
            # Discord takes no words for an interaction that it does not know any more.
            await meets("/callback$", error, told=error != (404, 10062))
            await meets("^PATCH /api/webhooks/", error, image=picture("foxglove", 1), strength=0.5)
            await meets(RESULT, error)
        # The failure cannot be shown either.
        await meets("/callback$", (400, 50035), times=2, told=False)
        await meets("/callback$", (0, 0), times=2, told=False)
        await meets("/callback$", (400, 50035), told=False, model="foxglove")
        discord.faults.clear()
        await stage.ask(ADA, "foxglove, refuse")
        await stage.ask(ADA, "foxglove, kill once")
        await stage.idle()
        await stage.close()

        for canary in (TOKEN, r"token\d{5,}", "foxglove", "edelweiss"):
            assert [line for line in stage.log.splitlines() if re.search(canary, line)] == [], canary
        assert stage.log.count("a bug, reference") >= 5, "there was something to log"
        assert "could not be told" in stage.log


NAMES = ("../../etc/passwd", "/etc/passwd", "emoji/../../etc/passwd", "file:///etc/passwd", "~/passwd.safetensors")


@pytest.mark.parametrize("option", ["model", "sampler", "lora", "controlnet"])
def test_a_name_that_is_a_path_names_nothing(option: str) -> None:
    for name in NAMES:
        with pytest.raises(UserError, match=r"There is no|has no"):
            resolve(Options("a cat", **{option: name}), [EMBEDDED_MODEL], list(SAMPLERS))


async def test_the_bot_opens_nothing_that_a_stranger_names_and_decodes_nothing_that_one_sends(tmp_path: Path) -> None:
    huge, frames, noise = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("L", (64, 64)).save(huge, "PNG")
    stretched = huge.getvalue()[:16] + struct.pack(">II", 50_000, 50_000) + huge.getvalue()[24:]
    pictures = [Image.new("L", (16, 16), number % 255) for number in range(1000)]
    pictures[0].save(frames, "GIF", save_all=True, append_images=pictures[1:])
    Image.effect_noise((64, 64), 99).save(noise, "JPEG")
    async with open_stage(tmp_path) as stage:
        await stage.until(lambda: stage.discord.connected, "the bot did not come")
        refusals = [
            *({"model": name} for name in NAMES),
            {"image": stretched},
            {"image": frames.getvalue()},
        ]
        for options in refusals:
            asked = await stage.discord.type("imagine", ADA, prompt="anemone", **options)
            await stage.until(lambda one=asked: one.answer or one.followups, f"{options} was not answered")
            await stage.until(lambda: not stage.discord.public(), f"{options} was not refused")
        # The engine refuses what only a decoder can find.
        await stage.ask(ADA, "buttercup", image=noise.getvalue()[:-500])
        await stage.ended("buttercup")
        await stage.close()

        assert len(stage.rows("SELECT 1 FROM jobs")) == 1
        assert "AUDIT" not in stage.log
