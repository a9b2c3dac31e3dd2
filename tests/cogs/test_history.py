"""/history: one's own requests, and pictures that a channel did not take."""

from __future__ import annotations

from typing import Any

import discord

from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed
from bot.jobs import JobStatus
from cogs._gallery import OVER
from tests.conftest import Workshop


async def test_a_person_sees_their_own_ended_requests_page_by_page(workshop: Workshop, engine: FakeEngine) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    assert "There is nothing here yet" in (await ada.slash(workshop.channel, "history")).response.content
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
    assert "page" not in first.content
    assert "secret" not in first.content
    assert "@everyone" not in first.content
    second = (await ada.slash(workshop.channel, "history", page=2)).response
    assert "number 1" in second.content
    assert "The model refuses this" in second.content
    assert labels(second) == ["◀ Back"], "nothing was painted, so there is nothing to show"
    turned = (await ada.click(first, label="More ▶")).response
    assert turned.content == second.content
    assert (await ada.click(turned, label="◀ Back")).response.content == first.content
    assert "that far back" in (await ada.slash(workshop.channel, "history", page=3)).response.content


async def test_pages_keep_what_was_looked_for_until_a_restart(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for number in range(1, 8):
        await ada.slash(workshop.channel, "imagine", prompt=f"a {'dog' if number == 1 else 'cat'} {number}")
        await workshop.ended(number)
    first = (await ada.slash(workshop.channel, "history", words="cat")).response
    second = (await ada.click(first, label="More ▶")).response
    assert "cat 2" in second.content
    assert "dog" not in second.content
    await workshop.restart()
    other = (await ada.slash(workshop.channel, "history", words="cat", page=2)).response
    assert "cat 2" in other.content
    old = (await ada.click(second, label="◀ Back")).response.content
    assert old == OVER, "a list of this run is not shown instead"


async def test_the_history_says_what_was_made_from_a_picture(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    await ada.click(workshop.message(job.destination.message_id), label="Vary (subtle)")
    await workshop.ended(2)
    first, second = (await ada.slash(workshop.channel, "history")).response.content.splitlines()
    assert "a cat (from an image) — https://" in first
    assert "a cat — https://" in second


def labels(message: Any) -> list[str]:
    """The labels of a message's buttons."""
    return [button["label"] for row in message.components for button in row["components"]]


async def test_a_person_finds_requests_by_words_model_liking_and_date(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    for number, prompt in enumerate(("a red CAT", "a blue dog", "a cat_50%"), start=1):
        await ada.slash(workshop.channel, "imagine", prompt=prompt)
        await workshop.ended(number)
    cat, dog, _ = await workshop.jobs()
    await grace.react(workshop.message(dog.destination.message_id), "👍")
    await workshop.app.database.execute(
        "UPDATE jobs SET asked_at = '2020' || substr(asked_at, 5) WHERE id = ?", (cat.id,)
    )

    async def found(**options: Any) -> str:
        return str((await ada.slash(workshop.channel, "history", **options)).response.content)

    assert "CAT" in (cats := await found(words="cat"))
    assert "dog" not in cats
    assert "cat_50%" in (await found(words="_50%")).replace("\\", ""), "these are characters and no pattern"
    assert "CAT" not in await found(words="_50%")
    assert "dog" in (liked := await found(liked=True))
    assert "cat" not in liked
    assert "CAT" not in await found(days=30)
    assert "matches" in await found(model="none")


async def test_a_deleted_result_says_who_deleted_it(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    for number in (1, 2):
        await ada.slash(workshop.channel, "imagine", prompt=f"cat {number}")
        await workshop.ended(number)
    first, second = await workshop.jobs()
    await moderator.slash(workshop.channel, "mod delete", message=str(first.destination.message_id))
    await workshop.app.removals.remove_own(second.requester, second.id)
    newest, oldest = (await ada.slash(workshop.channel, "history")).response.content.splitlines()
    assert newest.startswith("1. 🗑️")
    assert newest.endswith("you deleted its pictures")
    assert oldest.endswith("a moderator removed its pictures")


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
