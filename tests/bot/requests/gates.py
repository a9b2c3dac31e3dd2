"""An admission over a storeroom, with the line and an engine of known speed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bot.config import EMBEDDED_MODEL, BillConfig, LimitsConfig, ModelConfig
from bot.engine.catalog import Catalog
from bot.engine.fake import FakeEngine
from bot.engine.timing import STEP
from bot.errors import Rejected
from bot.jobs import (
    Destination,
    Job,
    MessageId,
    Requester,
    Upload,
)
from bot.policy.policy import Allowance, Policy
from bot.queue.engine_forecast import seconds_of
from bot.queue.line import Line
from bot.requests.admission import Admission, Admitted
from bot.requests.options import Options
from bot.requests.resolve import usual_request
from bot.requests.vocabulary import Vocabulary
from tests.bot.storage.conftest import ADA, CHANNEL, GUILD, Store, pictures

OTHER = ModelConfig(name="other", source="org/other")
ME = Requester(ADA, GUILD)
KNOWS = Vocabulary(frozenset({"cat"}), frozenset({"a"}), frozenset(), {"puma": ("cat",)})


@dataclass
class Gate:
    """Admission on a real database, with the clock in our hand and the engine's part played by us."""

    store: Store
    policy: Policy
    line: Line
    admission: Admission
    engine: FakeEngine

    async def ask(
        self,
        prompt: str = "a cat",
        *,
        who: Requester = ME,
        interaction_id: int | None = None,
        acknowledged: bool = True,
        images: int | None = None,
        model: str | None = None,
        image: Upload | None = None,
    ) -> Admitted | None:
        options = Options(prompt, images=images, model=model, image=image)
        quote = await self.admission.quote(who, options, Destination(CHANNEL))
        admitted = await self.admission.admit(quote, interaction_id=interaction_id)
        if admitted is not None and acknowledged:
            await self.store.queue.place_message(admitted.job.id, MessageId(5000 + admitted.job.id))
        return admitted

    async def refused(self, **request: object) -> Rejected:
        before = [job.job_id for job in await self.store.waiting()]
        with pytest.raises(Rejected) as refusal:
            await self.ask(**request)  # type: ignore[arg-type]
        assert [job.job_id for job in await self.store.waiting()] == before, "a refused request leaves no job"
        return refusal.value

    async def allowance(self) -> Allowance:
        return await self.policy.allowance(await self.policy.ruling(ME, (CHANNEL,)))

    async def paint(self, *, seconds: float = 0.0) -> Job:
        """Paint the next request, starting at its turn."""
        turn = await self.line.next()
        assert turn is not None
        self.store.clock.now = max(self.store.clock(), turn.starts_at)
        job = await self.store.queue.claim(turn.job_id)
        assert job is not None
        self.store.clock.forward(seconds)
        assert await self.store.queue.render(job, pictures(job.request), None)
        return await self.store.now(job)

    async def start_whoever_may(self) -> None:
        """Claim every job whose turn has come, as the dispatcher would."""
        while (turn := await self.line.next()) is not None and turn.starts_at <= self.store.clock():
            assert await self.store.queue.claim(turn.job_id) is not None


def gate_of(store: Store, **limits: int) -> Gate:
    engine = FakeEngine()
    usual = usual_request(EMBEDDED_MODEL).work
    policy = store.policy(LimitsConfig(**limits), lambda: seconds_of(usual, engine.timings))
    line = Line(store.changes, policy, engine, store.clock)
    return Gate(
        store,
        policy,
        line,
        Admission(
            store.queue,
            store.pictures,
            policy,
            store.refusals,
            line,
            engine,
            (EMBEDDED_MODEL, OTHER),
            Catalog((EMBEDDED_MODEL, OTHER)),
            {EMBEDDED_MODEL.name: KNOWS},
            BillConfig(),
            store.clock,
        ),
        engine,
    )


def a_picture_takes(seconds: float, gate: Gate) -> Gate:
    """Let the engine be known to take so long for every usual picture."""
    work = usual_request(EMBEDDED_MODEL).work
    for rows in (work.rows, 2 * work.rows):
        gate.engine.timings.record(work.shape, STEP, rows, seconds * rows / work.rows / work.forwards)
    return gate
