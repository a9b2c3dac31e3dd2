"""/contest: entries, a blind vote and winners, by requester, stranger and moderator, before and after a restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.config import Config, LimitsConfig
from bot.jobs import Job, PictureRef, UserId, to_text, utcnow
from bot.responses import MESSAGE, units
from bot.storage.contests import Contest, Entry, State, in_order_of
from cogs import _contests
from tests.cogs.test_every_control import Stage
from tests.cogs.test_moderation import said
from tests.cogs.test_reactions import rests
from tests.cogs.test_series import labels
from tests.cogs.test_storyboards import last
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=10**4, quota=10**6, depth=100))


@pytest.fixture
async def moderator(workshop: Workshop) -> simcord.MemberActor:
    return workshop.member("mod", moderator=True)


async def begun(workshop: Workshop, moderator: simcord.MemberActor, **options: Any) -> Any:
    """The message of a new contest."""
    before = shown(workshop)
    answer = await moderator.slash(workshop.channel, "contest start", **{"theme": "foxes", "entries": "2d"} | options)
    assert answer.ephemeral
    assert "Case" in answer.response.content, answer.response.content
    await workshop.seen(lambda: shown(workshop) != before)
    return shown(workshop)


def shown(workshop: Workshop) -> Any:
    """The newest message of a contest in the channel that is not about its winners alone."""
    found = [
        each
        for each in workshop.channel.history()
        if each.content.startswith("**Contest") and "Congratulations" not in each.content
    ]
    return found[-1] if found else None


async def painted(workshop: Workshop, who: simcord.MemberActor, prompt: str = "a fox", **options: Any) -> Job:
    before = len(await workshop.jobs())
    await who.slash(workshop.channel, "imagine", prompt=prompt, **options)
    return (await workshop.ended(before + 1))[-1]


async def entered(workshop: Workshop, name: str, **options: Any) -> tuple[simcord.MemberActor, Job]:
    """A new member whose picture is in the contest."""
    who = workshop.member(name)
    job = await painted(workshop, who, **options)
    answer = await who.slash(workshop.channel, "contest enter", result=str(job.id))
    assert "is in contest" in answer.response.content, answer.response.content
    return who, job


async def of_two(
    workshop: Workshop, moderator: simcord.MemberActor, **options: Any
) -> list[tuple[simcord.MemberActor, Job]]:
    """Ada and Grace, each with the picture with which they are in a new contest that takes votes."""
    await begun(workshop, moderator, **options)
    people = [await entered(workshop, name) for name in ("ada", "grace")]
    await ended_part(workshop, moderator, State.VOTING)
    return people


async def away(workshop: Workshop) -> None:
    """Let both parts of a contest end hours ago, as if the bot had been away."""
    ends = [to_text(utcnow() - timedelta(hours=hours)) for hours in (3, 2)]
    await workshop.app.database.execute("UPDATE contests SET entries_until = ?, votes_until = ?", ends)


async def contest(workshop: Workshop) -> Contest:
    (found,) = await workshop.app.contests.latest(workshop.guild.id, 1)
    return found


async def ended_part(workshop: Workshop, moderator: simcord.MemberActor, state: State) -> Any:
    """The message once the part of the contest that is on was ended by a moderator."""
    number = (await contest(workshop)).id
    await moderator.slash(workshop.channel, "contest end", contest=number)
    await settled(workshop, state)
    return shown(workshop)


async def settled(workshop: Workshop, state: State) -> None:
    """Wait until the contest is in a state and its messages say so."""

    async def there() -> bool:
        now = await contest(workshop)
        return now.state is state and now.shown == now.changed

    await workshop.until(there)


async def ballot(workshop: Workshop, who: simcord.MemberActor) -> Any:
    answer = await who.click(shown(workshop), label="Vote")
    return last(answer)


async def vote(workshop: Workshop, who: simcord.MemberActor, job: Job) -> str:
    """Vote for a person's picture, which only the test knows."""
    of = {entry.id: entry for entry in await workshop.app.contests.ballot(await contest(workshop), UserId(who.id))}
    entry = next(each for each in of.values() if each.ref.job_id == job.id)
    paper = await ballot(workshop, who)
    number = [*of].index(entry.id) + 1
    return (await who.click(paper, custom_id=f"a2:contestvote:{entry.id}:{number}")).response.content


def news(workshop: Workshop) -> list[Any]:
    return [each for each in workshop.channel.history() if "Congratulations" in each.content]


def pinged(workshop: Workshop) -> list[list[str]]:
    """Whom each message that was sent to the channel may have pinged."""
    sent = [each.json for each in workshop.env.http_requests if each.method == "POST" and each.json]
    return [
        [str(person) for person in (each.get("allowed_mentions") or {}).get("users", [])]
        for each in sent
        if str(each.get("content", "")).startswith("**Contest")
    ]


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_contest_from_its_theme_to_its_winner(
    workshop: Workshop, moderator: simcord.MemberActor, restarts: bool
) -> None:
    gallery = workshop.guild.create_text_channel("best")
    await said(moderator, workshop, "gallery", channel=gallery)

    async def restart() -> None:
        if restarts:
            await workshop.restart()

    message = await begun(workshop, moderator)
    assert message.content.startswith("**Contest 1: foxes**\nEnter one of your pictures until")
    assert labels(message) == ["Enter a picture", "Withdraw my picture"]
    ada, first = await entered(workshop, "ada")
    await restart()
    grace, second = await entered(workshop, "grace")
    await restart()
    message = await ended_part(workshop, moderator, State.VOTING)
    assert labels(message) == ["Vote", "Withdraw my picture"]
    assert message.id == shown(workshop).id
    await restart()
    voters = [workshop.member(f"v{number}") for number in range(3)]
    assert "Your vote is for picture" in await vote(workshop, voters[0], first)
    assert "Your vote is for picture" in await vote(workshop, voters[0], second)
    await restart()
    assert "Your vote is for picture" in await vote(workshop, voters[1], second)
    assert "You have no vote now" in await vote(workshop, voters[1], second)
    for voter in voters[1:]:
        await vote(workshop, voter, second)
    await vote(workshop, grace, first)
    await restart()
    assert str(ada.id) not in shown(workshop).content
    assert not any(character.isdigit() for character in shown(workshop).content.split("each person")[1])
    message = await ended_part(workshop, moderator, State.COUNTED)
    assert "🏆 One picture won, with 3 of 4 votes." in message.content
    assert f"<@{grace.id}>: https://discord.com/channels/" in message.content
    assert message.components == []
    (told,) = news(workshop)
    assert told.content.endswith("Congratulations!")
    assert [people for people in pinged(workshop) if people] == [[str(grace.id)]]
    (copy,) = await workshop.seen(lambda: gallery.history())
    assert copy.attachments
    assert f"/{second.destination.message_id}" in copy.content
    await restart()
    assert len(news(workshop)) == len(gallery.history()) == 1
    assert await workshop.app.database.fetch_all("SELECT * FROM contest_votes") == []
    kept = await workshop.app.database.fetch_all("SELECT user_id FROM contest_entries")
    assert [row["user_id"] for row in kept] == [grace.id], "of the others nothing is kept"


async def test_a_picture_is_entered_from_a_menu_replaced_and_withdrawn(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    one, two = await painted(workshop, ada), await painted(workshop, ada, "an owl", images=2)
    message = await begun(workshop, moderator)
    none = await eve.click(message, label="Enter a picture")
    assert "You have no result on this server yet" in none.response.content
    menu = await ada.click(message, label="Enter a picture")
    assert menu.ephemeral
    picked = await ada.select(menu.response, [f"{two.id}:2"], custom_id="a2:contestpick:1:0")
    assert f"Picture 2 of request {two.id} is in contest 1. Nobody sees" in picked.response.content
    again = await ada.slash(workshop.channel, "contest enter", result=str(one.id))
    assert "It replaces your earlier entry" in again.response.content
    rows = await workshop.app.database.fetch_all("SELECT job_id, number FROM contest_entries")
    assert [tuple(row) for row in rows] == [(one.id, 1)]
    theirs = await eve.slash(workshop.channel, "contest enter", result=str(one.id))
    assert "Only your own results" in theirs.response.content
    for wrong in ("x", "99", f"{one.id} or so"):
        assert (await ada.slash(workshop.channel, "contest enter", result=wrong)).ephemeral
    assert "has no" not in (await ada.click(message, label="Withdraw my picture")).response.content
    assert (
        "You have no picture in this contest"
        in (await ada.click(message, label="Withdraw my picture")).response.content
    )
    assert await workshop.app.database.fetch_all("SELECT * FROM contest_entries") == []


async def test_each_voter_has_an_order_of_their_own_and_never_sees_their_own_picture(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    entries = [Entry(number, 1, UserId(number), None, False) for number in range(1, 9)]  # type: ignore[arg-type]
    orders = {tuple(entry.id for entry in in_order_of(UserId(voter), "secret", entries)) for voter in range(100, 130)}
    assert len(orders) == 30
    assert in_order_of(UserId(7), "secret", entries) == in_order_of(UserId(7), "secret", entries[::-1])
    await begun(workshop, moderator)
    people = [(await entered(workshop, name)) for name in ("ada", "grace", "joan")]
    await ended_part(workshop, moderator, State.VOTING)
    ada, job = people[0]
    paper = await ballot(workshop, ada)
    assert labels(paper) == ["1", "2"]
    assert paper.attachments
    (own,) = await workshop.app.database.fetch_all("SELECT id FROM contest_entries WHERE job_id = ?", (job.id,))
    forged = await Stage(workshop, ada, job).use(ada, f"a2:contestvote:{own['id']}:1", shown(workshop))
    assert "This is your own picture" in forged.response.content
    assert await workshop.app.database.fetch_all("SELECT * FROM contest_votes") == []


async def test_a_tie_is_told_as_a_tie_and_all_its_winners_are_pinged_and_copied(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    best = workshop.guild.create_text_channel("best")
    (ada, first), (grace, second) = await of_two(workshop, moderator, gallery=best)
    await vote(workshop, ada, second)
    await vote(workshop, grace, first)
    message = await ended_part(workshop, moderator, State.COUNTED)
    assert "A tie: 2 pictures share the first place, with 1 of 2 votes each." in message.content
    assert [people for people in pinged(workshop) if people] == [[str(ada.id), str(grace.id)]]
    await workshop.seen(lambda: len(best.history()) == 2)


async def test_many_winners_of_a_tie_are_all_named(workshop: Workshop, moderator: simcord.MemberActor) -> None:
    (_, job), _ = await of_two(workshop, moderator)
    contest = replace(
        (await workshop.app.contests.latest(workshop.guild.id, 1))[0], state=State.COUNTED, theme="_" * 99
    )
    for count, named, end in ((10, 10, ""), (50, 50, ""), (60, 55, "-# and 5 more")):
        winners = [
            (Entry(number, contest.id, UserId(10**18 + number), PictureRef(job.id, 1), won=True), job)
            for number in range(count)
        ]
        over = replace(contest, entrants=count, voters=count, best=1, winners=count)
        text = _contests.news(over, winners)
        assert units(text) <= MESSAGE
        assert text.count("<@10") == named
        assert end in text
        assert text.endswith("\n-# The contest is over. Congratulations!")


@pytest.mark.parametrize("same", [True, False])
async def test_a_winner_that_is_in_a_gallery_is_copied_and_stays_without_favourites(
    workshop: Workshop, moderator: simcord.MemberActor, same: bool
) -> None:
    best = workshop.guild.create_text_channel("best")
    winners = best if same else workshop.guild.create_text_channel("winners")
    await said(moderator, workshop, "gallery", channel=best, threshold=1)
    await begun(workshop, moderator, gallery=winners)
    (_, first), (grace, _) = await entered(workshop, "ada"), await entered(workshop, "grace")
    post = workshop.message(first.destination.message_id)
    await grace.react(post, "❤️")
    await workshop.seen(lambda: best.history())
    await ended_part(workshop, moderator, State.VOTING)
    await vote(workshop, grace, first)
    await ended_part(workshop, moderator, State.COUNTED)
    await workshop.seen(lambda: winners.history())
    await grace.unreact(post, "❤️")
    if not same:
        await workshop.seen(lambda: not best.history())
    await workshop.restart()
    await rests(workshop)
    assert len(winners.history()) == 1
    await grace.react(post, "❤️")
    await workshop.seen(lambda: best.history())
    await rests(workshop)
    assert len(winners.history()) == len(best.history()) == 1


async def test_a_contest_without_entries_with_one_and_without_votes_each_get_a_sentence(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator)
    message = await ended_part(workshop, moderator, State.COUNTED)
    assert message.content.endswith("Nobody entered a picture, so there is no winner.")
    await begun(workshop, moderator)
    ada, _ = await entered(workshop, "ada")
    message = await ended_part(workshop, moderator, State.COUNTED)
    assert "Only one picture was entered, so it wins without a vote." in message.content
    assert f"<@{ada.id}>" in message.content
    await begun(workshop, moderator)
    await entered(workshop, "grace")
    await entered(workshop, "joan")
    await ended_part(workshop, moderator, State.VOTING)
    message = await ended_part(workshop, moderator, State.COUNTED)
    assert message.content.endswith("Nobody voted, so there is no winner.")
    assert len(news(workshop)) == 1


@pytest.mark.parametrize("way", ["deleted", "removed", "erased", "withdrawn"])
async def test_what_goes_during_the_vote_takes_its_votes_along_and_counts_stay_right(
    workshop: Workshop, moderator: simcord.MemberActor, way: str
) -> None:
    await begun(workshop, moderator)
    (ada, first), (grace, second) = await entered(workshop, "ada"), await entered(workshop, "grace")
    joan, _ = await entered(workshop, "joan")
    await ended_part(workshop, moderator, State.VOTING)
    voters = [workshop.member(f"v{number}") for number in range(3)]
    for voter in voters:
        await vote(workshop, voter, first)
    await vote(workshop, joan, second)
    await vote(workshop, ada, second)
    paper = await ballot(workshop, grace)
    if way == "deleted":
        await workshop.app.removals.remove_own(first.requester, first.id)
    elif way == "removed":
        await moderator.slash(workshop.channel, "mod delete", message=str(first.destination.message_id))
    elif way == "withdrawn":
        await ada.click(shown(workshop), label="Withdraw my picture")
    else:
        await workshop.app.forgetting.forget(UserId(ada.id))
        assert await workshop.app.database.fetch_all("SELECT 1 FROM contest_votes WHERE user_id = ?", (ada.id,)) == []
    gone = [name for name in labels(paper) if name.isdigit()]
    assert len(gone) == 2
    late = [await grace.click(paper, label=name) for name in gone]
    assert any("no longer in the contest" in answer.response.content for answer in late)
    message = await ended_part(workshop, moderator, State.COUNTED)
    votes = {"erased": 1}.get(way, 2)
    assert f"<@{grace.id}>" in message.content
    assert f"with {votes} of" in message.content
    assert str(ada.id) not in message.content


async def test_a_winner_whose_picture_goes_later_is_named_no_more(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    best = workshop.guild.create_text_channel("best")
    (ada, first), (grace, _) = await of_two(workshop, moderator, gallery=best)
    await vote(workshop, grace, first)
    await ended_part(workshop, moderator, State.COUNTED)
    await workshop.seen(lambda: best.history())
    await workshop.app.forgetting.forget(UserId(ada.id))
    await settled(workshop, State.COUNTED)
    for message in (shown(workshop), *news(workshop)):
        assert str(ada.id) not in message.content
        assert "One of these pictures was deleted" in message.content
    await workshop.seen(lambda: not best.history())


async def test_a_contest_is_cancelled_and_goes_on_after_an_undo(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator)
    ada, _ = await entered(workshop, "ada")
    answer = await moderator.slash(workshop.channel, "contest cancel", contest=1, reason="a wrong theme")
    assert "contest 1 is cancelled" in answer.response.content
    await settled(workshop, State.CANCELLED)
    assert shown(workshop).content.endswith("🚫 A moderator cancelled this contest.")
    assert shown(workshop).components == []
    job = await painted(workshop, ada)
    assert (
        "No contest takes entries"
        in (await ada.slash(workshop.channel, "contest enter", result=str(job.id))).response.content
    )
    assert "is over" in (await moderator.slash(workshop.channel, "contest cancel", contest=1)).response.content
    assert "undo of case 2" in await said(moderator, workshop, "undo", case=2)
    await settled(workshop, State.ENTRIES)
    assert labels(shown(workshop)) == ["Enter a picture", "Withdraw my picture"]
    assert "undo of case 1" in await said(moderator, workshop, "undo", case=1)
    await settled(workshop, State.CANCELLED)
    cases = await said(moderator, workshop, "cases")
    assert "contest 1 takes entries now" in cases
    assert "a wrong theme" in cases


async def test_an_undo_after_the_end_of_the_votes_gives_the_whole_time_to_vote(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    (_, first), (grace, _) = await of_two(workshop, moderator, votes="1h")
    await moderator.slash(workshop.channel, "contest cancel", contest=1)
    await settled(workshop, State.CANCELLED)
    await away(workshop)
    assert "undo of case 3" in await said(moderator, workshop, "undo", case=3)
    await settled(workshop, State.VOTING)
    lasts = (await contest(workshop)).votes_until - utcnow()
    assert timedelta(minutes=55) < lasts < timedelta(minutes=61)
    assert "Your vote is for picture" in await vote(workshop, grace, first)


async def test_an_undo_opens_no_more_contests_than_are_possible(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator)
    await moderator.slash(workshop.channel, "contest cancel", contest=1)
    await settled(workshop, State.CANCELLED)
    for _ in range(5):
        await begun(workshop, moderator)
    assert "5 contests are open on this server" in await said(moderator, workshop, "undo", case=2)
    await moderator.slash(workshop.channel, "contest cancel", contest=6)
    assert "undo of case 2" in await said(moderator, workshop, "undo", case=2)


async def test_an_end_by_a_moderator_cannot_be_undone(workshop: Workshop, moderator: simcord.MemberActor) -> None:
    await begun(workshop, moderator)
    await ended_part(workshop, moderator, State.COUNTED)
    assert "the next part of the contest has begun" in await said(moderator, workshop, "undo", case=2)


async def test_a_contest_ends_by_itself_also_if_the_bot_was_away(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator, votes="1h")
    (_, first), (grace, _) = await entered(workshop, "ada"), await entered(workshop, "grace")
    await away(workshop)
    await settled(workshop, State.VOTING)
    lasts = (await contest(workshop)).votes_until - utcnow()
    assert timedelta(minutes=55) < lasts < timedelta(minutes=61), "people get the whole time to vote"
    await vote(workshop, grace, first)
    await workshop.app.database.execute("UPDATE contests SET votes_until = ?", (to_text(utcnow()),))
    await settled(workshop, State.COUNTED)
    assert "One picture won, with 1 of 1 vote." in shown(workshop).content


async def test_a_contest_whose_message_was_deleted_gets_a_new_one(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    message = await begun(workshop, moderator)
    await entered(workshop, "ada")
    await entered(workshop, "grace")
    with workshop.env.time_context():
        await message.delete()
    await ended_part(workshop, moderator, State.VOTING)
    assert shown(workshop).id != message.id
    assert labels(shown(workshop)) == ["Vote", "Withdraw my picture"]


async def test_a_contest_whose_channel_is_gone_still_ends_and_fills_the_gallery(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    best = workshop.guild.create_text_channel("best")
    (_, first), (grace, _) = await of_two(workshop, moderator, gallery=best)
    await vote(workshop, grace, first)
    for path in (f"/channels/{workshop.channel.id}/*",):
        workshop.env.inject_error("*", path, status=404, code=10003, times=None)
    elsewhere = workshop.guild.create_text_channel("elsewhere")
    await moderator.slash(elsewhere, "contest end", contest=1)
    await settled(workshop, State.COUNTED)
    assert (await contest(workshop)).news_id == 0
    await workshop.seen(lambda: best.history())
    assert "is over" in (await moderator.slash(elsewhere, "contest list")).response.content


async def test_pictures_of_age_restricted_channels_stay_in_such_channels(
    workshop: Workshop, moderator: simcord.MemberActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    adult = workshop.guild.create_text_channel("adults")
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.name == "adults")
    ada = workshop.member("ada")
    before = len(await workshop.jobs())
    await ada.slash(adult, "imagine", prompt="a fox")
    job = (await workshop.ended(before + 1))[-1]
    await begun(workshop, moderator)
    refused = await ada.slash(workshop.channel, "contest enter", result=str(job.id))
    assert "is from an age-restricted channel" in refused.response.content
    menu = await ada.click(shown(workshop), label="Enter a picture")
    assert "You have no result" in menu.response.content
    assert await workshop.app.database.fetch_all("SELECT * FROM contest_entries") == []


async def test_a_picture_behind_a_spoiler_is_behind_one_on_the_ballot(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator)
    _, job = await entered(workshop, "ada")
    await entered(workshop, "grace")
    await workshop.app.database.execute("UPDATE images SET nsfw = 0.99 WHERE job_id = ?", (job.id,))
    await ended_part(workshop, moderator, State.VOTING)
    paper = await ballot(workshop, workshop.member("v"))
    assert paper.attachments[0].is_spoiler()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"entries": "soon"}, "is not a duration. Write one like 30m, 12h or 7d. Nothing was changed."),
        ({"entries": "0d"}, "is not a duration"),
        ({"entries": "400d"}, "At most 60 days are possible here. Nothing was changed."),
        ({"entries": "1d", "votes": "x"}, "is not a duration"),
    ],
)
async def test_what_cannot_be_a_contest_gets_one_sentence(
    workshop: Workshop, moderator: simcord.MemberActor, options: dict[str, str], words: str
) -> None:
    refused = await moderator.slash(workshop.channel, "contest start", theme="foxes", **options)
    assert words in refused.response.content
    assert await workshop.app.database.fetch_all("SELECT * FROM contests UNION ALL SELECT * FROM contests") == []


async def test_a_server_has_a_few_contests_at_a_time_and_another_server_reaches_none(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    for _ in range(5):
        await begun(workshop, moderator)
    sixth = await moderator.slash(workshop.channel, "contest start", theme="foxes", entries="1d")
    assert "5 contests are open on this server" in sixth.response.content
    other, there = workshop.elsewhere()
    for command in ("contest end", "contest cancel"):
        answer = await other.slash(there, command, contest=1)
        assert "There is no contest 1 on this server" in answer.response.content
    ada, job = workshop.member("ada"), await painted(workshop, workshop.member("joan"))
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel(there.id).send("a message")
    for action in ("contestenter", "contestleave", "contestballot", "contestpage", "contestpick"):
        answer = await Stage(workshop, ada, job).use(other, f"a2:{action}:1:0", message)
        assert answer.ephemeral, action
    several = await ada.slash(workshop.channel, "contest enter", result=str(job.id))
    assert "Several contests take entries" in several.response.content


async def test_a_ballot_of_many_has_pages(workshop: Workshop, moderator: simcord.MemberActor) -> None:
    await begun(workshop, moderator)
    job = await painted(workshop, workshop.member("joan"))

    async def fill(connection: Any) -> None:
        rows = [(10**6 + number, job.id) for number in range(23)]
        await connection.executemany(
            "INSERT INTO contest_entries (contest_id, user_id, job_id, number) VALUES (1, ?, ?, 1)", rows
        )

    await workshop.app.database.write(fill)
    await ended_part(workshop, moderator, State.VOTING)
    eve = workshop.member("eve")
    paper = await ballot(workshop, eve)
    assert "Pictures 1 to 20 of 23" in paper.content
    assert labels(paper)[-2:] == ["20", "More ▶"]
    more = last(await eve.click(paper, label="More ▶"))
    assert labels(more) == ["21", "22", "23", "◀ Back"]
    assert "picture 22" in (await eve.click(more, label="22")).response.content
    again = last(await eve.click(paper, label="More ▶"))
    assert "Your vote is for picture 22" in again.content


async def test_a_person_who_is_blocked_neither_enters_nor_votes(
    workshop: Workshop, moderator: simcord.MemberActor
) -> None:
    await begun(workshop, moderator)
    await entered(workshop, "grace")
    await entered(workshop, "linus")
    ada = workshop.member("ada")
    job = await painted(workshop, ada)
    menu = await ada.click(shown(workshop), label="Enter a picture")
    await moderator.slash(workshop.channel, "mod block", member=ada, reason="spam")
    answers = [
        await ada.slash(workshop.channel, "contest enter", result=str(job.id)),
        await ada.click(shown(workshop), label="Enter a picture"),
        await ada.select(last(menu), [f"{job.id}:1"], custom_id=f"a2:contestpick:{(await contest(workshop)).id}:0"),
    ]
    await moderator.slash(workshop.channel, "mod unblock", member=ada)
    await ended_part(workshop, moderator, State.VOTING)
    paper = await ballot(workshop, ada)
    await moderator.slash(workshop.channel, "mod block", member=ada, reason="spam")
    answers.append(await ada.click(shown(workshop), label="Vote"))
    answers.append(await ada.click(paper, label="1"))
    for answer in answers:
        assert "A moderator blocked you on this server. Reason: “spam”" in last(answer).content
    assert len(await workshop.app.database.fetch_all("SELECT * FROM contest_entries")) == 2
    assert await workshop.app.database.fetch_all("SELECT * FROM contest_votes") == []
