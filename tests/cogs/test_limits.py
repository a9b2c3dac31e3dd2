"""/limits: what moderators see and set, and that it holds."""

from __future__ import annotations

import discord
import pytest
import simcord

from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from tests.conftest import Workshop


async def test_the_limits_say_who_decided_them(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", quota=50)
    await moderator.slash(workshop.channel, "limits set", depth=9, member=ada)
    shown = await moderator.slash(workshop.channel, "limits show", member=ada)

    assert shown.ephemeral
    assert "**pace** 20 images per minute — the host's default" in shown.response.content
    assert "**depth** 9 requests waiting at a time — a rule for this person" in shown.response.content
    assert "**quota** 50 images in 24 hours — this server's rule" in shown.response.content


async def test_a_change_holds_from_the_next_request_on_and_survives_a_restart(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="one")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    await ada.slash(workshop.channel, "imagine", prompt="two")
    await moderator.slash(workshop.channel, "limits set", depth=1)
    refused = await ada.slash(workshop.channel, "imagine", prompt="three")
    await workshop.restart()
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    still = await ada.slash(workshop.channel, "imagine", prompt="four")
    await moderator.slash(workshop.channel, "limits set", depth=2, member=ada)
    accepted = await ada.slash(workshop.channel, "imagine", prompt="five")

    assert "1 of 1 requests wait (this server's rule)" in refused.response.content
    assert "1 of 1 requests wait (this server's rule)" in still.response.content
    assert "Queued" in accepted.response.content


async def test_a_raised_pace_frees_what_waits_at_once(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=1)
    await ada.slash(workshop.channel, "imagine", prompt="one")
    paced = await ada.slash(workshop.channel, "imagine", prompt="two")
    await workshop.ended(1)
    assert "starts <t:" in paced.response.content
    assert (await workshop.jobs())[1].status is JobStatus.QUEUED

    await moderator.slash(workshop.channel, "limits set", pace=60)
    assert [job.status for job in await workshop.ended(2)] == [JobStatus.DELIVERED] * 2


async def test_clear_goes_back_to_the_default(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "limits set", pace=3)
    cleared = await moderator.slash(workshop.channel, "limits clear")
    again = await moderator.slash(workshop.channel, "limits clear")

    assert "**pace** 20 images per minute — the host's default" in cleared.response.content
    assert again.response.content.startswith("Nothing was set there.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Say what to set"),
        ({"pace": 0}, "pace (images per minute) goes from 1 to 10,000; 0 is outside."),
        ({"depth": -5}, "depth (requests waiting at a time) goes from 1"),
        ({"quota": 2_000_000, "pace": 5}, "Nothing was changed."),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused_whole(
    workshop: Workshop, options: dict[str, int], words: str
) -> None:
    moderator = workshop.member("mod", moderator=True)
    refused = await moderator.slash(workshop.channel, "limits set", **options)

    assert words in refused.response.content
    assert await workshop.app.database.fetch_all("SELECT 1 FROM limits") == []


async def test_discord_hides_the_group_from_members(workshop: Workshop) -> None:
    with pytest.raises(simcord.SetupError):
        await workshop.member("eve").slash(workshop.channel, "limits set", pace=100)


async def test_the_code_refuses_members_to_whom_an_admin_opened_the_group(workshop: Workshop) -> None:
    eve = workshop.member("eve")
    with workshop.env.time_context():
        group = next(c for c in await workshop.env.bot.tree.fetch_commands() if c.name == "limits")
    workshop.guild.set_command_permissions(group, {eve: True})
    refused = await eve.slash(workshop.channel, "limits set", pace=100)

    assert "Only members with Manage Server" in refused.response.content
    assert await workshop.app.database.fetch_all("SELECT 1 FROM limits") == []


async def test_a_rule_of_one_server_is_nothing_to_another(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "limits set", pace=3)
    elsewhere = workshop.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("easel")
    keys = elsewhere.create_role("keys", permissions=discord.Permissions(manage_guild=True))
    other = elsewhere.add_member(workshop.env.create_user("other"), roles=[keys])
    shown = await other.slash(channel, "limits show")

    assert "**pace** 20 images per minute — the host's default" in shown.response.content
