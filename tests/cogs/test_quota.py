"""/quota, and the bill before a big request: as member, moderator and stranger, in two servers."""

from __future__ import annotations

import discord
import pytest

from bot import admission
from bot.client import PERMISSIONS
from tests.conftest import Workshop

USE = discord.Permissions(use_application_commands=True).value


@pytest.fixture(autouse=True)
def everything_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_BIG_SECONDS", 0.4)


async def test_a_quota_is_ones_own_and_a_servers_own(workshop: Workshop) -> None:
    ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    there = workshop.env.create_guild("Elsewhere")
    role = there.create_role("members", permissions=discord.Permissions(PERMISSIONS.value | USE))
    also = there.add_member(workshop.env.create_user("eve"), roles=[role])
    mine = await ada.slash(workshop.channel, "quota")
    theirs = await mod.slash(workshop.channel, "quota")
    elsewhere = await also.slash(there.create_text_channel("easel"), "quota")

    assert mine.ephemeral
    assert "return <t:" in mine.response.content
    for other in (theirs, elsewhere):
        assert "**1831 of 1831 pictures** left" in other.response.content
        assert "return" not in other.response.content


async def test_a_big_request_is_confirmed_and_nothing_is_held_until_then(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    assert bill.ephemeral
    assert "2 pictures, about 0.7 s of GPU time: 2 of the 1831 pictures left to you today." in bill.response.content
    assert await workshop.jobs() == []
    await ada.click(bill.response, label="Paint it")
    (job,) = await workshop.ended()
    assert (job.request.prompt, job.requester) == ("a cat", workshop.requester(ada))
    again = await ada.click(bill.response, label="Paint it")
    assert "This has been answered" in again.response.content
    assert len(await workshop.jobs()) == 1


async def test_after_a_restart_a_bill_says_that_it_expired(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    await workshop.restart()
    pressed = await ada.click(bill.response, label="Paint it")
    assert "Atelier was restarted meanwhile" in pressed.response.content
    assert await workshop.jobs() == []
