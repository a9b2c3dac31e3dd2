"""Requests in direct messages: refused with the reason, and painted where the host opened them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.config import Config, DiscordConfig
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from tests.conftest import Workshop


async def test_a_request_in_direct_messages_is_refused_with_the_reason(workshop: Workshop) -> None:
    eve = workshop.env.create_user("eve")
    asked = await eve.slash("imagine", prompt="a cat")
    assert asked.ephemeral
    assert "the host of this bot has not opened direct messages" in asked.response.content
    assert "```\na cat\n```" in asked.response.content
    assert await workshop.jobs() == []
    assert not {"queue", "quota", "history", "cancel"} & set(eve.available_commands())


class TestOpened:
    """A host who opened them."""

    @pytest.fixture
    async def workshop(self, config: Config, engine: FakeEngine) -> AsyncIterator[Workshop]:
        opened = config.model_copy(update={"discord": DiscordConfig(direct_messages=True, ping_after_seconds=0)})
        workshop = Workshop(opened, engine)
        await workshop.open()
        yield workshop
        await workshop.close()

    async def test_a_picture_comes_in_direct_messages_also_after_a_restart(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        eve = workshop.env.create_user("eve")
        engine.open.clear()
        asked = await eve.slash("imagine", prompt="a cat")
        assert "Queued: place 1" in asked.response.content
        await workshop.restart()
        engine.open.set()
        (job,) = await workshop.ended()
        assert job.status is JobStatus.DELIVERED
        (shown,) = eve.dm_channel.history()
        assert shown.id == asked.response.id
        assert len(shown.attachments) == 1

        await eve.set_reaction(shown, "🔥", reacted=True)
        rows = await workshop.app.database.fetch_all("SELECT user_id, emoji FROM ratings")
        assert [tuple(row) for row in rows] == [(eve.id, "🔥")]

        history = await eve.slash("history")
        assert f"channels/@me/{eve.dm_channel.id}/{shown.id}" in history.response.content
        search = await eve.slash("search", query="cat")
        assert f"channels/@me/{eve.dm_channel.id}/{shown.id}" in (search.followups or [search.response])[-1].content
        await eve.click(shown, label="Vary (strong)")
        await workshop.ended(2)
        varied = eve.dm_channel.history()[-1]
        assert f"From [picture 1 of request {job.id}](<https://discord.com/channels/@me/" in varied.content
        again = await eve.click(history.response, label="Show 1")
        assert len((again.followups or [again.response])[-1].attachments) == 1
        assert "of painting time is left: about" in (await eve.slash("quota")).response.content
        assert "**Here you may use**" in (await eve.slash("help")).response.content

    async def test_people_see_nothing_of_each_other_and_cancel_only_their_own(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        eve, bob, ada = workshop.env.create_user("eve"), workshop.env.create_user("bob"), workshop.member("ada")
        engine.open.clear()
        await eve.slash("imagine", prompt="a xylophone")
        asked = await bob.slash("imagine", prompt="a zeppelin")
        for said in (
            (await bob.slash("queue")).response.content,
            (await ada.slash(workshop.channel, "queue")).response.content,
        ):
            assert f"<@{eve.id}>" not in said
            assert "xylophone" not in said
        await bob.click(asked.response, label="Cancel")
        assert "no open requests" in (await bob.slash("cancel")).response.content
        engine.open.set()
        jobs = await workshop.ended(2)
        assert [job.status for job in jobs] == [JobStatus.DELIVERED, JobStatus.CANCELLED]

    async def test_a_rule_of_a_server_does_not_hold_there(self, workshop: Workshop) -> None:
        ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
        await mod.slash(workshop.channel, "limits set", images=1, member=ada)
        await ada.user.slash("imagine", prompt="a cat", images=3)
        (job,) = await workshop.ended()
        assert job.request.num_images_per_prompt == 3

    async def test_a_deletion_reaches_them(self, workshop: Workshop) -> None:
        eve = workshop.env.create_user("eve")
        await eve.slash("imagine", prompt="a cat")
        await workshop.ended()
        asked = await eve.slash("privacy delete")
        await eve.click(asked.response, label="Delete my data")
        await workshop.seen(lambda: not [each for each in eve.dm_channel.history() if each.attachments])
