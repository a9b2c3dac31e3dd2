"""Prompts copied from other tools, from the command to the picture."""

from __future__ import annotations

import pytest

from bot.jobs import JobStatus
from tests.bot.requests.pasted_prompts import JAPANESE, PROMPTS, Pasted
from tests.conftest import Workshop


@pytest.mark.timeout(600)
async def test_what_people_paste_becomes_a_picture_with_at_most_one_line_of_notes(real_workshop: Workshop) -> None:
    workshop = real_workshop
    sent = [*PROMPTS[1::5], Pasted(JAPANESE)]
    assert len(sent) >= 12
    for number, pasted in enumerate(sent):
        ada = workshop.member(f"ada{number}")
        asked = await ada.slash(workshop.channel, "imagine", prompt=pasted.typed, steps=1)
        assert not asked.ephemeral, "a refusal is shown to the person alone"
        assert len(asked.followups) <= 1
        for followup in asked.followups:
            assert followup.ephemeral
            assert followup.content.startswith(("About your request: ", "This small model "))
            assert "\n" not in followup.content
        assert bool(asked.followups) >= bool(pasted.notes)
        # One after the other, so that a slow machine has the whole patience for each.
        jobs = await workshop.ended(number + 1)
    assert {job.status for job in jobs} == {JobStatus.DELIVERED}
    assert [job.request.prompt for job in jobs] == [pasted.prompt or pasted.typed for pasted in sent]
    assert all(workshop.message(job.destination.message_id or 0).attachments for job in jobs)
