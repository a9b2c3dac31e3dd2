"""/privacy: what is kept about a person, a copy of it, and deleting it in whatever state; and nobody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.config import BillConfig, Config
from bot.engine.fake import FakeEngine
from bot.errors import TryLater
from bot.jobs import JobStatus, UserId
from bot.offline import forget_person
from bot.policy.rights import RIGHTS
from bot.storage.backups import back_up
from cogs import _words
from tests.cogs.test_create_uploads import CAT
from tests.conftest import Workshop
from tests.faults.invariants import left_of


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A plain database: its bytes are searched for what was deleted. Fifty steps are much."""
    return Config(data=tmp_path / "data", encrypt=False, bill=BillConfig(seconds=1))


async def deleted(actor: simcord.MemberActor, where: Any) -> str:
    """Delete everything about a person; returns what the question became."""
    asked = await actor.slash(where, "privacy delete")
    assert asked.ephemeral
    return (await actor.click(asked.response, label="Delete my data")).response.content


async def gone(workshop: Workshop) -> None:
    """Wait until every wish is carried out and every message is deleted."""

    async def over() -> bool:
        rows = await workshop.app.database.fetch_all(
            "SELECT id FROM deletion_requests WHERE done_at IS NULL UNION ALL "
            "SELECT id FROM jobs_with_post WHERE forgotten_at IS NOT NULL AND removed_at IS NULL "
            "AND message_id IS NOT NULL"
        )
        return not rows

    await workshop.until(over)


def left(tmp_path: Path, *words: str) -> Sequence[str]:
    """The files of the data folder that hold any of these words."""
    return left_of(words, tmp_path / "data")


async def test_a_person_asks_again_as_a_newcomer_with_the_same_quota(workshop: Workshop, tmp_path: Path) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    for prompt in ("an xylophone", "a zeppelin"):
        await ada.slash(workshop.channel, "imagine", prompt=prompt, images=2)
    await grace.slash(workshop.channel, "imagine", prompt="a walrus")
    await workshop.ended(3)
    hers, _, graces = workshop.channel.history()
    await ada.react(graces, "👍")
    await grace.react(hers, "❤️")
    back_up(tmp_path / "data" / "atelier.db", None)
    before = (await ada.slash(workshop.channel, "quota")).response.content
    assert left(tmp_path, "xylophone", "zeppelin") != []
    shown = await ada.slash(workshop.channel, "privacy show")
    assert shown.ephemeral
    assert "2 requests, 4 pictures, 1 rating." in shown.response.content

    assert await deleted(ada, workshop.channel) == _words.FORGOTTEN
    await gone(workshop)

    assert left(tmp_path, "xylophone", "zeppelin") == []
    assert left(tmp_path, "walrus") != []
    assert [message.id for message in workshop.channel.history()] == [graces.id]
    assert len(list((tmp_path / "data" / "pictures").glob("*/*"))) == 1
    rows = await workshop.app.database.fetch_all("SELECT user_id FROM ratings")
    assert [row["user_id"] for row in rows] == [grace.id], "what others gave is theirs"
    assert (await ada.slash(workshop.channel, "quota")).response.content == before
    assert (
        "There is nothing here yet: your requests on this server are listed once they have ended."
        in (await ada.slash(workshop.channel, "history")).response.content
    )
    assert "0 requests, 0 pictures, 0 ratings" in (await ada.slash(workshop.channel, "privacy show")).response.content

    again = await ada.slash(workshop.channel, "imagine", prompt="a yacht")
    assert "Queued: place 1" in again.response.content
    assert (await workshop.ended(4))[3].status is JobStatus.DELIVERED
    assert "a yacht" in (await ada.slash(workshop.channel, "history")).response.content


SAID = {
    "your requests": "Your requests with their words",
    "the pictures": "their pictures and those you sent",
    "the GPU seconds": "The painting time and the money that they cost",
    "your reactions": "Your reactions under results",
    "which results were sent": "which results were sent to you",
    "phrases of your prompts": "phrases of them that ten people wrote",
    "prompts with choices": "prompts with choices as you typed them",
    "the comparisons": "Comparisons that you asked for and your votes",
    "which picture you entered": "what you entered in contests and your votes in them",
    "words that you put": "words that you put on results",
    "that you joined or left": "whether you joined data sets",
    "a style that a moderator made": "styles made from them",
    "that you take no direct messages": "",  # a note of a day, in the page alone
    "your `/settings`": "Your `/settings`",
    "which rule refused": "Which rule refused a request",
    "limits and blocks": "Limits that moderators set for you",
    "results that you reported": "Results that you reported",
    "a daily copy": "Backups of all this",
}
"""How each row of the page begins, and how `/privacy show` says it."""


async def test_what_is_shown_to_people_is_what_the_page_says(workshop: Workshop) -> None:
    page = Path("docs/privacy.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    shown = (await workshop.member("ada").slash(workshop.channel, "privacy show")).response.content
    for row in rows:
        (said,) = [SAID[beginning] for beginning in SAID if row.startswith(f"| {beginning}")]
        assert said in shown, row
    assert len(rows) >= len(SAID)


async def test_whatever_waits_is_painted_or_is_being_answered_ends_and_goes(
    workshop: Workshop, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.open.clear()
    ada, grace = workshop.member("ada"), workshop.member("grace")
    for prompt in ("an xylophone", "a zeppelin"):
        await ada.slash(workshop.channel, "imagine", prompt=prompt, image=("cat.png", CAT))
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    await grace.slash(workshop.channel, "imagine", prompt="a walrus")
    asked = await ada.slash(workshop.channel, "privacy delete")
    assert "2 requests, 0 pictures, 0 ratings" in asked.response.content
    assert "2 of the requests are still open and will be cancelled." in asked.response.content
    assert "Your id stays with it for 3 days" in asked.response.content
    await ada.click(asked.response, label="Delete my data")
    await gone(workshop)
    engine.open.set()
    await workshop.ended(3)

    assert [job.status for job in await workshop.jobs()] == [JobStatus.CANCELLED] * 2 + [JobStatus.DELIVERED]
    assert len(workshop.channel.history()) == 1
    assert left(tmp_path, "xylophone", "zeppelin") == []
    assert len(list((tmp_path / "data" / "pictures").glob("*/*"))) == 1
    # Nobody needs anything of it: what is done twice is done once.
    assert await deleted(ada, workshop.channel) == _words.FORGOTTEN
    await gone(workshop)
    assert len(workshop.channel.history()) == 1


async def test_words_that_wait_for_an_answer_go_at_once(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a walrus")
    (job,) = await workshop.ended(1)
    message = workshop.message(job.destination.message_id)
    bill = (await ada.slash(workshop.channel, "imagine", prompt="an xylophone", images=4, steps=50)).response
    series = (await ada.slash(workshop.channel, "imagine", prompt="a {red, blue} zeppelin")).response
    refused = {}
    for who in (ada, grace):
        form = await who.click(message, label="Remix")
        refused[who] = (await who.submit_modal(form, {"prompt": "a yacht", "seed": "x"})).response

    assert await deleted(ada, workshop.channel) == _words.FORGOTTEN
    for question, label in ((bill, "Cancel"), (series, "Cancel"), (refused[ada], "Open the form again")):
        pressed = await ada.click(question, label=label)
        assert pressed.modal is None
        assert "this message is too old" in pressed.response.content
    assert (await grace.click(refused[grace], label="Open the form again")).modal


async def test_it_reaches_every_server_and_direct_messages_and_nobody_else(workshop: Workshop, tmp_path: Path) -> None:
    other, there = workshop.elsewhere()
    ada, eve = workshop.member("ada"), workshop.member("eve", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="an xylophone")
    await workshop.ended(1)
    await other.slash(there, "imagine", prompt="a walrus")
    await workshop.ended(2)

    asked = await ada.slash(workshop.channel, "privacy delete")
    with pytest.raises(simcord.SetupError):
        await eve.click(asked.response, label="Delete my data")
    assert await deleted(eve, workshop.channel) == _words.FORGOTTEN
    await gone(workshop)
    assert left(tmp_path, "xylophone") != []
    assert len(workshop.channel.history()) == 1

    by_message = await ada.user.slash("privacy delete")
    await ada.user.click(by_message.response, label="Leave it")
    assert left(tmp_path, "xylophone") != []
    by_message = await ada.user.slash("privacy delete")
    assert (await ada.user.click(by_message.response, label="Delete my data")).response.content == _words.FORGOTTEN
    await gone(workshop)
    assert left(tmp_path, "xylophone") == []
    assert left(tmp_path, "walrus") != []
    assert workshop.channel.history() == []
    assert len(there.history()) == 1
    assert await deleted(other, there) == _words.FORGOTTEN
    await gone(workshop)
    assert left(tmp_path, "walrus") == []
    assert there.history() == []


async def test_the_export_is_everything_about_one_person_and_nothing_of_others(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="an xylophone")
    await grace.slash(workshop.channel, "imagine", prompt="a walrus")
    await workshop.ended(2)
    await moderator.slash(workshop.channel, "limits set", pace=7, member=ada, reason="too many")
    answer = await ada.slash(workshop.channel, "privacy export")

    assert answer.ephemeral
    (message,) = answer.followups or [answer.response]
    text = (await message.attachments[0].read()).decode()
    exported = json.loads(text)
    assert [request["request"]["prompt"] for request in exported["requests"]] == ["an xylophone"]
    assert "prompt" not in exported["requests"][0], "what is in the request is not repeated beside it"
    assert len(exported["pictures"]) == 1
    assert exported["cases_about_you"][0]["reason"] == "too many"
    assert exported["rules_about_you"][0]["value"] == "7"
    assert "walrus" not in text
    assert str(moderator.id) not in text


async def test_a_message_that_cannot_be_deleted_now_goes_later_and_one_out_of_reach_is_given_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="an xylophone")
    await workshop.ended()
    monkeypatch.setattr("bot.delivery.gate.LONGEST_PAUSE_SECONDS", 0.05)
    tried = []

    async def busy(_: Any) -> None:
        tried.append(True)
        if len(tried) < 3:
            raise TryLater("Discord answered 503")
        monkeypatch.undo()
        await workshop.app.delivery._poster.remove(_)  # type: ignore[union-attr]

    monkeypatch.setattr(workshop.app.delivery._poster, "remove", busy)
    await deleted(ada, workshop.channel)
    await gone(workshop)
    assert len(tried) == 3
    assert workshop.channel.history() == []


async def test_a_host_can_do_it_for_somebody_while_atelier_is_stopped(
    workshop: Workshop, config: Config, tmp_path: Path
) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="an xylophone")
    await workshop.ended()
    await workshop._opened.aclose()
    held = await forget_person(config, UserId(ada.id))
    assert (held.requests, held.pictures) == (1, 1)
    assert left(tmp_path, "xylophone") == []
    await workshop.restart()
    await gone(workshop)
    assert workshop.channel.history() == []


async def test_the_page_for_members_is_shown_whole_also_in_direct_messages(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    page = Path("PRIVACY.md").read_text(encoding="utf-8")
    answer = await ada.slash(workshop.channel, "privacy policy")
    assert answer.ephemeral
    shown = [answer.response, *answer.followups]
    said = "\n".join(message.content for message in shown)
    assert [line for line in said.splitlines() if line] == [line for line in page.splitlines() if line]
    assert all(message.ephemeral for message in shown)


def test_the_page_for_members_names_commands_that_exist() -> None:
    page = Path("PRIVACY.md").read_text(encoding="utf-8")
    doors = {door for right in RIGHTS for door in right.doors}
    named = set(re.findall(r"`/([a-z ]+)`", page))
    assert {name for name in named if name not in doors} == set()
    assert {"privacy show", "privacy export", "privacy delete", "report", "verify"} <= named
