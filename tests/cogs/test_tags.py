"""/tag: who may tag what, and finding it again."""

from __future__ import annotations

import simcord

from bot.storage.tags import MOST_TAGS
from tests.conftest import Workshop


async def told(actor: simcord.MemberActor, workshop: Workshop, command: str, number: int, tags: str) -> str:
    return str((await actor.slash(workshop.channel, f"tag {command}", id=number, tags=tags)).response.content)


async def test_people_tag_their_own_results_and_moderators_any(workshop: Workshop) -> None:
    ada, grace, mo = workshop.member("ada"), workshop.member("grace"), workshop.member("mo", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="a tower")
    (job,) = await workshop.ended()
    assert "castle, old stones" in await told(ada, workshop, "add", job.id, "Old  Stones, #Castle,castle")
    assert "moderators can" in await told(grace, workshop, "add", job.id, "mine")
    assert "blocked, castle" in await told(mo, workshop, "add", job.id, "blocked")
    assert "A tag has letters" in await told(ada, workshop, "add", job.id, "a" * 33)
    assert "A tag has letters" in await told(ada, workshop, "add", job.id, "<@123>")
    assert "at least one tag" in await told(ada, workshop, "add", job.id, " , ")
    assert f"at most {MOST_TAGS}" in await told(ada, workshop, "add", job.id, ",".join("abcdefghij"))
    assert "has no tag `moon`" in await told(ada, workshop, "remove", job.id, "moon")
    assert await workshop.app.tags.of(job.id) == ["blocked", "castle", "old stones"], "all or none are changed"
    stranger, there = workshop.elsewhere()
    refused = await stranger.slash(there, "tag add", id=job.id, tags="x")
    assert "no such result" in refused.response.content
    await workshop.app.search.finish()
    found = await grace.slash(workshop.channel, "search", query='tag:"OLD stones"')
    assert "a tower" in found.response.content
    menu = (await ada.click(workshop.message(job.destination.message_id), label="More")).response
    assert "Tags: blocked, castle, old stones" in menu.content
    assert "castle" not in await told(ada, workshop, "remove", job.id, "castle")


async def test_the_info_names_the_sitting_to_its_person_alone(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    for count in (1, 2):
        await ada.slash(workshop.channel, "imagine", prompt="a tower")
        await workshop.ended(count)
    message = workshop.message((await workshop.jobs())[1].destination.message_id)
    assert "Request 2 of 2 that you made one after another" in (await ada.click(message, label="More")).response.content
    assert "sitting" not in (await grace.click(message, label="More")).response.content


async def test_offered_tags_are_those_of_the_channel_and_ones_own(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    other = workshop.guild.create_text_channel("other")
    await ada.slash(workshop.channel, "imagine", prompt="a tower")
    (job,) = await workshop.ended()
    await told(ada, workshop, "add", job.id, "castle")
    offered = workshop.app.tags.offered
    assert await offered(workshop.guild.id, grace.id, workshop.channel.id, "cas", 25) == ["castle"]
    assert await offered(workshop.guild.id, grace.id, other.id, "cas", 25) == []
    assert await offered(workshop.guild.id, ada.id, other.id, "cas", 25) == ["castle"]
    assert await offered(workshop.guild.id, ada.id, other.id, "x", 25) == []
