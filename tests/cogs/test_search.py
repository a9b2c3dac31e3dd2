"""/search: what is found, for whom, page by page."""

from __future__ import annotations

from typing import Any

import discord
import pytest
import simcord

from bot.search.client import Search
from cogs._gallery import OVER
from cogs.search import NOTHING
from tests.conftest import Workshop


async def painted(workshop: Workshop, actor: simcord.MemberActor, *prompts: str, channel: Any = None) -> None:
    before = len([job for job in await workshop.jobs() if job.posted_at])
    for count, prompt in enumerate(prompts, start=1):
        await actor.slash(channel or workshop.channel, "imagine", prompt=prompt)
        await workshop.ended(before + count)
    # simcord waits only some seconds for a process that starts.
    await workshop.app.search.finish()


async def asked(actor: simcord.MemberActor, channel: Any, query: str, where: str = "public") -> str:
    return str((await actor.slash(channel, "search", query=query, **{"in": where})).response.content)


async def test_a_person_finds_results_with_their_reasons_and_links(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await painted(workshop, ada, "a @everyone castle in the fog", "a sleeping kitten")
    result = await grace.slash(workshop.channel, "search", query="castle")
    found = result.response
    assert found.ephemeral
    (castle, _) = await workshop.jobs()
    assert "has “castle”" in found.content
    assert f"/{workshop.channel.id}/{castle.destination.message_id}" in found.content
    assert "@everyone" not in found.content
    assert found.attachments[0].filename == "found.png"
    assert "castle" in found.attachments[0].description
    shown = await grace.click(found, label="Show 1")
    assert "castle" in shown.response.content
    assert "similar meaning" in await asked(grace, workshop.channel, "young cat")
    assert "No result that you may see" in await asked(grace, workshop.channel, "model:none")
    assert "There is no filter `colour:`" in await asked(grace, workshop.channel, "colour:red")
    assert "no words to look for" in await asked(grace, workshop.channel, "AND OR (")
    assert "None of your results" in await asked(grace, workshop.channel, "castle", "mine")


async def test_an_animation_is_found_by_its_last_prompt_too(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "animate", prompt="a red fox", to="a green lighthouse")
    await workshop.ended()
    await painted(workshop, ada, "a lighthouse at night")
    for query in ("green", '"green lighthouse"', "fox"):
        assert "a red fox → a green lighthouse" in await asked(ada, workshop.channel, query), query
    assert "No result that you may see" in await asked(ada, workshop.channel, "fox -lighthouse")
    for words in ("GREEN light", "red fox"):
        history = await ada.slash(workshop.channel, "history", words=words)
        assert "a red fox → a green lighthouse" in history.response.content
        assert "at night" not in history.response.content


async def test_pages_are_turned_by_the_person_who_searched(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await painted(workshop, ada, *(f"a boat with {number} sails" for number in range(7)))
    first = (await ada.slash(workshop.channel, "search", query="boat")).response
    assert "page 1 of 2" in first.content
    (job, *_) = await workshop.jobs()
    await workshop.app.removals.remove_own(job.requester, job.id)
    second = (await ada.click(first, label="More ▶")).response
    assert "page 2 of 2" in second.content
    workshop.env.bot.get_cog("Search")._sessions.clear()
    over = await ada.click(second, label="◀ Back")
    assert OVER in [each.content for each in (*over.followups, over.response)]


async def test_nobody_finds_what_is_in_channels_that_they_cannot_read_or_on_other_servers(workshop: Workshop) -> None:
    ada, grace, mo = workshop.member("ada"), workshop.member("grace"), workshop.member("mo", moderator=True)
    closed = discord.PermissionOverwrite(view_channel=False)
    opened = discord.PermissionOverwrite(view_channel=True, send_messages=True)
    overwrites = {workshop.guild.default_role: closed, ada: opened, workshop.guild.me: opened}
    secret = workshop.guild.create_text_channel("secret", overwrites=overwrites)
    await painted(workshop, ada, "a hidden owl", channel=secret)
    assert "owl" in await asked(ada, workshop.channel, "owl")
    assert "No result" in await asked(grace, workshop.channel, "owl")
    assert "Only members with Manage Server" in await asked(grace, workshop.channel, "owl", "server")
    assert "Only the host" in await asked(mo, workshop.channel, "owl", "all")
    stranger, elsewhere = workshop.elsewhere()
    assert "No result" in await asked(stranger, elsewhere, "owl", "server")
    assert "a hidden" in await asked(ada, workshop.channel, "owl", "mine")


async def test_results_from_age_restricted_channels_are_found_only_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    red = workshop.guild.create_text_channel("red")
    # simcord does not model the label.
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.id == red.id)
    await painted(workshop, ada, "a marble statue", channel=red)
    assert "marble" in await asked(ada, red, "statue")
    for where in ("public", "mine"):
        assert "marble" not in await asked(ada, workshop.channel, "statue", where)


async def test_more_like_this_is_under_every_result(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await painted(workshop, ada, "an owl on a branch", "an owl in a barn")
    (first, _) = await workshop.jobs()
    menu = (await ada.click(workshop.message(first.destination.message_id), label="More")).response
    found = (await ada.click(menu, label="Similar prompts")).response
    assert "in a barn" in found.content
    assert "on a branch" not in found.content


async def test_a_search_for_nothing_is_answered_in_words(workshop: Workshop) -> None:
    assert (await workshop.member("ada").slash(workshop.channel, "search")).response.content == NOTHING


async def test_a_search_that_fails_is_answered_in_words(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = workshop.member("ada")

    async def broken(*_: object) -> None:
        raise OSError("no such program")

    monkeypatch.setattr(Search, "_started", broken)
    assert "Search does not work at the moment" in await asked(ada, workshop.channel, "owl")
