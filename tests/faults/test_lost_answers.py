"""Requests to Discord whose reply is lost, before or after their effect: the outcome is looked up, never guessed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.light_engine import picture
from tests.faults.stage import Stage, open_stage
from tests.local_discord import ADA, BOB, Fault, Interaction, Message

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops processes by POSIX signals")

CALLBACK = r"^POST /api/interactions/.*/callback$"
ORIGINAL = r"^PATCH /api/webhooks/.*/@original$"
RESULT = r"^PATCH /api/channels/\d+/messages/\d+$"
PAGE = "<html><body>" + "error code: 1015 " * 500 + "</body></html>"

LOST = {
    "cut before": Fault(CALLBACK),
    "cut after": Fault(CALLBACK, after=True),
    "500 after": Fault(CALLBACK, 500, after=True),
    "502 after, again and again": Fault(CALLBACK, 502, after=True, times=3),
    "503 with a page": Fault(CALLBACK, 503, page=PAGE),
    "403 with a page": Fault(CALLBACK, 403, page=PAGE),
    "403 with a page after": Fault(CALLBACK, 403, page=PAGE, after=True),
}


def shown(stage: Stage, word: str) -> Message:
    """The one public message about a request."""
    (message,) = stage.about(word)
    return message


def not_explained(asked: Interaction) -> bool:
    """Whether the person was told of no trouble. A note on words that the model does not know may follow an answer."""
    return all("can't draw" in message.content for message in asked.followups)


async def ended(stage: Stage, word: str) -> Message:
    """Wait for the only message about a request to show its picture."""
    await stage.until(lambda: stage.about(word), f"{word} was not answered")
    await stage.until(lambda: shown(stage, word).attachments, f"{word} was not painted")
    return shown(stage, word)


@pytest.mark.parametrize("case", LOST)
async def test_an_acknowledgement_whose_reply_is_lost_is_looked_up(tmp_path: Path, case: str) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.ask(BOB, "buttercup")
        stage.discord.faults = [LOST[case]]
        asked = await stage.discord.type("imagine", prompt="anemone")
        message = await ended(stage, "anemone")
        assert asked.response is message
        assert not_explained(asked)
        assert len(stage.rows("SELECT 1 FROM jobs")) == 2
        assert "Traceback" not in stage.log
        await stage.close()


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(CALLBACK, after=True)],
        [Fault(CALLBACK, 500, after=True)],
        [Fault(ORIGINAL, after=True)],
        [Fault(ORIGINAL), Fault(ORIGINAL, 500, after=True)],
        [Fault(CALLBACK, after=True), Fault(ORIGINAL, 403, page=PAGE), Fault(ORIGINAL, after=True)],
    ],
    ids=["deferral cut", "deferral 500", "edit cut", "edit cut and 500", "everything"],
)
async def test_an_answer_to_a_request_with_a_picture_is_known_too(tmp_path: Path, faults: list[Fault]) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.ask(BOB, "buttercup")
        stage.discord.faults = faults
        asked = await stage.discord.type("imagine", prompt="anemone", image=picture("anemone", 1), strength=0.5)
        assert await ended(stage, "anemone") is asked.response
        assert not_explained(asked)
        assert "Traceback" not in stage.log
        await stage.close()


async def test_an_event_that_comes_twice_makes_one_request_and_no_noise(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.ask(BOB, "buttercup")
        asked = await stage.discord.type("imagine", prompt="anemone", image=picture("anemone", 1), strength=0.5)
        await stage.discord.repeat(asked)
        assert await ended(stage, "anemone") is asked.response
        await stage.discord.repeat(asked)
        await stage.ask(BOB, "crocus")
        await stage.ended("crocus")
        assert not_explained(asked)
        assert len(stage.rows("SELECT 1 FROM jobs")) == 3
        await stage.close()


async def test_a_request_whose_answer_never_reached_discord_is_withdrawn_without_a_trace(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.ask(BOB, "buttercup")
        await stage.ended("buttercup")
        stage.discord.faults = [Fault(CALLBACK, times=1000)]
        await stage.discord.type("imagine", prompt="anemone")
        await stage.until_rows("SELECT 1 FROM jobs", 2)
        await stage.until_rows("SELECT 1 FROM jobs", 1)
        stage.discord.faults.clear()
        assert stage.about("anemone") == []
        assert "Traceback" not in stage.log
        assert stage.rows("SELECT 1 FROM posts") == [{"1": 1}]
        await stage.close()


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_page_instead_of_discords_json_is_waited_for_and_never_quoted(tmp_path: Path, status: int) -> None:
    async with open_stage(tmp_path) as stage:
        message = await stage.ask(ADA, "anemone held by gate")
        stage.discord.faults = [Fault(RESULT, status, page=PAGE, times=3)]
        (tmp_path / "gate").touch()
        assert await ended(stage, "anemone") is message
        assert "html" not in "".join(shown.content for shown in stage.discord.public())
        await stage.close()


async def test_a_message_that_takes_no_edits_any_more_is_replaced_and_deleted(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        old = await stage.ask(ADA, "anemone held by gate")
        edit = rf"^PATCH /api/channels/\d+/messages/{old.id}$"
        stage.discord.faults = [Fault(edit, 400, 30046, times=1000)]
        (tmp_path / "gate").touch()
        await stage.until(lambda: old.deleted, "the old message still offers its button")
        new = await ended(stage, "anemone")
        assert new is not old
        await stage.until_rows("SELECT 1 FROM posts WHERE left_message_id IS NULL", 1)
        await stage.close()


async def test_one_message_that_always_fails_holds_up_only_its_own_person(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stuck = await stage.ask(ADA, "anemone held by gate")
        behind = await stage.ask(ADA, "crocus held by gate")
        others = await stage.ask(BOB, "buttercup held by gate")
        edit = rf"^PATCH /api/channels/\d+/messages/{stuck.id}$"
        stage.discord.faults = [Fault(edit, 500, times=1000)]
        (tmp_path / "gate").touch()
        await stage.discord.until(lambda: others.attachments, seconds=12)
        assert not behind.attachments, "each person's results come in order"
        stage.discord.faults.clear()
        await stage.until(lambda: behind.attachments, "it was given up")
        assert stuck.attachments
        await stage.close()


async def test_reactions_that_fail_hold_up_no_result(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.discord.faults = [Fault("/reactions/", 500, times=1000)]
        results = [await stage.ask(person, f"anemone {n}") for n, person in enumerate((ADA, BOB, ADA))]
        await stage.discord.until(lambda: all(message.attachments for message in results), seconds=12)
        await stage.until_rows("SELECT 1 FROM jobs WHERE status = 'delivered'", 3)
        stage.discord.faults.clear()
        await stage.close()
