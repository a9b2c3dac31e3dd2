"""/history: one's own requests, and pictures that a channel did not take."""

from __future__ import annotations

import discord

from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed
from bot.jobs import JobStatus
from tests.conftest import Workshop


async def test_a_person_sees_their_own_ended_requests_page_by_page(workshop: Workshop, engine: FakeEngine) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    assert "None of your requests" in (await ada.slash(workshop.channel, "history")).response.content
    await bob.slash(workshop.channel, "imagine", prompt="a secret")
    await workshop.ended()
    engine.raises = [PaintFailed("The model refuses this.")]
    for number in range(1, 7):
        await ada.slash(workshop.channel, "imagine", prompt=f"@everyone number {number}")
        await workshop.ended(1 + number)

    first = (await ada.slash(workshop.channel, "history")).response
    assert first.ephemeral
    lines = first.content.splitlines()
    assert [f"number {number}" in line for number, line in zip(range(6, 1, -1), lines, strict=False)] == [True] * 5
    assert "page:2" in lines[-1]
    assert "secret" not in first.content
    assert "@everyone" not in first.content
    second = (await ada.slash(workshop.channel, "history", page=2)).response
    assert "number 1" in second.content
    assert "The model refuses this" in second.content
    assert second.components == [], "nothing was painted, so there is nothing to show"
    assert "that far back" in (await ada.slash(workshop.channel, "history", page=3)).response.content


async def test_pictures_of_a_channel_that_took_none_are_shown_on_demand_to_their_owner_alone(
    workshop: Workshop,
) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    workshop.env.inject_error("PATCH", f"/channels/{workshop.channel.id}/*", status=403, code=50013, times=None)
    (job,) = await workshop.ended()
    assert job.status is JobStatus.FAILED

    shown = await ada.slash(workshop.channel, "history")
    assert "50013" in shown.response.content
    pressed = await ada.click(shown.response, custom_id=f"a2:show:{job.id}:0")
    assert pressed.followups[-1].ephemeral
    assert [file.filename for file in pressed.followups[-1].attachments] == [
        f"atelier-{job.id}-1.png",
        f"atelier-{job.id}-2.png",
    ]
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Forged", custom_id=f"a1:show:{job.id}"))
    with workshop.env.time_context():
        forged = await workshop.env.bot.get_channel(workshop.channel.id).send("a message", view=view)
    view.stop()
    foreign = await bob.click(forged, label="Forged")
    assert "expired" in foreign.response.content
    assert foreign.followups == []
