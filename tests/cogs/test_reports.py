"""Reports: from the menu or by command, one for each result, decided by moderators, and everybody hears of it."""

from __future__ import annotations

from typing import Any

import discord
import pytest
import simcord

from bot.config import Config, LimitsConfig
from bot.errors import Unreachable
from bot.jobs import Job
from bot.storage.member_reports import MOST_OPEN
from cogs import _requests
from cogs.reports import FILED, NO_REPORTS, NOT_OURS
from tests.cogs.test_moderation import said
from tests.cogs.test_privacy import deleted, gone, left
from tests.cogs.test_reactions import gallery
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=10**4, depth=10**4, quota=10**6))


async def painted(workshop: Workshop, who: simcord.MemberActor, prompt: str = "something nasty") -> Job:
    """A result."""
    before = len(await workshop.jobs())
    await who.slash(workshop.channel, "imagine", prompt=prompt)
    return (await workshop.ended(before + 1))[-1]


async def reported(workshop: Workshop, who: simcord.MemberActor, job: Job, reason: str = "") -> str:
    """What a person hears who reports a result by its link."""
    link = f"https://discord.com/channels/{workshop.guild.id}/{workshop.channel.id}/{job.destination.message_id}"
    options = {"reason": reason} if reason else {}
    answer = await who.slash(workshop.channel, "report", message=link, **options)
    assert answer.ephemeral
    return answer.response.content


async def shown(workshop: Workshop, moderator: simcord.MemberActor) -> Any:
    """The message with the oldest open report."""
    answer = await moderator.slash(workshop.channel, "mod reports")
    message = answer.followups[-1] if answer.followups else answer.response
    assert message.ephemeral
    return message


def file_of(message: Any) -> str:
    """The name of the file that a message with one shows, without the mark of a spoiler."""
    (file,) = message.attachments
    return str(file.filename).removeprefix("SPOILER_")


async def states(workshop: Workshop) -> list[tuple[str, ...]]:
    rows = await workshop.app.database.fetch_all("SELECT id, outcome FROM member_reports ORDER BY id")
    return [tuple(row) for row in rows]


async def test_a_report_from_the_menu_is_shown_behind_a_spoiler_and_removing_ends_it(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    job = await painted(workshop, ada)
    form = await grace.context_menu(workshop.channel, "Report", workshop.message(job.destination.message_id))
    filed = await grace.submit_modal(form, {"reason": "not *nice* @everyone"})
    assert filed.ephemeral
    assert filed.response.content == FILED
    await workshop.restart()
    message = await shown(workshop, moderator)
    assert message.content.startswith(f"**Report 1** of 1 open: a result of <@{ada.id}>, reported by 1 person <t:")
    assert "Prompt: ||something nasty||" in message.content
    assert r"- not \*nice\* @" in message.content
    assert "@everyone" not in message.content
    assert [attachment.is_spoiler() for attachment in message.attachments] == [True]
    answer = await moderator.click(message, label="Remove the result")
    assert answer.response.content.startswith(f"Case 1: delete for <@{ada.id}>: 1 picture of message")
    assert workshop.message(job.destination.message_id).content == _requests.REMOVED
    assert await states(workshop) == [(1, "removed")]
    assert (await shown(workshop, moderator)).content == NO_REPORTS
    mine = await grace.slash(workshop.channel, "report")
    assert "the result was removed" in mine.response.content
    assert str(moderator.id) not in mine.response.content


@pytest.mark.parametrize("how", ["dismiss", "block"])
async def test_dismissing_and_blocking_are_cases_and_an_undo_opens_the_report_again(
    workshop: Workshop, how: str
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    job = await painted(workshop, ada)
    assert await reported(workshop, grace, job) == FILED
    message = await shown(workshop, moderator)
    if how == "block":
        blocked = await moderator.click(message, label="Block the person")
        assert blocked.response.content.startswith(f"Case 1: blocked <@{ada.id}>.")
        assert "Report 1 is still open" in blocked.response.content
        assert "is blocked already" in (await moderator.click(message, label="Block the person")).response.content
        refused = await ada.slash(workshop.channel, "imagine", prompt="a cat")
        assert "A moderator blocked you" in refused.response.content
        assert await states(workshop) == [(1, "")]
        return
    answer = await moderator.click(message, label="Dismiss the report")
    assert answer.response.content == (
        f"Case 1: dismiss for <@{ada.id}>: report 1 open → dismissed. `/mod undo case:1` undoes it."
    )
    assert await states(workshop) == [(1, "dismissed")]
    assert "before" in await reported(workshop, grace, job)
    assert "undo of case 1" in await said(moderator, workshop, "undo", case=1)
    assert await states(workshop) == [(1, "")]
    assert "report 1 open → dismissed" in await said(moderator, workshop, "undo", case=2)
    assert await states(workshop) == [(1, "dismissed")]
    assert "decided again since" in await said(moderator, workshop, "undo", case=2)
    assert workshop.message(job.destination.message_id).attachments


async def test_a_result_has_one_report_however_many_people_report_it(workshop: Workshop) -> None:
    ada, grace, eve = (workshop.member(name) for name in ("ada", "grace", "eve"))
    moderator = workshop.member("mod", moderator=True)
    job = await painted(workshop, ada)
    assert await reported(workshop, grace, job, "one") == FILED
    assert await reported(workshop, eve, job, "two") == FILED
    assert "You have reported this result already" in await reported(workshop, eve, job)
    message = await shown(workshop, moderator)
    assert "**Report 1** of 1 open" in message.content
    assert "reported by 2 people" in message.content
    assert message.content.endswith("- one\n- two")
    assert str(eve.id) not in message.content, "moderators decide about the result, not about who reported it"


async def test_a_person_has_a_few_open_reports_at_a_time(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    jobs = [await painted(workshop, ada, f"nasty {number}") for number in range(MOST_OPEN + 1)]
    answers = [await reported(workshop, grace, job) for job in jobs]
    assert answers[:-1] == [FILED] * MOST_OPEN
    assert answers[-1] == "5 of your reports wait for a moderator. You can report more once one of them is decided."
    first = await shown(workshop, moderator)
    following = await moderator.click(first, label="Next")
    assert "**Report 2** of 5 open" in (following.followups or [following.response])[-1].content
    await moderator.click(first, label="Dismiss the report")
    assert await reported(workshop, grace, jobs[-1]) == FILED


async def test_what_cannot_be_reported_is_said_in_one_sentence(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    job = await painted(workshop, ada)
    assert "your own result" in await reported(workshop, ada, job)
    other, there = workshop.elsewhere()
    elsewhere = await other.slash(there, "report", message=str(job.destination.message_id))
    assert elsewhere.response.content == NOT_OURS
    nothing = await grace.slash(workshop.channel, "report", message="1234567890123456789")
    assert nothing.response.content == NOT_OURS
    assert "not a link" in (await grace.slash(workshop.channel, "report", message="that one")).response.content
    mine = await grace.send(workshop.channel, "hello")
    menu = await grace.context_menu(workshop.channel, "Report", mine)
    assert menu.response.content == NOT_OURS
    form = await grace.context_menu(workshop.channel, "Report", workshop.message(job.destination.message_id))
    await workshop.app.removals.remove_own(job.requester, job.id)
    late = await grace.submit_modal(form, {"reason": ""})
    assert late.ephemeral
    assert "deleted" in late.response.content
    assert "deleted" in await reported(workshop, grace, job)
    assert "You have reported nothing" in (await grace.slash(workshop.channel, "report")).response.content
    assert await states(workshop) == []


async def test_a_deletion_by_the_requester_ends_the_report(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    job = await painted(workshop, ada)
    await reported(workshop, grace, job)
    await workshop.app.removals.remove_own(job.requester, job.id)
    assert await states(workshop) == [(1, "removed")]


@pytest.mark.parametrize("who", ["stranger", "requester", "moderator elsewhere"])
async def test_nobody_but_a_moderator_here_decides(workshop: Workshop, who: str) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    job = await painted(workshop, ada)
    await reported(workshop, grace, job)
    person, place = (ada, workshop.channel) if who == "requester" else (grace, workshop.channel)
    if who == "moderator elsewhere":
        person, place = workshop.elsewhere()
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel(place.id).send("a message")
    for action in ("remove", "block", "dismiss", "next"):
        kept = workshop.env.backend.get_message(message.channel.id, message.id)
        custom_id = f"a2:report{action}:1:0"
        kept.components = [
            {"type": 1, "components": [{"type": 2, "style": 2, "label": "Forged", "custom_id": custom_id}]}
        ]
        answer = await person.click(message, custom_id=custom_id)
        words = (answer.response or answer.followups[-1]).content
        assert words.startswith(("Only members with Manage Server", "There is no such report", NO_REPORTS)), action
        assert "nasty" not in words
    assert await states(workshop) == [(1, "")]
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases") == []


async def until_told(workshop: Workshop) -> None:
    """Wait until every person was told what became of their report, and every log has every case."""

    async def done() -> bool:
        return not await workshop.app.database.fetch_all(
            "SELECT 1 FROM reporters JOIN member_reports ON id = report_id "
            "WHERE told_at IS NULL AND ended_at IS NOT NULL UNION ALL "
            "SELECT 1 FROM cases WHERE logged_at IS NULL UNION ALL "
            "SELECT 1 FROM member_reports WHERE logged_at IS NULL"
        )

    await workshop.until(done)


async def test_the_reporter_is_told_once_and_also_after_a_restart(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    job = await painted(workshop, ada)
    await reported(workshop, grace, job)
    with monkeypatch.context() as broken:

        async def away(*_: Any, **__: Any) -> None:
            raise OSError("no route")

        broken.setattr(discord.Client, "create_dm", away)
        await moderator.click(await shown(workshop, moderator), label="Dismiss the report")
        assert await workshop.app.member_reports.untold()
    await workshop.restart()
    await until_told(workshop)
    with workshop.env.time_context():
        channel = await workshop.env.bot.create_dm(discord.Object(grace.id))
        sent = [message.content async for message in channel.history()]
    assert sent == ["Your report 1 on Workshop: a moderator looked at the result and left it."]


async def test_a_person_who_takes_no_direct_messages_reads_it_with_the_command(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    job = await painted(workshop, ada)
    await reported(workshop, grace, job)

    async def closed(*_: Any) -> None:
        raise Unreachable("Discord answered 403")

    monkeypatch.setattr(workshop.env.bot.get_cog("Reports"), "tell_reporter", closed)
    await moderator.click(await shown(workshop, moderator), label="Dismiss the report")
    await until_told(workshop)
    assert "left it" in (await grace.slash(workshop.channel, "report")).response.content


async def test_the_log_channel_gets_every_case_and_report_from_then_on_and_names_no_reporter(
    workshop: Workshop,
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    log = workshop.guild.create_text_channel("log")
    await said(moderator, workshop, "pause", channel=workshop.channel)
    await said(moderator, workshop, "resume", channel=workshop.channel)
    assert "log channel <#" in await said(moderator, workshop, "log", channel=log)
    await said(moderator, workshop, "terms add", terms="zeppelin", reason="a raid")
    job = await painted(workshop, ada)
    await reported(workshop, grace, job, "nasty")
    await moderator.click(await shown(workshop, moderator), label="Remove the result")
    await until_told(workshop)
    lines = [message.content for message in log.history()]
    assert [line.partition(":")[0] for line in sorted(lines) if line.startswith("**Case")] == [
        f"**Case 3** <@{moderator.id}>",
        f"**Case 4** <@{moderator.id}>",
        f"**Case 5** <@{moderator.id}>",
    ]
    assert "terms add for this server: added the term ||zeppelin|| — a raid" in "\n".join(lines)
    assert "🚩 Report 1: a result was reported. `/mod reports` shows it." in lines
    assert str(grace.id) not in "\n".join(lines)
    assert "log channel <#" in await said(moderator, workshop, "log")
    await said(moderator, workshop, "pause", channel=workshop.channel)
    await until_told(workshop)
    assert len(log.history()) == len(lines), "a log that was ended gets nothing more"


async def test_a_deletion_of_data_takes_reports_with_it(workshop: Workshop, tmp_path: Any) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    moderator = workshop.member("mod", moderator=True)
    hers, graces = await painted(workshop, ada), await painted(workshop, grace, "a walrus")
    await reported(workshop, grace, hers, "an xylophone")
    await reported(workshop, ada, graces, "a zeppelin")
    exported = await workshop.app.forgetting.export(ada.id)
    assert [report["reason"] for report in exported["reports_by_you"]] == ["a zeppelin"]
    assert [report["job_id"] for report in exported["reports_about_you"]] == [hers.id]
    assert "xylophone" not in str(exported)
    await deleted(ada, workshop.channel)
    await gone(workshop)
    assert left(tmp_path, "xylophone", "zeppelin") == [], "what she wrote, and what was written about her"
    assert await states(workshop) == [(1, "removed"), (2, "")], "moderators still see that a result was reported"
    message = await shown(workshop, moderator)
    assert "reported by people who had their data deleted" in message.content


async def test_a_message_of_several_results_is_reported_by_one_that_people_see(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    moderator = workshop.member("mod", moderator=True)
    bill = await ada.slash(workshop.channel, "imagine", prompt="a {red, green, blue} fox")
    await ada.click(bill.response, label="Paint all")
    first, second, _ = await workshop.ended(3)
    await workshop.app.removals.remove_own(first.requester, first.id)
    assert await reported(workshop, eve, first) == FILED
    assert file_of(await shown(workshop, moderator)).startswith(f"atelier-{second.id}-")
    message = workshop.message(second.destination.message_id)
    which = await eve.context_menu(workshop.channel, "Info", message)
    assert [each["label"] for each in which.response.components[0]["components"]] == ["2", "3"]
    told = await eve.click(which.response, label="2")
    assert told.response.content.startswith(f"**Request {second.id}**")
    which = await eve.context_menu(workshop.channel, "Use this picture", message)
    assert (await eve.click(which.response, label="2")).modal, "it is a form, not a refusal"


async def test_of_a_storyboard_what_is_reported_stands_in_its_grid(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    moderator = workshop.member("mod", moderator=True)
    opened = await ada.slash(workshop.channel, "storyboard")
    bill = await ada.submit_modal(opened, {"title": "A day", "panels": "a fox wakes\na fox eats", "look": ""})
    await ada.click(bill.response, label="Paint all")
    first, second = await workshop.ended(2)
    message = workshop.message(first.destination.message_id)
    chosen = await ada.select(message, ["1"], custom_id=f"a2:panel:{first.id}:0")
    await ada.click(chosen.response, label="Paint again")
    again = (await workshop.ended(3))[-1]
    assert await workshop.app.queue.shown_by(message.id) == [again.id, second.id, first.id]
    assert await reported(workshop, eve, first) == FILED
    assert file_of(await shown(workshop, moderator)).startswith(f"atelier-{again.id}-")


async def test_a_copy_in_the_gallery_is_reported_and_removed_like_the_original(workshop: Workshop) -> None:
    """Also by a person who may read the gallery, but not the channel of the original."""
    ada, bob, eve = (workshop.member(name) for name in ("ada", "bob", "eve"))
    moderator = workshop.member("mod", moderator=True)
    see = discord.PermissionOverwrite(view_channel=True, send_messages=True)
    closed = workshop.guild.create_text_channel(
        "closed",
        overwrites={
            workshop.guild.default_role: discord.PermissionOverwrite(view_channel=False),
            workshop.guild.me: see,
            ada: see,
            bob: see,
        },
    )
    best = await gallery(workshop, threshold=1)
    await ada.slash(closed, "imagine", prompt="something nasty")
    (job,) = await workshop.ended()
    original = next(message for message in closed.history() if message.id == job.destination.message_id)
    link = f"https://discord.com/channels/{workshop.guild.id}/{closed.id}/{original.id}"
    assert "no such result" in (await eve.slash(workshop.channel, "report", message=link)).response.content
    await bob.react(original, "⭐")
    (copy,) = await workshop.seen(best.history)
    form = await eve.context_menu(best, "Report", copy)
    assert (await eve.submit_modal(form, {"reason": "nasty"})).response.content == FILED
    link = f"https://discord.com/channels/{workshop.guild.id}/{best.id}/{copy.id}"
    twice = await bob.slash(workshop.channel, "report", message=link)
    assert twice.response.content == FILED, "joins the same report"
    message = await shown(workshop, moderator)
    assert "reported by 2 people" in message.content
    await moderator.click(message, label="Remove the result")
    await workshop.seen(lambda: best.history() == [])
    assert next(each for each in closed.history() if each.id == original.id).content == _requests.REMOVED
    assert await states(workshop) == [(1, "removed")]
