"""Models that other servers paint, as members, moderators and the host see them: words, money, errors, buttons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.app import provenance_of
from bot.config import EMBEDDED_MODEL, BillConfig, Config, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.engine.images_api.capabilities import TABLE
from bot.engine.images_api.engine import ImagesApiEngine
from bot.engine.images_api.prices import estimate
from bot.findings import providers
from bot.jobs import JobStatus
from bot.policy.purse import Purse
from bot.provider_config import OPENAI
from bot.storage.forgetting import Held
from cogs import _held
from cogs._lists import model_choices
from tests.conftest import Workshop
from tests.provider_server import COST, KEY, Asked, ProviderServer, breaks, fails, never, provider_server

ESTIMATE = 55_725
"""Of “a cat” by gpt-image-2: (1756 + 100) · $30 and 9 · $5, by a million tokens."""


@pytest.fixture
async def server() -> AsyncIterator[ProviderServer]:
    async with provider_server() as server:
        yield server


@pytest.fixture
def limits() -> dict[str, Any]:
    return {}


@pytest.fixture
def bill() -> dict[str, Any]:
    """Nothing is so dear that it must be confirmed."""
    return {"money": 1000}


@pytest.fixture
def config(server: ProviderServer, tmp_path: Path, limits: dict[str, Any], bill: dict[str, Any]) -> Config:
    return Config(
        data=tmp_path / "data",
        providers=[{"name": "far", "base_url": server.base_url, "per_minute": 1000, "timeout": 30}],
        models=[
            {"name": "two", "provider": "far", "source": "gpt-image-2", "description": "paints letters"},
            {"name": "free", "provider": "far", "source": "sd-turbo", "width": 512, "height": 512},
        ],
        limits=LimitsConfig(**limits),
        bill=BillConfig(**bill),
    )


@pytest.fixture
async def workshop(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workshop]:
    monkeypatch.setenv("ATELIER_KEY_FAR", KEY)
    workshop = Workshop(config, None)
    await workshop.open()
    yield workshop
    await workshop.close()


@asynccontextmanager
async def beside(config: Config) -> AsyncIterator[Workshop]:
    """An Atelier with a model of its own and those of the provider."""
    config = config.model_copy(update={"models": (EMBEDDED_MODEL, *config.models)})
    here, far = FakeEngine(), ImagesApiEngine(config, known={}, provenance=provenance_of(config.data))
    here.missing = {"two", "free"}
    fleet = Fleet([here, far], [model.name for model in config.models])
    running = asyncio.create_task(fleet.run())
    workshop = Workshop(config, fleet)
    await workshop.open()
    yield workshop
    await workshop.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def purse(workshop: Workshop, actor: Any) -> Purse:
    policy = workshop.app.policy
    return await policy.purse(await policy.ruling(workshop.requester(actor)))


async def spent(workshop: Workshop, actor: Any) -> tuple[int, int, int]:
    """What counts for the person, the server and the host, in micro-dollars."""
    mine, servers, hosts = (await purse(workshop, actor)).funds
    return mine.used, servers.used, hosts.used


async def test_the_estimate_of_these_tests_is_the_one_of_the_table(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert estimate(job.request, TABLE["gpt-image-2"]) == ESTIMATE == job.held_micros


async def test_a_picture_is_painted_elsewhere_and_its_price_settled(workshop: Workshop, server: ProviderServer) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat --model two")
    (job,) = await workshop.ended()
    assert (job.status, job.request.provider, job.billed_micros) == (JobStatus.DELIVERED, "far", COST)
    message = workshop.message(job.destination.message_id or 0)
    assert "model `two` · painted by far · 1024×1024" in message.content
    assert "cost $0.03028" in message.content
    assert "steps" not in message.content
    assert message.attachments
    assert await spent(workshop, ada) == (COST, COST, COST)
    (asked,) = server.asked
    everything = f"{asked.headers} {asked.fields}"
    for private in ("ada", str(ada.id), str(workshop.guild.id), str(workshop.channel.id), "Workshop"):
        assert private not in everything
    (marked,) = await workshop.app.database.fetch_all("SELECT id FROM marks WHERE job_id = ?", (job.id,))
    assert marked["id"] is not None, "pictures from elsewhere are marked like all others"


async def test_the_price_is_said_before_as_an_estimate(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    assert any("about $0.056, an estimate; far decides what it costs" in reply.content for reply in asked.followups)


class TestBill:
    @pytest.fixture
    def bill(self) -> dict[str, Any]:
        return {}

    async def test_a_dear_request_is_confirmed_first(self, workshop: Workshop, server: ProviderServer) -> None:
        ada = workshop.member("ada")
        asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=4)
        words = asked.response.content
        assert "4 pictures, about $0.211. This is an estimate: far says afterwards what it costs" in words
        assert "$1.00 of your budget here is left, of $1.00 in 24 hours. Paint it?" in words
        assert (server.asked, await workshop.jobs()) == ([], [])
        await ada.click(asked.response, label="Paint it")
        (job,) = await workshop.ended()
        assert (job.held_micros, job.billed_micros) == (210_765, COST)
        assert await spent(workshop, ada) == (COST, COST, COST)

    async def test_a_free_model_has_no_bill(self, workshop: Workshop) -> None:
        ada = workshop.member("ada")
        await ada.slash(workshop.channel, "imagine", prompt="a cat", model="free")
        (job,) = await workshop.ended()
        assert (job.held_micros, job.billed_micros) == (0, 0)
        assert "cost" not in workshop.message(job.destination.message_id or 0).content

    async def test_the_bill_of_a_series_is_its_sum(self, workshop: Workshop, server: ProviderServer) -> None:
        ada = workshop.member("ada")
        asked = await ada.slash(workshop.channel, "imagine", prompt="a {red, blue} cat", model="two")
        assert "2 pictures, about $0.112. This is an estimate" in asked.response.content
        await ada.click(asked.response, label="Paint all")
        jobs = await workshop.ended(2)
        assert [job.held_micros for job in jobs] == [55_735, 55_735]
        assert await spent(workshop, ada) == (2 * COST,) * 3


async def test_without_usage_the_estimate_counts_and_is_called_so(workshop: Workshop, server: ProviderServer) -> None:
    server.usage = None
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert job.billed_micros is None
    assert "cost about $0.056, an estimate" in workshop.message(job.destination.message_id or 0).content
    assert await spent(workshop, ada) == (ESTIMATE,) * 3


async def test_what_a_provider_refuses_is_told_and_refunded(workshop: Workshop, server: ProviderServer) -> None:
    server.script = [fails(400, "moderation_blocked", kind="image_generation_user_error")]
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert job.status is JobStatus.FAILED
    content = workshop.message(job.destination.message_id or 0).content
    assert "far refused this by its own rules, so it is not asked again and nothing is charged" in content
    assert await spent(workshop, ada) == (0, 0, 0)
    assert len(server.asked) == 1


async def test_what_may_have_been_billed_is_refunded_to_the_person_and_counts_for_the_host(
    workshop: Workshop, server: ProviderServer
) -> None:
    server.script = [breaks]
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert "not asked again by itself. You pay nothing" in workshop.message(job.destination.message_id or 0).content
    assert await spent(workshop, ada) == (0, ESTIMATE, ESTIMATE)
    assert len(server.asked) == 1


class TestLate:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        """A provider that is waited for one second."""
        impatient = config.providers[0].model_copy(update={"timeout": 1})
        return config.model_copy(update={"providers": (impatient,)})

    async def test_what_comes_too_late_is_failed_once_and_paid_by_the_host_alone(
        self, workshop: Workshop, server: ProviderServer
    ) -> None:
        server.script = [never]
        ada = workshop.member("ada")
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        (job,) = await workshop.ended()
        content = workshop.message(job.destination.message_id or 0).content
        assert "far did not answer within 1 seconds. It may have charged the host for it" in content
        assert (len(server.asked), await workshop.app.queue.pictures(job.id)) == (1, [])
        assert await spent(workshop, ada) == (0, ESTIMATE, ESTIMATE)


async def test_what_a_free_model_lost_is_asked_again_and_told_as_the_providers_fault(
    workshop: Workshop, server: ProviderServer
) -> None:
    again = asyncio.Event()

    async def loses_again(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        await again.wait()
        return await breaks(server, request, asked)

    server.script = [breaks, loses_again]
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", model="free")
    await workshop.seen(lambda: "far did not finish this. Trying again." in workshop.message(asked.response.id).content)
    again.set()
    (job,) = await workshop.ended()
    assert (job.status, len(server.asked)) == (JobStatus.FAILED, 2)
    content = workshop.message(job.destination.message_id or 0).content
    assert "The connection to far broke before the picture came. It was asked more than once." in content
    assert "engine" not in content


async def test_a_lane_without_credit_refuses_what_comes_next(workshop: Workshop, server: ProviderServer) -> None:
    server.script = [fails(400, "billing_hard_limit_reached")]
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    refused = await ada.slash(workshop.channel, "imagine", prompt="a dog")
    assert refused.ephemeral
    assert "Painting is unavailable: The account of this Atelier at far is out of credit" in refused.response.content
    assert len(server.asked) == 1
    assert await spent(workshop, ada) == (0, 0, 0)


async def test_options_that_a_provider_lacks_are_named_in_one_sentence(
    workshop: Workshop, server: ProviderServer
) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(
        workshop.channel, "imagine", prompt="a cat --no fog --seed 7 --steps 20 --ar 3:4", model="two"
    )
    (job,) = await workshop.ended()
    (said,) = [reply.content for reply in asked.followups]
    assert "far paints two without steps, seeds and negative prompts, so that was left out" in said
    assert server.asked[0].fields.keys() & {"seed", "negative_prompt", "num_inference_steps"} == set()
    assert (job.request.width / job.request.height, job.request.negative_prompt) == (pytest.approx(0.75, abs=0.05), "")


async def test_a_lora_is_refused(workshop: Workshop, server: ProviderServer) -> None:
    ada = workshop.member("ada")
    refused = await ada.slash(workshop.channel, "imagine", prompt="a cat", lora="sketch")
    assert "The model two has no LoRAs" in refused.response.content
    assert server.asked == []


async def test_buttons_make_edits(workshop: Workshop, server: ProviderServer) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (first,) = await workshop.ended()
    await ada.click(workshop.message(first.destination.message_id or 0), label="Vary")
    _, second = await workshop.ended(2)
    assert second.status is JobStatus.DELIVERED, second.reason
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["generations", "edits"]
    assert [name for name, _ in server.asked[1].files] == ["image"]
    assert "from an image" in workshop.message(second.destination.message_id or 0).content
    assert "strength" not in workshop.message(second.destination.message_id or 0).content


async def test_cancelled_after_it_was_sent_costs_the_estimate_and_says_so(
    workshop: Workshop, server: ProviderServer
) -> None:
    server.open.clear()
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.seen(lambda: server.asked)
    await ada.click(asked.response, label="Cancel")
    (job,) = await workshop.ended()
    assert job.status is JobStatus.CANCELLED
    content = workshop.message(job.destination.message_id or 0).content
    assert "far had been asked already: cost about $0.056, an estimate" in content
    assert await spent(workshop, ada) == (ESTIMATE,) * 3


async def test_what_a_moderator_cancels_costs_its_person_nothing(workshop: Workshop, server: ProviderServer) -> None:
    server.open.clear()
    ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.seen(lambda: server.asked)
    await mod.click(asked.response, label="Cancel")
    await workshop.ended()
    assert await spent(workshop, ada) == (0, ESTIMATE, ESTIMATE)


async def test_cancelled_before_it_was_sent_costs_nothing(workshop: Workshop, server: ProviderServer) -> None:
    server.open.clear()
    ada = workshop.member("ada")
    for number in range(5):
        await ada.slash(workshop.channel, "imagine", prompt=f"cat {number}")
    await workshop.seen(lambda: len(server.asked) >= 3)
    waiting = [job for job in await workshop.jobs() if job.status is JobStatus.QUEUED]
    await ada.click(workshop.message(waiting[-1].destination.message_id or 0), label="Cancel")
    (job,) = await workshop.ended()
    assert await spent(workshop, ada) == (4 * ESTIMATE,) * 3
    server.open.set()
    await workshop.ended(5)
    assert job.id == waiting[-1].id


class TestMoney:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        """A person may spend ten cents a day, a server 14, and all of them 20."""
        return {"money": 10, "server_money": 14, "host_money": 20}

    async def test_a_person_a_server_and_the_host_have_limits(self, workshop: Workshop, server: ProviderServer) -> None:
        server.usage = None
        ada, eve, joe = (workshop.member(name) for name in ("ada", "eve", "joe"))
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        await workshop.ended()
        refused = await ada.slash(workshop.channel, "imagine", prompt="a dog")
        assert "This costs about $0.056, and $0.044275 of your budget here is left" in refused.response.content
        assert "It will work <t:" in refused.response.content
        assert "Moderators can change this with `/limits set`" in refused.response.content
        await eve.slash(workshop.channel, "imagine", prompt="a dog")
        await workshop.ended(2)
        refused = await joe.slash(workshop.channel, "imagine", prompt="a cow")
        assert "$0.02855 of the budget of this server is left" in refused.response.content
        assert len(server.asked) == 2

    async def test_moderators_change_the_limits_at_once_and_not_beyond_the_hosts(
        self, workshop: Workshop, server: ProviderServer
    ) -> None:
        ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
        receipt = await mod.slash(workshop.channel, "limits set", money=0)
        assert "money from $0.10 to $0.00" in receipt.response.content
        await mod.click(receipt.response, label="Lower the limits")
        refused = await ada.slash(workshop.channel, "imagine", prompt="a cat")
        assert "more than your budget here for 24 hours, $0.00" in refused.response.content
        explained = await mod.slash(workshop.channel, "limits explain", member=ada)
        assert "**money**: $0.055725 used and asked for together, $0.00 allowed" in explained.response.content
        raised = await mod.slash(workshop.channel, "limits set", money=1000, server_money=1000)
        assert "(before: $0.00, the rule for this server)" in raised.response.content
        asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=3)
        assert "the budget of this server" in asked.response.content, "only the host can allow a server more"
        shown = await mod.slash(workshop.channel, "limits show")
        assert "**money**: at most $10.00 per person in 24 hours" in shown.response.content
        wrong = await mod.slash(workshop.channel, "limits set", server_money=3, member=ada)
        assert "can be set only for the server" in wrong.response.content

    async def test_a_limit_that_was_lowered_holds_for_what_waits(
        self, workshop: Workshop, server: ProviderServer
    ) -> None:
        server.open.clear()
        server.usage = None
        ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        await workshop.seen(lambda: server.asked)
        jobs = await workshop.jobs()
        limited = await mod.slash(workshop.channel, "limits set", money=5)
        await mod.click(limited.response, label="Lower the limits")
        refusal = await workshop.app.policy.objection(jobs[0])
        assert refusal is not None
        assert refusal.rule == "money"
        server.open.set()
        await workshop.ended()


async def test_quota_stats_and_privacy_speak_of_it(workshop: Workshop, server: ProviderServer) -> None:
    ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    quota = (await ada.slash(workshop.channel, "quota")).response.content
    assert "**$0.96972** of your budget here is left: $0.03028 of $1.00 in 24 hours is spent or held" in quota
    assert "of the budget of this server is left" in quota
    stats = await mod.slash(workshop.channel, "stats")
    assert "$0.03028 for providers" in stats.response.content
    shown = (await ada.slash(workshop.channel, "privacy show")).response.content
    assert "Words leave this machine if you ask with one of these models" in shown
    assert "- `two`, `free`: painted by **far** (`127.0.0.1`)" in shown
    assert "Apart from that, only Discord receives any of this data" in shown


async def test_a_restart_never_asks_again_for_what_was_sent(workshop: Workshop, server: ProviderServer) -> None:
    server.open.clear()
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await ada.slash(workshop.channel, "imagine", prompt="a free cat", model="free")
    await workshop.seen(lambda: len(server.asked) == 2)
    await workshop.restart()
    server.open.set()
    paid, free = await workshop.ended(2)
    assert (paid.status, free.status) == (JobStatus.FAILED, JobStatus.DELIVERED)
    content = workshop.message(paid.destination.message_id or 0).content
    assert "Atelier was stopped while another server painted this" in content
    assert [asked.fields["prompt"] for asked in server.asked] == ["a cat", "a free cat", "a free cat"]
    assert await spent(workshop, ada) == (0, ESTIMATE, ESTIMATE)


class TestBesideThisMachine:
    @pytest.fixture
    async def workshop(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workshop]:
        """An Atelier with a model of its own and those of the provider."""
        monkeypatch.setenv("ATELIER_KEY_FAR", KEY)
        async with beside(config) as workshop:
            yield workshop

    async def test_words_for_a_model_of_this_machine_stay_here(
        self, workshop: Workshop, server: ProviderServer
    ) -> None:
        ada = workshop.member("ada")
        for number in range(6):
            await ada.slash(workshop.channel, "imagine", prompt=f"a secret {number}")
        jobs = await workshop.ended(6)
        assert {job.status for job in jobs} == {JobStatus.DELIVERED}
        assert server.asked == []
        await ada.slash(workshop.channel, "imagine", prompt="a cat", model="two")
        await workshop.ended(7)
        assert [asked.fields["prompt"] for asked in server.asked] == ["a cat"]
        assert await spent(workshop, ada) == (COST,) * 3

    async def test_a_stopped_provider_holds_up_nothing_else(self, workshop: Workshop, server: ProviderServer) -> None:
        server.script = [fails(401, "invalid_api_key")] * 3
        ada = workshop.member("ada")
        for number in range(3):
            await ada.slash(workshop.channel, "imagine", prompt=f"cat {number}", model="two")
        jobs = await workshop.ended(len(await workshop.jobs()))
        assert {job.status for job in jobs} == {JobStatus.FAILED}
        assert len(server.asked) <= 3
        await ada.slash(workshop.channel, "imagine", prompt="a dog")
        assert (await workshop.ended(len(jobs) + 1))[-1].status is JobStatus.DELIVERED

    async def test_the_list_of_models_says_who_paints(self, workshop: Workshop) -> None:
        models = workshop.app.admission.models
        assert [choice.name for choice in model_choices(models, "")] == [
            "emoji — ships with Atelier: small pictures in the style of emoji",
            "two — paints letters, painted by far",
            "free — painted by far",
        ]


def test_without_a_provider_no_words_leave_and_the_page_says_so() -> None:
    usual = Config()
    assert (usual.providers, usual.remote_models, _held.senders(usual.models, usual.providers)) == ((), (), "")
    shown = _held.kept(Held(1, 1, 0, 0))
    assert "Only Discord receives any of this data." in shown
    assert "Words leave" not in shown


def test_the_doctor_says_whether_a_key_is_missing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    (good,) = providers(config)
    assert "gets the words of requests for its models: two, free" in good.words
    openai = config.model_copy(update={"providers": (config.providers[0].model_copy(update={"base_url": OPENAI}),)})
    monkeypatch.delenv("ATELIER_KEY_FAR", raising=False)
    (bad,) = providers(openai)
    assert (bad.status, bad.words) == ("problem", "it has no key")
    assert "Set ATELIER_KEY_FAR to the key" in bad.remedy
    monkeypatch.setenv("ATELIER_KEY_FAR", "two words")
    assert "something other than a key" in providers(openai)[0].words
