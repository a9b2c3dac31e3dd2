"""/dataset: what people agree to is recorded and can be taken back, and moderators choose the channels."""

from __future__ import annotations

from typing import Any

import simcord

from tests.conftest import Workshop


async def said(actor: simcord.MemberActor, workshop: Workshop, command: str, **options: Any) -> str:
    answered = await actor.slash(workshop.channel, f"dataset {command}", **options)
    assert answered.ephemeral
    return str(answered.response.content)


async def test_a_person_joins_after_the_terms_and_leaves_again(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    assert "not in the data sets" in await said(ada, workshop, "status")
    terms = await said(ada, workshop, "join")
    assert "CC0" in terms
    assert "Nothing was changed" in terms
    assert "not in the data sets" in await said(ada, workshop, "status")
    assert "You joined." in await said(ada, workshop, "join", agree=True)
    assert "joined before" in await said(ada, workshop, "join", agree=True)
    await workshop.restart()
    assert "You joined <t:" in await said(ada, workshop, "status")
    assert "nothing of yours" in await said(ada, workshop, "leave")
    assert "not in the data sets" in await said(ada, workshop, "leave")
    assert "You left <t:" in await said(ada, workshop, "status")
    (row,) = await workshop.app.database.fetch_all("SELECT user_id, left_at FROM consents")
    assert row["user_id"] == ada.id
    assert row["left_at"] is not None


async def test_moderators_allow_channels_by_cases(workshop: Workshop) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await workshop.open_group("mod", mo)
    assert "Only members with Manage Server" in await said(ada, workshop, "channel", channel=workshop.channel)
    assert "results for data sets yes" in await said(mo, workshop, "channel", channel=workshop.channel)
    assert "already" in await said(mo, workshop, "channel", channel=workshop.channel)
    assert f"<#{workshop.channel.id}>" in await said(ada, workshop, "status")
    undone = (await mo.slash(workshop.channel, "mod undo", case=1)).response.content
    assert "results for data sets yes → no" in undone
    assert "This server allows no channel" in await said(ada, workshop, "status")
    await said(mo, workshop, "channel", channel=workshop.channel)
    assert "yes → no" in await said(mo, workshop, "channel", channel=workshop.channel, allowed=False)
