"""/mod: what moderators do, that it holds, is written down, and can be taken back; and that nobody else may."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus, Scope, UserId
from bot.storage.cases import By
from cogs import _requests
from tests.cogs.test_limits import confirmed
from tests.conftest import Workshop

COMMANDS = [
    "pause",
    "resume",
    "block",
    "unblock",
    "cancel",
    "quota reset",
    "delete",
    "gallery",
    "defaults",
    "pictures",
    "cases",
    "undo",
    "terms add",
    "terms remove",
    "terms list",
    "wildcards add",
    "wildcards remove",
    "wildcards list",
    "reports",
    "log",
]


def options_of(command: str, member: simcord.MemberActor) -> dict[str, Any]:
    """What a command needs."""
    if command in ("block", "unblock", "quota reset", "cancel"):
        return {"member": member}
    if command in ("terms add", "terms remove"):
        return {"terms": "spam"}
    if command == "wildcards add":
        return {"name": "animal", "words": "cat"}
    if command == "wildcards remove":
        return {"name": "animal"}
    return {"delete": {"message": "1234567890123456789"}, "undo": {"case": 1}}.get(command, {})


async def said(actor: simcord.MemberActor, workshop: Workshop, command: str, **options: Any) -> str:
    """What a command answers to the person who used it; other people do not see it."""
    answer = await actor.slash(workshop.channel, f"mod {command}", **options)
    assert answer.ephemeral
    return answer.response.content


@pytest.mark.parametrize("command", COMMANDS)
async def test_members_see_no_such_command_and_may_not_use_one_that_was_opened_to_them(
    workshop: Workshop, command: str
) -> None:
    eve, ada = workshop.member("eve"), workshop.member("ada")
    with pytest.raises(simcord.SetupError):
        await eve.slash(workshop.channel, f"mod {command}", **options_of(command, ada))
    await workshop.open_group("mod", eve)
    assert await said(eve, workshop, command, **options_of(command, ada)) == (
        "Only members with Manage Server can do this."
    )
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases UNION SELECT 1 FROM rules") == []


async def test_a_moderator_elsewhere_sees_and_changes_nothing_here(workshop: Workshop, engine: FakeEngine) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    shown = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    engine.open.clear()
    await ada.slash(workshop.channel, "imagine", prompt="a secret")
    await workshop.reached((await workshop.jobs())[1].id, JobStatus.RUNNING)
    await said(moderator, workshop, "pause", channel=workshop.channel)
    other, there = workshop.elsewhere()

    async def tried(command: str, **options: Any) -> str:
        return (await other.slash(there, f"mod {command}", **options)).response.content

    link = f"https://discord.com/channels/{workshop.guild.id}/{workshop.channel.id}/{shown.response.id}"
    assert await tried("cases") == "There are no such cases."
    assert "There is no case 1 on this server." in await tried("cases", case=1)
    assert "There is no case 1 on this server." in await tried("undo", case=1)
    assert "is not a result on this server" in await tried("delete", message=str(shown.response.id))
    assert "not a link to a message on this server" in await tried("delete", message=link)
    assert await tried("cancel", job="2") == "There is no such open request on this server."
    assert await other.autocomplete(there, "mod cancel", "job", "") == []
    everything = await other.slash(there, "mod cancel", everything=True)
    assert await confirmed(other, everything) == "There is no such open request on this server."
    assert "is not paused" in await tried("resume")
    assert (await workshop.jobs())[1].status is JobStatus.RUNNING
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM cases")) == 1
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM images")) == 1


async def test_what_waits_stays_through_a_pause_and_a_restart_and_goes_on_after_it(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    for prompt in ("one", "two"):
        await ada.slash(workshop.channel, "imagine", prompt=prompt)
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    asked = await moderator.slash(workshop.channel, "mod pause", reason="a raid")
    assert "Until you resume it, no request is started or accepted." in asked.response.content
    assert (await confirmed(moderator, asked)).startswith("Case 1: paused painting for this server.")
    assert await said(moderator, workshop, "pause", channel=workshop.channel) != ""
    shown = await ada.slash(workshop.channel, "queue")
    assert "⏸️ two — paused by a moderator, keeps its place" in shown.response.content
    engine.open.set()
    await workshop.ended(1)
    await workshop.restart()
    refused = await ada.slash(workshop.channel, "imagine", prompt="three")
    assert [job.status for job in await workshop.jobs()] == [JobStatus.DELIVERED, JobStatus.QUEUED]
    assert "A moderator paused painting for this server." in refused.response.content
    assert "Moderators can change this with `/mod resume`." in refused.response.content
    assert "```\nthree\n```" in refused.response.content
    assert refused.ephemeral

    await said(moderator, workshop, "resume")
    still = await ada.slash(workshop.channel, "imagine", prompt="four")
    assert f"paused painting for <#{workshop.channel.id}>" in still.response.content
    await said(moderator, workshop, "resume", channel=workshop.channel)
    assert [job.status for job in await workshop.ended(2)] == [JobStatus.DELIVERED] * 2
    assert "is not paused" in await said(moderator, workshop, "resume")
    assert "— a raid" in await said(moderator, workshop, "cases", case=1)


async def test_a_block_refuses_one_person_here_until_its_end(workshop: Workshop) -> None:
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    blocked = await said(moderator, workshop, "block", member=ada, **{"for": "2h"})
    assert blocked.startswith(f"Case 1: blocked <@{ada.id}> until <t:")
    refused = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    assert "A moderator blocked you on this server. It will work <t:" in refused.response.content
    assert "Moderators can change this with `/mod unblock`." in refused.response.content
    assert "Reason" not in refused.response.content, "none was given"
    assert "Queued" in (await grace.slash(workshop.channel, "imagine", prompt="a cat")).response.content
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert "⛔ blocked until <t:" in explained.response.content
    assert f"**a block** (the rule for <@{ada.id}>), possible again <t:" in explained.response.content

    assert (await said(moderator, workshop, "unblock", member=ada)).startswith("Case 2: unblocked <@")
    assert "is not blocked" in await said(moderator, workshop, "unblock", member=ada)
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="a cat")).response.content
    await said(moderator, workshop, "undo", case=2)
    await workshop.restart()
    again = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    assert "A moderator blocked you" in again.response.content


async def test_a_blocked_person_reads_the_latest_reason_as_it_was_typed(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await said(moderator, workshop, "block", member=ada, reason="an old reason")
    await said(moderator, workshop, "unblock", member=ada, reason="a chance")
    await said(moderator, workshop, "block", member=ada, reason="{time 5} is no reference", **{"for": "2h"})
    refused = (await ada.slash(workshop.channel, "imagine", prompt="a cat")).response.content
    assert refused.startswith("A moderator blocked you on this server. Reason: “(time 5) "), refused
    assert "an old reason" not in refused
    assert "a chance" not in refused


@pytest.mark.parametrize("duration", ["", "soon", "0h", "-3d", "9999w", "3 months"])
async def test_a_duration_that_is_none_blocks_nobody(workshop: Workshop, duration: str) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    answer = await said(moderator, workshop, "block", member=ada, **{"for": duration})
    assert "is not a duration. Write one like 30m, 12h or 7d. Nothing was changed." in answer
    assert await workshop.app.rules.books() == {}


@pytest.mark.parametrize(("which", "left"), [("job", 2), ("member", 1), ("everything", 0)])
async def test_cancelling_one_a_persons_or_all(workshop: Workshop, engine: FakeEngine, which: str, left: int) -> None:
    engine.open.clear()
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    for actor, prompt in ((ada, "one"), (ada, "two"), (grace, "three")):
        await actor.slash(workshop.channel, "imagine", prompt=prompt)
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    first = (await workshop.jobs())[0].id
    choices = await moderator.autocomplete(workshop.channel, "mod cancel", "job", "")
    assert [choice["value"] for choice in choices] == [str(job.id) for job in await workshop.jobs()]
    assert "one" not in choices[0]["name"]

    options = {"job": str(first), "member": ada, "everything": True}
    answer = await moderator.slash(workshop.channel, "mod cancel", **{which: options[which]})
    told = await confirmed(moderator, answer) if which == "everything" else answer.response.content
    assert f": {3 - left} request" in told
    assert "undo" not in told
    ended = await workshop.ended(3 - left)
    assert [job.status for job in ended] == [JobStatus.CANCELLED] * (3 - left)
    refused = await said(moderator, workshop, "undo", case=1)
    assert refused.startswith("Case 1 cannot be undone: the cancelled requests have lost their places in the queue.")
    for actor in (ada, grace):
        quota = (await actor.slash(workshop.channel, "quota")).response.content
        cancelled = which == "everything" or (which == "member" and actor is ada)
        assert ("back on" not in quota) is cancelled, "a moderator's cancel costs nobody anything"
    engine.open.set()
    assert sum(job.status is JobStatus.DELIVERED for job in await workshop.ended(3)) == left


@pytest.mark.parametrize("options", [{}, {"job": "7"}, {"job": "x"}, {"job": "1", "everything": True}])
async def test_a_cancel_that_means_nothing_or_too_much_cancels_nothing(
    workshop: Workshop, options: dict[str, Any]
) -> None:
    answer = await said(workshop.member("mod", moderator=True), workshop, "cancel", **options)
    assert "Case" not in answer
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases") == []


async def test_a_quota_that_is_reset_is_free_again_and_an_undo_takes_that_back(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", quota="1", member=ada)

    async def asks() -> str:
        return (await ada.slash(workshop.channel, "imagine", prompt="a cat", images=3)).response.content

    assert "Queued" in await asks()
    assert "quota" in await asks()
    assert (await said(moderator, workshop, "quota reset", member=ada)).startswith(
        f"Case 2: quota reset for <@{ada.id}>: painting time that counts all of it → since <t:"
    )
    assert "Queued" in await asks()
    await said(moderator, workshop, "undo", case=2)
    assert "quota" in await asks()


async def test_a_deleted_result_is_gone_from_the_message_and_the_disk_and_says_so(
    workshop: Workshop, tmp_path: Path
) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    result = await ada.slash(workshop.channel, "imagine", prompt="something nasty", images=2)
    await workshop.ended()
    files = tmp_path / "data" / "pictures"
    assert len(list(files.glob("*/*"))) == 2
    link = f"https://discord.com/channels/{workshop.guild.id}/{workshop.channel.id}/{result.response.id}"
    receipt = await said(moderator, workshop, "delete", message=link, reason="nasty")
    assert receipt == f"Case 1: delete for <@{ada.id}>: 2 pictures of message {result.response.id}."

    message = workshop.message(result.response.id)
    assert message.content == _requests.REMOVED
    assert message.attachments == []
    assert list(files.glob("*/*")) == []
    assert await workshop.app.database.fetch_all("SELECT 1 FROM images") == []
    assert "were removed before" in await said(moderator, workshop, "delete", message=str(result.response.id))
    assert "Case 1 cannot be undone: the pictures are gone, from the disk too." in await said(
        moderator, workshop, "undo", case=1
    )


async def test_a_note_that_a_message_owes_is_made_up_for_after_a_restart(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    result = await ada.slash(workshop.channel, "imagine", prompt="something nasty")
    await workshop.ended()

    async def away(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    with monkeypatch.context() as broken:
        broken.setattr(discord.PartialMessage, "edit", away)
        await said(moderator, workshop, "delete", message=str(result.response.id))
        assert workshop.message(result.response.id).content != _requests.REMOVED
    await workshop.restart()

    async def noted() -> bool:
        return not await workshop.app.removals.owed()

    await workshop.until(noted)
    assert workshop.message(result.response.id).content == _requests.REMOVED


async def test_only_a_result_can_be_deleted(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    waiting = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    assert "shows no pictures" in await said(moderator, workshop, "delete", message=str(waiting.response.id))
    assert "not a link to a message" in await said(moderator, workshop, "delete", message="that one")


async def test_cases_are_listed_newest_first_in_pages_and_by_person(workshop: Workshop) -> None:
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    for pace in range(1, 13):
        await moderator.slash(workshop.channel, "limits set", pace=pace, member=grace if pace == 3 else ada)
    shown = await said(moderator, workshop, "cases")
    older = await said(moderator, workshop, "cases", before=3)
    hers = await said(moderator, workshop, "cases", member=grace)

    lines = shown.splitlines()
    assert [line.split()[0] for line in lines[:10]] == [f"**{number}**" for number in range(12, 2, -1)]
    assert lines[0].endswith(f"<@{moderator.id}>: at most 12 pictures per minute (before: 11), for <@{ada.id}>")
    assert lines[10] == "-# Older ones: `/mod cases before:3`"
    assert [line.split()[0] for line in older.splitlines()] == ["**2**", "**1**"]
    assert [line.split()[0] for line in hers.splitlines()] == ["**3**"]
    choices = await moderator.autocomplete(workshop.channel, "mod undo", "case", "1")
    assert [choice["value"] for choice in choices] == [12, 11, 10, 1]
    assert choices[0]["name"] == "12: at most 12 pictures per minute (before: 11), for a member"


async def test_cases_with_long_reasons_take_more_pages_and_none_is_lost(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    for pace in range(1, 13):
        await moderator.slash(workshop.channel, "limits set", pace=pace, member=ada, reason="*" * 300)
    seen: list[str] = []
    options: dict[str, Any] = {}
    while True:
        lines = (await said(moderator, workshop, "cases", **options)).splitlines()
        seen += [line.split()[0] for line in lines if line.startswith("**")]
        if not (older := re.fullmatch(r"-# Older ones: `/mod cases before:(\d+)`", lines[-1])):
            break
        options = {"before": int(older[1])}
    assert seen == [f"**{number}**" for number in range(12, 0, -1)]


async def test_a_case_longer_than_a_message_is_shown_as_far_as_it_goes_and_leads_on(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    by = By(workshop.requester(ada).guild_id, UserId(moderator.id))
    names = tuple(f"a-model-of-some-length-{number}" for number in range(100))
    await moderator.slash(workshop.channel, "limits set", pace=1, member=ada)
    await workshop.app.cases.change(by, "limits set", (Scope.PERSON, ada.id), {"models": names})
    listed, alone = await said(moderator, workshop, "cases"), await said(moderator, workshop, "cases", case=2)
    for text in (listed, alone):
        assert text.startswith("**2** <t:")
        assert "`a-model-of-some-length-40`" in text
    assert alone.endswith("…")
    assert listed.endswith("…\n-# Older ones: `/mod cases before:2`")


async def test_an_undo_puts_back_what_was_and_is_a_case(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=4, member=ada)
    undone = await said(moderator, workshop, "undo", case=1, reason="by mistake")
    assert undone.startswith(
        f"Case 2: undo of case 1: the limit pace is removed (it was: 4), for <@{ada.id}>. `/mod undo case:2`"
    )
    assert await workshop.app.rules.book(workshop.requester(ada).guild_id) == {}
    assert "has been changed since by case 2" in await said(moderator, workshop, "undo", case=1)
