"""/queue, /cancel and the red button."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from unittest.mock import MagicMock

import aiohttp
import discord
import pytest
import simcord

from bot.delivery import progress, updates
from bot.engine.fake import FakeEngine
from bot.errors import StorageError
from bot.jobs import GuildId, JobId, JobStatus, PictureRef, Requester, UserId
from bot.language import current
from bot.queue.scheduler import Turn
from cogs import _words
from cogs._buttons import CustomId
from cogs.queue import _reason
from tests.bot.storage.conftest import NOON
from tests.conftest import PATIENCE_SECONDS, Workshop


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that holds what it is given."""
    engine = FakeEngine()
    engine.open.clear()
    return engine


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REVIEW_SECONDS", "LOOK_AGAIN_SECONDS"):
        monkeypatch.setattr(updates, name, 0.05)
    for name in ("UPDATE_SECONDS", "PROGRESS_SECONDS", "EDIT_SECONDS"):
        monkeypatch.setattr(progress, name, 0.05)


async def asked(workshop: Workshop, actor: simcord.MemberActor, *prompts: str) -> list[simcord.InteractionResult]:
    """Ask for pictures; the very first one of all is being painted when this returns."""
    results = [await actor.slash(workshop.channel, "imagine", prompt=prompt) for prompt in prompts]
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    return results


async def test_the_queue_shows_my_prompts_and_only_the_places_of_others(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await asked(workshop, ada, "a castle", "a moat")
    await asked(workshop, grace, "a secret")
    shown = await ada.slash(workshop.channel, "queue")

    assert shown.ephemeral
    text = shown.response.content
    assert "🖌️ a castle — being painted" in text
    assert "🕓 a moat — place 2" in text
    assert f"1. 1 picture for <@{grace.id}> — starts in a moment" in text
    assert f"2. 1 picture for <@{ada.id}> — starts in a moment" in text
    assert "secret" not in text


async def test_an_empty_queue_says_that_the_easel_is_free(workshop: Workshop) -> None:
    shown = await workshop.member("ada").slash(workshop.channel, "queue")
    assert "You have no open requests here." in shown.response.content
    assert "The queue is empty." in shown.response.content


async def test_cancel_without_a_choice_takes_the_only_request(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    (answer,) = await asked(workshop, ada, "a castle")
    said = await ada.slash(workshop.channel, "cancel")
    (job,) = await workshop.ended()

    assert said.response.content == "Cancelled “a castle”."
    assert job.status is JobStatus.CANCELLED
    assert "🚫 Cancelled." in workshop.message(answer.response.id).content
    assert workshop.message(answer.response.id).components == []


async def test_cancel_with_several_open_asks_which_and_takes_one_or_all(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await asked(workshop, ada, "one", "two", "three")
    unclear = await ada.slash(workshop.channel, "cancel")
    choices = await ada.autocomplete(workshop.channel, "cancel", "request", "")
    two = next(choice["value"] for choice in choices if choice["name"] == "two")
    one_gone = await ada.slash(workshop.channel, "cancel", request=two)
    all_gone = await ada.slash(workshop.channel, "cancel", request="all")
    await workshop.ended(3)
    nothing = await ada.slash(workshop.channel, "cancel")

    assert "Several of your requests are open" in unclear.response.content
    assert [choice["name"] for choice in choices] == ["all 3", "one", "two", "three"]
    assert one_gone.response.content == "Cancelled “two”."
    assert all_gone.response.content == "Cancelled “one”, “three”."
    assert "You have no open requests on this server" in nothing.response.content


async def test_the_request_of_somebody_else_cannot_be_cancelled_by_its_number(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    await asked(workshop, ada, "one", "two")
    await asked(workshop, eve, "three", "four")
    target = (await workshop.jobs())[1]
    refused = await eve.slash(workshop.channel, "cancel", request=str(target.id))

    assert "not one of your open requests" in refused.response.content
    assert (await workshop.app.queue.get(target.id)).status is JobStatus.QUEUED


@pytest.mark.parametrize(("presser", "works"), [("owner", True), ("moderator", True), ("stranger", False)])
async def test_the_red_button_is_for_the_owner_and_for_moderators(
    workshop: Workshop, presser: str, works: bool
) -> None:
    owner = workshop.member("ada")
    people = {
        "owner": owner,
        "moderator": workshop.member("mod", moderator=True),
        "stranger": workshop.member("eve"),
    }
    (answer,) = await asked(workshop, owner, "a castle")
    pressed = await people[presser].click(answer.response, label="Cancel")
    job = (await workshop.jobs())[0]

    assert (job.status is JobStatus.CANCELLED) == works
    if presser == "owner":
        assert not pressed.ephemeral, "the message of the request says it"
    else:
        assert pressed.ephemeral
        assert ("Cancelled." if works else "Only the person who asked") in pressed.response.content
    cases = await workshop.app.cases.latest(GuildId(workshop.guild.id), 9)
    assert [case.by for case in cases] == ([people[presser].id] if presser == "moderator" else [])
    if presser == "moderator":
        row = await workshop.app.database.fetch_one("SELECT used_seconds FROM jobs")
        assert row["used_seconds"] == 0, "it was not their decision, so what was begun costs them nothing"


async def test_the_red_button_works_after_a_restart(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    _, waiting = await asked(workshop, ada, "one", "two")
    await workshop.restart()
    pressed = await ada.click(workshop.message(waiting.response.id), label="Cancel")

    assert not pressed.followups
    assert (await workshop.jobs())[1].status is JobStatus.CANCELLED


async def test_a_button_of_an_earlier_version_still_works(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await asked(workshop, ada, "one", "two")
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Old", custom_id=f"a1:cancel:{(await workshop.jobs())[1].id}"))
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel(workshop.channel.id).send("an old message", view=view)
    view.stop()
    await ada.click(message, label="Old")
    assert (await workshop.jobs())[1].status is JobStatus.CANCELLED


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("a2:cancel:7:0", CustomId("cancel", PictureRef(JobId(7)))),
        ("a2:show:7:3", CustomId("show", PictureRef(JobId(7), 3))),
        ("a1:cancel:7", CustomId("cancel", PictureRef(JobId(7)))),
        ("a2:cancel:7", None),
        ("a1:cancel:7:0", None),
        ("a2:cancel:7:0\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_custom_id_is_read_in_one_place(text: str | None, known: CustomId | None) -> None:
    assert CustomId.parse(text) == known
    assert known is None or CustomId.parse(str(known)) == known


@pytest.mark.parametrize(
    "custom_id",
    [
        "a1:cancel:999",
        "a1:cancel:10",
        "a1:explode:1",
        "a0:cancel:1",
        "a1:cancel:",
        "a1:cancel:1:1",
        "a2:cancel:999:0",
        "a2:cancel:1",
        "a2:cancel:1:12345",
        "a2:cancel:1:0\n",
        "a3:cancel:1:0",
        "x",
        "a1:cancel:-1",
    ],
)
async def test_a_forged_or_foreign_button_says_that_it_expired_and_changes_nothing(
    workshop: Workshop, custom_id: str
) -> None:
    ada = workshop.member("ada")
    await asked(workshop, ada, "a castle")
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Press", custom_id=custom_id))
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel(workshop.channel.id).send("a message", view=view)
    view.stop()
    pressed = await ada.click(message, label="Press")

    assert pressed.ephemeral
    assert "expired" in pressed.response.content
    assert [job.status for job in await workshop.jobs()] == [JobStatus.RUNNING]


async def test_a_long_queue_of_ones_own_still_fits_into_a_message(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "limits set", depth=30)
    await asked(workshop, moderator, *["*" * 300] * 25)
    shown = await moderator.slash(workshop.channel, "queue")
    said = await moderator.slash(workshop.channel, "cancel", request="all")

    assert "and 17 more" in shown.response.content
    assert said.response.content.endswith("and 17 more.")


async def test_messages_are_corrected_when_the_line_changes_in_all_the_ways_it_can(workshop: Workshop) -> None:
    """Somebody before them cancels, a moderator changes a limit, pauses and resumes."""
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=1, member=ada)
    _, two, three = await asked(workshop, ada, "one", "two", "three")

    async def says(answer: simcord.InteractionResult, words: str) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while words not in (now := workshop.message(answer.response.id).content):  # noqa: ASYNC110 - an edit
                await asyncio.sleep(0.01)
        return now

    second, third = (re.search(r"<t:(\d+):R>", answer.response.content) for answer in (two, three))
    assert second
    assert third
    assert int(third[1]) - int(second[1]) == 60
    await ada.click(two.response, label="Cancel")
    moved = re.search(r"<t:(\d+):R>", await says(three, "place 1, starts <t:"))
    assert moved
    assert abs(int(moved[1]) - int(second[1])) <= 1
    await moderator.slash(workshop.channel, "mod pause", channel=workshop.channel)
    await says(three, "⏸️ A moderator paused painting. This request keeps its place.")
    await moderator.slash(workshop.channel, "mod resume", channel=workshop.channel)
    await says(three, f"Queued: place 1, starts <t:{moved[1]}")
    await moderator.slash(workshop.channel, "limits set", pace=9, member=ada)
    await ada.click(workshop.message(three.response.id), label="Cancel")
    assert "🚫 Cancelled." in await says(three, "🚫")


def turns_of(people: str, cut_short: int = 0) -> list[Turn]:
    """Turns of people in this order; the first few had theirs before."""
    return [
        Turn(JobId(n), UserId(ord(who)), NOON + timedelta(seconds=n), None if n < cut_short else float(n))
        for n, who in enumerate(people)
    ]


@pytest.mark.parametrize(
    ("turns", "paced", "said"),
    [
        (turns_of(""), False, ""),
        (turns_of("ab"), False, ""),
        (turns_of("mab"), False, "You're next."),
        (
            turns_of("m"),
            True,
            "You're next. Your pace lets it start",
        ),
        (turns_of("abam"), False, "Place 4: 2 people who wait have used less painting time or waited longer."),
        (
            turns_of("aam"),
            True,
            "Place 3: one person who waits has used less painting time or waited longer. Your pace",
        ),
        (turns_of("mm"), False, "Place 2: a request of yours on another server comes first."),
        (
            turns_of("mabm"),
            False,
            "Place 4: 2 people who wait have used less painting time or waited longer, and a request of yours",
        ),
        (turns_of("am", 1), False, "Place 2: 1 interrupted request starts again first."),
        (
            turns_of("abm", 1),
            False,
            "Place 3: one person who waits has used less painting time or waited longer, and 1 interrupted request",
        ),
    ],
)
def test_the_queue_explains_a_place(turns: list[Turn], paced: bool, said: str) -> None:
    # Of m's turns the last is the one here; what goes before it was asked for on another server.
    mine = [turn.job_id for turn in turns if turn.user_id == ord("m")][-1:]
    reason = _reason(Requester(UserId(ord("m")), GuildId(1)), mine, turns, NOON if paced else None)
    assert reason.startswith(said)
    assert ("pace" in reason) is paced
    assert bool(reason) is bool(said)


async def test_a_place_is_explained_by_who_used_less_and_by_ones_pace(workshop: Workshop) -> None:
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    await moderator.slash(workshop.channel, "limits set", pace=1, member=ada)
    await asked(workshop, ada, "one", "two")
    await asked(workshop, grace, "three")
    assert "-# You're next.\n" in (await grace.slash(workshop.channel, "queue")).response.content
    shown = (await ada.slash(workshop.channel, "queue")).response.content
    assert "-# Place 2: one person who waits has used less painting time or waited longer. Your pace" in shown


async def test_what_one_waits_for_elsewhere_explains_nothing_here(workshop: Workshop) -> None:
    """Slowed and waiting on one server: on another nothing waits, and nothing is said of a pace or a place."""
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=1, member=ada)
    await asked(workshop, ada, "one", "two")
    other, there = workshop.elsewhere()
    also = other.guild.add_member(ada.user, roles=[])
    shown = (await also.slash(there, "queue")).response.content
    assert "**Yours**\nYou have no open requests here.\n-# Up to" in shown
    here = (await ada.slash(workshop.channel, "queue")).response.content
    assert "-# You're next. Your pace lets it start" in here


async def test_the_line_of_another_server_shows_no_names(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await asked(workshop, ada, "a secret", "another")
    other, there = workshop.elsewhere()
    shown = (await other.slash(there, "queue")).response.content
    assert "You have no open requests here." in shown
    assert "1. 1 picture for someone on another server — starts" in shown
    assert str(ada.id) not in shown
    assert (
        "You have no open requests on this server" in (await other.slash(there, "cancel", request="1")).response.content
    )
    assert await other.autocomplete(there, "cancel", "request", "") == []


@pytest.mark.parametrize("right", ["manage_messages", "manage_channels"])
async def test_a_right_in_some_channel_cancels_no_request_of_another(workshop: Workshop, right: str) -> None:
    """A button can be forged in any channel; only who moderates the server may cancel what is another person's."""
    (answer,) = await asked(workshop, workshop.member("ada"), "a castle")
    keeper = workshop.guild.create_role("keepers", permissions=discord.Permissions(**{right: True}))
    helper = workshop.guild.add_member(workshop.env.create_user("helper"), roles=[workshop.members, keeper])
    pressed = await helper.click(answer.response, label="Cancel")
    assert "Only the person who asked for it, or a member with Manage Server" in pressed.response.content
    assert (await workshop.jobs())[0].status is not JobStatus.CANCELLED


class _Discord:
    """Takes the presence, unless there is an outage."""

    def __init__(self) -> None:
        self.outage: Exception | None = None
        self.shown: list[str] = []

    async def change_presence(self, *, activity: discord.CustomActivity) -> None:
        if self.outage is not None:
            raise self.outage
        self.shown.append(str(activity))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("Cannot write to closing transport"),
        aiohttp.ClientError("away"),
        TimeoutError(),
        discord.ConnectionClosed(MagicMock(close_code=1006), shard_id=None),
        AttributeError("'NoneType' object has no attribute 'change_presence'"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_outage_costs_the_presence_one_line_and_not_its_task(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    bot, away = workshop.env.bot, _Discord()
    cog = bot.get_cog("Queue")
    cog.presence.cancel()
    monkeypatch.setattr(bot, "change_presence", away.change_presence)
    cog._shown = None
    for outage in (1, 2):
        away.outage = error
        for _ in range(5):
            await cog.presence()
        lines = [record for record in caplog.records if "presence" in record.getMessage()]
        assert len(lines) == outage
        assert all(record.exc_info is None for record in lines)
        away.outage = None
        await cog.presence()
        assert len(away.shown) == outage, "it goes on by itself"
        cog._shown = "something else"


async def test_a_storage_that_fails_does_not_end_the_presence(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bot, discord_ = workshop.env.bot, _Discord()
    cog = bot.get_cog("Queue")
    cog.presence.cancel()
    monkeypatch.setattr(bot, "change_presence", discord_.change_presence)
    depth = workshop.app.queue.depth

    async def fails() -> int:
        raise StorageError("The database is locked.")

    for outage in (1, 2):
        monkeypatch.setattr(workshop.app.queue, "depth", fails)
        for _ in range(3):
            await cog.presence()
        assert len([record for record in caplog.records if "presence" in record.getMessage()]) == outage
        monkeypatch.setattr(workshop.app.queue, "depth", depth)
        await cog.presence()


async def test_the_presence_shows_the_queue_where_that_has_changed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    async def changed(*, activity: discord.CustomActivity) -> None:
        shown.append(str(activity))

    bot = workshop.env.bot
    monkeypatch.setattr(bot, "change_presence", changed)
    cog = bot.get_cog("Queue")
    ada = workshop.member("ada")
    await cog.presence()
    await asked(workshop, ada, "one", "two", "three")
    await cog.presence()
    await cog.presence()
    await ada.slash(workshop.channel, "cancel", request="all")
    await workshop.ended(3)
    await cog.presence()
    assert shown[-2:] == ["Painting 1, 2 waiting", "Ready to paint"]
    assert len(shown) <= 3


async def test_the_presence_is_in_the_language_that_all_servers_speak(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cog = workshop.env.bot.get_cog("Queue")
    cog.presence.cancel()
    monkeypatch.setattr(_words, "presence", lambda *_: str(current()))
    monkeypatch.setattr(workshop.env.bot, "change_presence", (to := _Discord()).change_presence)
    await cog.presence()
    await workshop.member("mod", moderator=True).slash(workshop.channel, "language", language="de")
    await cog.presence()
    workshop.elsewhere()
    await cog.presence()
    assert to.shown == ["en", "de", "en"]
