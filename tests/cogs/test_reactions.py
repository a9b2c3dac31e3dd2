"""What reactions under a result do: delete it, show it in the gallery, send it to a person; and how that is undone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.delivery import reactions
from bot.errors import UserError
from bot.jobs import JobStatus, MessageId, UserId
from cogs import _requests
from cogs.side_messages import REMOVED_BY_REQUESTER
from tests.conftest import Workshop


async def painted(workshop: Workshop, actor: simcord.MemberActor, prompt: str = "a cat", **options: Any) -> Any:
    """A delivered result: its message as people see it."""
    before = len([job for job in await workshop.jobs() if job.posted_at is not None])
    asked = await actor.slash(workshop.channel, "imagine", prompt=prompt, **options)
    await workshop.ended(before + 1)
    return workshop.message(asked.response.id)


async def rests(workshop: Workshop) -> None:
    """Wait until the reactions so far have had their effect."""
    await workshop.env.settle()
    await workshop.app.database.fetch_all("SELECT 1")
    await workshop.seen(lambda: workshop.app.reactions.is_idle)


async def test_a_requesters_cross_deletes_their_result_and_says_so_to_all(workshop: Workshop, tmp_path: Path) -> None:
    ada = workshop.member("ada")
    result = await painted(workshop, ada, images=2)
    assert len(list((tmp_path / "data" / "pictures").glob("*/*"))) == 2
    await ada.react(result, "❌")
    await workshop.seen(lambda: workshop.message(result.id).content == REMOVED_BY_REQUESTER)
    assert workshop.message(result.id).attachments == []
    await workshop.seen(lambda: not list((tmp_path / "data" / "pictures").glob("*/*")))
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases") == [], "it is no decision of a moderator"
    assert [job.status for job in await workshop.jobs()] == [JobStatus.DELIVERED], "what it cost is not given back"


async def test_a_strangers_or_a_moderators_cross_deletes_nothing(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    moderator = workshop.member("mod", moderator=True)
    result = await painted(workshop, ada)
    for actor in (eve, moderator):
        await actor.react(result, "❌")
    await rests(workshop)
    assert len(workshop.message(result.id).attachments) == 1
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM images")) == 1


async def test_a_cross_from_before_the_picture_deletes_it_unless_it_was_taken_back(
    workshop: Workshop, engine: Any
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    asked = [await ada.slash(workshop.channel, "imagine", prompt=prompt) for prompt in ("a cat", "a dog")]
    for each in asked:
        await ada.react(workshop.message(each.response.id), "❌")
    await ada.unreact(workshop.message(asked[1].response.id), "❌")
    engine.open.set()
    await workshop.ended(2)
    await workshop.seen(lambda: workshop.message(asked[0].response.id).content == REMOVED_BY_REQUESTER)
    await rests(workshop)
    assert len(workshop.message(asked[1].response.id).attachments) == 1


async def test_a_cross_given_while_the_bot_was_away_deletes_after_the_start(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    result = await painted(workshop, ada)
    with pytest.MonkeyPatch.context() as deaf:
        deaf.setattr(workshop.env.bot.get_cog("Feedback"), "_is_me", lambda _: True)
        await ada.react(result, "❌")
    assert await workshop.app.database.fetch_all("SELECT 1 FROM ratings") == []
    await workshop.restart()
    await workshop.seen(lambda: workshop.message(result.id).content == REMOVED_BY_REQUESTER)


async def test_the_note_about_a_deletion_is_made_up_for_after_a_restart(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    result = await painted(workshop, ada)

    async def away(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    with monkeypatch.context() as broken:
        broken.setattr(discord.PartialMessage, "edit", away)
        await ada.react(result, "❌")
        await rests(workshop)
        (owed,) = await workshop.app.removals.owed()
        assert await workshop.app.removals.is_by_requester(owed)
    await workshop.restart()
    await workshop.seen(lambda: workshop.message(result.id).content == REMOVED_BY_REQUESTER)

    async def noted() -> bool:
        return not await workshop.app.removals.owed()

    await workshop.until(noted)


async def test_a_note_that_was_not_taken_is_made_soon(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = workshop.member("ada")
    result = await painted(workshop, ada)
    edit, tries = discord.PartialMessage.edit, []

    async def lost(self: discord.PartialMessage, **options: Any) -> Any:
        tries.append(options)
        if len(tries) == 1:
            raise ConnectionResetError
        return await edit(self, **options)

    monkeypatch.setattr(discord.PartialMessage, "edit", lost)
    await ada.react(result, "❌")
    async with asyncio.timeout(10):
        await workshop.seen(lambda: workshop.message(result.id).content == REMOVED_BY_REQUESTER)
    assert len(tries) == 2


async def test_only_the_requester_removes_a_result_as_their_own_and_only_once(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    result = await painted(workshop, ada)
    (job,) = await workshop.jobs()
    removals = workshop.app.removals
    with pytest.raises(UserError, match="Only the person who asked"):
        await removals.remove_own(workshop.requester(eve), job.id)
    await removals.remove_own(workshop.requester(ada), job.id)
    with pytest.raises(UserError, match="were deleted before"):
        await removals.remove_own(workshop.requester(ada), job.id)
    await workshop.seen(lambda: workshop.message(result.id).content == REMOVED_BY_REQUESTER)


async def test_what_a_moderator_deletes_says_so(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    result = await painted(workshop, ada)
    await moderator.slash(workshop.channel, "mod delete", message=str(result.id))
    await workshop.seen(lambda: workshop.message(result.id).content == _requests.REMOVED)
    await ada.react(workshop.message(result.id), "❌")
    await rests(workshop)
    assert workshop.message(result.id).content == _requests.REMOVED


UNNOTED = "UPDATE side_messages SET message_id = NULL, begun_at = '2025-01-01T00:00:00.000000+00:00'"
"""Leaves the rows as a kill between Discord's accept and our commit does; simcord's clock is not ours."""


async def gallery(workshop: Workshop, threshold: int = 2) -> simcord.ChannelHandle:
    """A gallery that a moderator has set."""
    best = workshop.guild.create_text_channel("best")
    moderator = workshop.member("curator", moderator=True)
    answer = await moderator.slash(workshop.channel, "mod gallery", channel=best, threshold=threshold)
    assert answer.response.content.startswith("Case 1: gallery for this server: <#"), answer.response
    return best


async def side(workshop: Workshop) -> list[tuple[str, int, bool]]:
    """The rows of side messages: what, for whom, and whether there is a message."""
    rows = await workshop.app.database.fetch_all("SELECT * FROM side_messages ORDER BY id")
    return [(row["kind"], row["user_id"], row["message_id"] is not None) for row in rows]


async def test_a_favourite_of_enough_people_is_copied_once_and_goes_when_they_are_fewer(workshop: Workshop) -> None:
    best = await gallery(workshop)
    ada, bob, eve = (workshop.member(name) for name in ("ada", "bob", "eve"))
    result = await painted(workshop, ada, "a *cat* <@1>", images=2)
    await ada.react(result, "❤️")
    await bob.react(result, "❤️")
    await bob.react(result, "⭐")
    await rests(workshop)
    assert best.history() == [], "the requester's own does not count, and a person counts once"
    await eve.react(result, "⭐")
    (copy,) = await workshop.seen(best.history)
    assert copy.content == (
        f"{_requests.headline((await workshop.jobs())[0])}\n-# The original: "
        f"https://discord.com/channels/{workshop.guild.id}/{workshop.channel.id}/{result.id}"
    )
    assert [attachment.description for attachment in copy.attachments] == ["a *cat* <@1>"] * 2
    for actor in (ada, workshop.member("joan")):
        await actor.react(result, "⭐")
    await rests(workshop)
    assert [message.id for message in best.history()] == [copy.id]

    await bob.unreact(result, "⭐")
    await workshop.member("ida").react(result, "👍")
    await rests(workshop)
    assert len(best.history()) == 1
    await bob.unreact(result, "❤️")
    await eve.unreact(result, "⭐")
    await workshop.seen(lambda: not best.history())
    await eve.react(result, "❤️")
    (again,) = await workshop.seen(best.history)
    assert again.id != copy.id
    await rests(workshop)
    assert await side(workshop) == [("gallery", 0, True)]


async def test_the_heart_under_a_result_is_a_favourite_until_it_is_pressed_again(workshop: Workshop) -> None:
    best = await gallery(workshop)
    ada, bob, eve = (workshop.member(name) for name in ("ada", "bob", "eve"))
    result = await painted(workshop, ada)
    liked = (await bob.click(result, label="❤️")).response.content
    assert liked == (
        "This is a favourite of yours now. ❤️ A result that 2 people besides the one who asked for it like with ❤️ "
        f"is copied to <#{best.id}>, where everyone sees it."
    )
    await bob.react(result, "❤️")
    await rests(workshop)
    assert best.history() == [], "a person counts once"
    await eve.click(result, label="❤️")
    await workshop.seen(best.history)
    # No reaction stands under the message, and what is read again after a start does not take the presses away.
    await bob.unreact(result, "❤️")
    await workshop.restart()
    await rests(workshop)
    assert len(best.history()) == 1
    assert "no favourite" in (await eve.click(result, label="❤️")).response.content
    await workshop.seen(lambda: not best.history())


async def test_a_race_of_reactions_makes_one_copy(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    result = await painted(workshop, workshop.member("ada"))
    message_id = MessageId(result.id)
    feedback = workshop.app.feedback
    await asyncio.gather(
        *(feedback.added(message_id, UserId(900 + n), emoji) for n in range(20) for emoji in ("❤️", "⭐", "👍")),
        *(feedback.removed(message_id, UserId(900 + n), "❤️") for n in range(20)),
    )
    await workshop.seen(best.history)
    await rests(workshop)
    assert len(best.history()) == 1


async def test_a_restart_makes_no_second_copy_and_undoes_what_was_taken_back_meanwhile(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    ada, bob = workshop.member("ada"), workshop.member("bob")
    result = await painted(workshop, ada)
    await bob.react(result, "❤️")
    (copy,) = await workshop.seen(best.history)
    await rests(workshop)
    await workshop.restart()
    await rests(workshop)
    assert [message.id for message in best.history()] == [copy.id]
    with pytest.MonkeyPatch.context() as deaf:
        deaf.setattr(workshop.env.bot.get_cog("Feedback"), "_is_me", lambda _: True)
        await bob.unreact(result, "❤️")
    await rests(workshop)
    assert len(best.history()) == 1
    await workshop.restart()
    await workshop.seen(lambda: not best.history())
    await rests(workshop)
    assert await side(workshop) == []


async def test_a_copy_that_was_sent_without_a_note_of_it_is_found_and_not_sent_again(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    bob = workshop.member("bob")
    result = await painted(workshop, workshop.member("ada"))
    await bob.react(result, "⭐")
    (copy,) = await workshop.seen(best.history)
    await rests(workshop)
    await workshop.app.database.execute(UNNOTED)
    await workshop.restart()

    async def noted() -> bool:
        return await side(workshop) == [("gallery", 0, True)]

    await workshop.until(noted)
    assert [message.id for message in best.history()] == [copy.id]
    await workshop.app.database.execute(UNNOTED)
    await workshop.app.database.execute("DELETE FROM ratings")
    await workshop.seen(lambda: not best.history())
    await rests(workshop)
    assert await side(workshop) == []


@pytest.mark.parametrize("who", ["requester", "moderator", "privacy"])
async def test_a_deleted_result_takes_its_copies_with_it(workshop: Workshop, who: str) -> None:
    best = await gallery(workshop, 1)
    ada, bob = workshop.member("ada"), workshop.member("bob")
    result = await painted(workshop, ada)
    await bob.react(result, "⭐")
    await bob.react(result, "✉️")
    await workshop.seen(best.history)
    await workshop.seen(bob.user.dm_channel.history)
    if who == "requester":
        await ada.react(result, "❌")
    elif who == "moderator":
        moderator = workshop.member("mod", moderator=True)
        link = f"https://discord.com/channels/{workshop.guild.id}/{best.id}/{best.history()[0].id}"
        await rests(workshop)
        answer = await moderator.slash(workshop.channel, "mod delete", message=link)
        assert answer.response.content.startswith("Case 2: delete for"), "a link to the copy names the result, too"
        await workshop.seen(lambda: workshop.message(result.id).content == _requests.REMOVED)
    else:
        asked = await ada.slash(workshop.channel, "privacy delete")
        await ada.click(asked.response, label="Delete my data")
    await workshop.seen(lambda: not best.history() and not bob.user.dm_channel.history())
    await rests(workshop)
    assert await side(workshop) == []


async def test_a_gallery_that_takes_no_post_delays_only_its_copies(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reactions, "CLOSED_SECONDS", 0.2)
    best = await gallery(workshop, 1)
    ada, bob = workshop.member("ada"), workshop.member("bob")
    result = await painted(workshop, ada)
    workshop.env.inject_error("POST", f"/channels/{best.id}/messages", status=403, code=50013, times=2)
    await bob.react(result, "⭐")
    other = await painted(workshop, ada, "a dog")
    assert len(other.attachments) == 1
    await workshop.seen(best.history)
    await rests(workshop)
    assert len(best.history()) == 1
    assert f"the gallery {best.id} refuses a copy" in caplog.text


async def test_pictures_too_large_for_the_gallery_are_sent_smaller(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    bob = workshop.member("bob")
    result = await painted(workshop, workshop.member("ada"))
    workshop.env.inject_error("POST", f"/channels/{best.id}/messages", status=413, code=40005)
    await bob.react(result, "⭐")
    (copy,) = await workshop.seen(best.history)
    assert [attachment.filename for attachment in copy.attachments] == ["atelier-1-1.webp"]
    assert "Sent as WebP" in copy.content


async def test_a_gallery_is_a_case_that_can_be_changed_ended_and_undone(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    moderator = workshop.member("mod", moderator=True)
    ada, bob = workshop.member("ada"), workshop.member("bob")

    async def said(**options: Any) -> str:
        answer = await moderator.slash(workshop.channel, "mod gallery", **options)
        assert answer.ephemeral
        return answer.response.content

    assert (
        f"<#{best.id}>, for results with 1 favourite or more → <#{best.id}>, for results with 5 favourites or more"
        in await said(threshold=5)
    )
    assert await said(channel=best) == "The gallery is set like that already."
    assert f"<#{best.id}>, for results with 5 favourites or more → no" in await said()
    assert await said() == "This server has no gallery."
    assert "Name its channel too" in await said(threshold=5)
    result = await painted(workshop, ada)
    await bob.react(result, "❤️")
    await rests(workshop)
    assert best.history() == []
    for case in (3, 2):
        await moderator.slash(workshop.channel, "mod undo", case=case)
    await workshop.seen(best.history)
    await said()
    await rests(workshop)
    assert len(best.history()) == 1, "what a gallery has stays when it ends"
    await bob.unreact(result, "❤️")
    await workshop.seen(lambda: not best.history())


async def test_what_is_from_an_age_restricted_channel_stays_in_such_channels(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # simcord has no age-restricted channels.
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.name == "adults")
    best = await gallery(workshop, 1)
    bob = workshop.member("bob")
    workshop.channel = workshop.guild.create_text_channel("adults")
    result = await painted(workshop, workshop.member("ada"))
    said = (await bob.click(result, label="❤️")).response.content
    assert said == "This is a favourite of yours now. ❤️", "it is not copied there"
    await bob.react(result, "❤️")
    await rests(workshop)
    assert best.history() == []
    assert await side(workshop) == []


async def test_an_envelope_sends_the_result_to_the_person_once_and_is_undone(workshop: Workshop) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    result = await painted(workshop, ada, images=2)
    for actor in (ada, bob):
        await actor.react(result, "✉️")
    letters = [actor.user.dm_channel for actor in (ada, bob)]
    for direct in letters:
        (letter,) = await workshop.seen(direct.history)
        assert len(letter.attachments) == 2
        assert "seeds `" in letter.content
        assert letter.content.startswith("**a cat**")
        assert letter.content.endswith(f"/{workshop.channel.id}/{result.id}")
    await rests(workshop)
    await workshop.restart()
    await rests(workshop)
    await workshop.app.database.execute(UNNOTED)
    await workshop.restart()
    await rests(workshop)
    assert [len(direct.history()) for direct in letters] == [1, 1]
    with pytest.MonkeyPatch.context() as deaf:
        deaf.setattr(workshop.env.bot.get_cog("Feedback"), "_is_me", lambda _: True)
        await bob.unreact(result, "✉️")
    await workshop.restart()
    await workshop.seen(lambda: not letters[1].history())
    assert len(letters[0].history()) == 1


async def test_a_person_who_wants_all_results_gets_each_once(workshop: Workshop) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    await ada.slash(workshop.channel, "settings", send_to_me=True)
    first = await painted(workshop, ada, "a cat")
    await painted(workshop, bob, "a dog")
    letters = ada.user.dm_channel
    await workshop.seen(letters.history)
    await workshop.restart()
    await rests(workshop)
    (sent,) = letters.history()
    assert sent.content.startswith("**a cat**")
    assert sent.content.endswith(f"/{first.id}")
    assert not bob.user.dm_channel.history()


async def test_closed_direct_messages_get_a_note_that_goes_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "NOTE_STAYS", timedelta(seconds=2))
    ada, bob = workshop.member("ada"), workshop.member("bob")
    results = [await painted(workshop, ada, prompt) for prompt in ("a cat", "a dog")]
    direct = bob.user.dm_channel
    workshop.env.inject_error("POST", f"/channels/{direct.id}/messages", status=403, code=50007, times=2)
    await bob.react(results[0], "✉️")
    (note,) = await workshop.seen(lambda: workshop.channel.history()[2:])
    assert note.content.startswith(f"<@{bob.id}> you asked for ")
    assert "you take no direct messages from me" in note.content
    assert [user.id for user in note.mentions] == [bob.id]
    await bob.react(results[1], "✉️")
    await workshop.seen(lambda: len(workshop.channel.history()) == 2)
    await rests(workshop)
    assert len(workshop.channel.history()) == 2, "once a day is enough"
    await bob.unreact(results[0], "✉️")
    await bob.react(results[0], "✉️")
    (letter,) = await workshop.seen(direct.history)
    assert letter.attachments


async def test_the_rows_of_a_person_are_theirs(workshop: Workshop) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    result = await painted(workshop, ada)
    await bob.react(result, "✉️")
    await workshop.seen(bob.user.dm_channel.history)
    await rests(workshop)
    exported = await workshop.app.forgetting.export(UserId(bob.id))
    assert [row["kind"] for row in exported["copies"]] == ["private"]
    assert (await workshop.app.forgetting.export(UserId(ada.id)))["copies"] == []
    asked = await bob.slash(workshop.channel, "privacy delete")
    await bob.click(asked.response, label="Delete my data")
    await workshop.seen(lambda: not bob.user.dm_channel.history())
    await rests(workshop)
    assert await side(workshop) == []
    assert len(workshop.message(result.id).attachments) == 1


async def test_several_pictures_are_offered_their_numbers(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    many, one = await painted(workshop, ada, images=3), await painted(workshop, ada)
    expected = ["👍", "👎", "1️⃣", "2️⃣", "3️⃣"]

    def emojis(result: Any) -> list[str]:
        return [str(reaction.emoji) for reaction in workshop.message(result.id).reactions]

    await workshop.seen(lambda: emojis(many) == expected and emojis(one) == expected[:2])
    await workshop.member("bob").react(many, "2️⃣")
    rows = await workshop.app.database.fetch_all("SELECT emoji FROM ratings")
    assert [row["emoji"] for row in rows] == ["2⃣"]
