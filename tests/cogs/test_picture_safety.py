"""/mod pictures, and what people see of pictures that the safety check blocks or hides."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from bot.config import Config, EngineConfig, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from cogs._controls import MORE
from tests.cogs.test_place_defaults import moderator_of
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(loosen_age_restricted=True))


async def painted(workshop: Workshop, actor: Any, count: int = 1, channel: Any = None) -> tuple[Any, discord.Message]:
    """The newest of `count` jobs that have ended, and its message."""
    where = channel or workshop.channel
    await actor.slash(where, "imagine", prompt="a statue")
    job = (await workshop.ended(count))[-1]
    return job, next(message for message in where.history() if message.id == job.destination.message_id)


def hidden(message: Any) -> list[bool]:
    return [attachment.is_spoiler() for attachment in message.attachments]


async def test_a_score_under_both_thresholds_is_shown_one_between_them_is_hidden(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada = workshop.member("ada")
    for count, (score, is_hidden) in enumerate(((None, False), (0.39, False), (0.4, True)), start=1):
        engine.nsfw = score
        _, message = await painted(workshop, ada, count)
        assert hidden(message) == [is_hidden]


async def test_a_blocked_picture_fails_with_words_costs_nothing_and_is_not_stored(
    workshop: Workshop, engine: FakeEngine, config: Config
) -> None:
    engine.nsfw = 0.8
    job, message = await painted(workshop, workshop.member("ada"))
    assert job.status is JobStatus.FAILED
    assert "too explicit" in message.content
    assert "does not count towards your quota" in message.content
    assert message.attachments == []
    assert [path for path in (config.data / "pictures").rglob("*") if path.is_file()] == []


async def test_moderators_make_it_stricter_with_a_case_and_undo_it(workshop: Workshop, engine: FakeEngine) -> None:
    moderator, ada = await moderator_of(workshop), workshop.member("ada")

    async def said(**options: Any) -> str:
        answer = await moderator.slash(workshop.channel, "mod pictures", **options)
        assert answer.ephemeral
        return answer.response.content

    assert "- block: from 80% (not set here)" in await said()
    assert "pictures: spoiler no rule → 10%" in await said(spoiler=10, channel=workshop.channel)
    assert "already" in await said(spoiler=10, channel=workshop.channel)
    engine.nsfw = 0.1
    _, message = await painted(workshop, ada)
    assert hidden(message) == [True]
    await moderator.slash(workshop.channel, "mod undo", case=1)
    _, message = await painted(workshop, ada, 2)
    assert hidden(message) == [False]
    assert "pictures: block no rule → 5%" in await said(block=5)
    job, _ = await painted(workshop, ada, 3)
    assert job.status is JobStatus.FAILED
    assert "block 5% → no rule" in await said(clear="everything")
    assert "`block` can be at most 80 here, and you wrote 81" in await said(block=81)
    assert "Do one of the two" in await said(block=5, clear="block")


async def test_members_cannot_set_thresholds(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await workshop.open_group("mod", ada)
    answer = await ada.slash(workshop.channel, "mod pictures", spoiler=40)
    assert "Manage Server" in answer.response.content
    assert await workshop.app.cases.latest(workshop.guild.id, 9) == []


async def test_in_an_age_restricted_channel_a_spoiler_takes_the_place_of_a_block(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # simcord has no age-restricted channels.
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.name == "adults")
    moderator, ada = await moderator_of(workshop), workshop.member("ada")
    adults = workshop.guild.create_text_channel("adults")
    engine.nsfw = 0.9
    job, message = await painted(workshop, ada, 1, adults)
    assert (job.status, hidden(message)) == (JobStatus.DELIVERED, [True])
    engine.nsfw = 0.5
    _, message = await painted(workshop, ada, 2, adults)
    assert hidden(message) == [False]
    answer = await moderator.slash(workshop.channel, "mod pictures", block=95, channel=adults)
    assert "block no rule → 95%" in answer.response.content
    engine.nsfw = 0.96
    job, _ = await painted(workshop, ada, 3, adults)
    assert job.status is JobStatus.FAILED
    # Shown again elsewhere, it is hidden there.
    answer = await ada.slash(workshop.channel, "show", id=2)
    assert hidden(answer.followups[-1] if answer.followups else answer.response) == [True]


async def test_what_the_check_hides_stays_hidden_when_it_is_shown_again(workshop: Workshop, engine: FakeEngine) -> None:
    ada = workshop.member("ada")
    engine.nsfw = 0.5
    _, message = await painted(workshop, ada)
    menu = (await ada.click(message, label=MORE)).response
    answer = await ada.click(menu, label="Spoiler on/off")
    assert "keeps these pictures behind a spoiler" in "".join(each.content for each in answer.followups)
    assert hidden(workshop.message(message.id)) == [True]
    answer = await ada.click(menu, label="Original file")
    assert hidden(answer.followups[-1]) == [True]
    await ada.react(message, "✉️")
    (letter,) = await workshop.seen(ada.user.dm_channel.history)
    assert hidden(letter) == [True]


async def test_moderators_read_that_the_host_has_switched_the_check_off(tmp_path: Any, engine: FakeEngine) -> None:
    workshop = Workshop(Config(data=tmp_path / "data", engine=EngineConfig(safety="off")), engine)
    await workshop.open()
    try:
        moderator = await moderator_of(workshop)
        answer = await moderator.slash(workshop.channel, "mod pictures")
        assert "The host has switched the safety check off" in answer.response.content
    finally:
        await workshop.close()
