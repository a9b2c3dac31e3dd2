"""/imagine with LoRAs: what is offered and what a result says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.config import EMBEDDED_MODEL, Config, LoraConfig
from bot.engine.fake import FakeEngine
from tests.conftest import Workshop


class TestManyLoras:
    """Two models, the second with LoRAs of the longest names."""

    NAMES = tuple(f"{number:x}" * 32 for number in range(1, 7))

    @pytest.fixture
    def config(self, config: Config, tmp_path: Path) -> Config:
        file = tmp_path / "l.safetensors"
        file.write_bytes(b"")
        model = EMBEDDED_MODEL.model_copy(
            update={"name": "worn", "loras": tuple(LoraConfig(name=name, source=str(file)) for name in self.NAMES)}
        )
        return config.model_copy(update={"models": (EMBEDDED_MODEL, model)})

    async def offered(
        self, workshop: Workshop, option: str, typed: str, by: simcord.MemberActor | None = None, **given: Any
    ) -> list[str]:
        given = {"prompt": "a cat"} | given
        choices = await (by or workshop.member("ada")).autocomplete(workshop.channel, "imagine", option, typed, **given)
        assert all(0 < len(choice[part]) <= 100 for choice in choices for part in ("name", "value"))
        return [choice["value"] for choice in choices]

    async def test_everything_that_is_offered_is_accepted(self, workshop: Workshop) -> None:
        one, two, three = self.NAMES[:3]
        wide = f"{one}:0.75, {two}:0.75, "
        for typed in ("", one, f"{one}, ", f"{one}:0.5,{two}, ", wide, f"{wide}{three}", f"{wide}{three}, "):
            values = await self.offered(workshop, "lora", typed, model="worn")
            assert values or typed.count(",") >= 2, "two LoRAs always fit"
            for value in values[:2]:
                answer = await workshop.member("ada").slash(
                    workshop.channel, "imagine", prompt="a cat", model="worn", lora=value
                )
                assert "Queued" in answer.response.content, value
        await workshop.ended(len(await workshop.jobs()))

    async def test_nothing_is_offered_after_what_would_be_refused(self, workshop: Workshop) -> None:
        one = self.NAMES[0]
        for typed in ("nothing, ", f"{one}:much, ", f"{one}, " * 4):
            assert await self.offered(workshop, "lora", typed, model="worn") == []

    async def test_the_model_of_a_flag_and_of_an_option_in_capitals_counts(self, workshop: Workshop) -> None:
        assert await self.offered(workshop, "lora", "") == []
        assert await self.offered(workshop, "lora", "", model="WORN") == list(self.NAMES)
        assert await self.offered(workshop, "lora", "", prompt="a cat --model worn") == list(self.NAMES)

    async def test_only_models_that_may_be_used_here_are_offered(self, workshop: Workshop, engine: FakeEngine) -> None:
        ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
        assert await self.offered(workshop, "model", "", ada) == ["emoji", "worn"]
        await moderator.slash(workshop.channel, "limits set", models="worn", member=ada)
        assert await self.offered(workshop, "model", "", ada) == ["worn"]
        assert await self.offered(workshop, "lora", "", ada) == list(self.NAMES), "it is the default now"
        engine.trouble("worn", "It is broken.")
        assert await self.offered(workshop, "model", "", ada) == []


class TestLoras:
    """A model with LoRAs."""

    @pytest.fixture
    def config(self, config: Config, tmp_path: Path) -> Config:
        file = tmp_path / "lora.safetensors"
        file.touch()
        loras = tuple(LoraConfig(name=name, source=str(file)) for name in ("sketch", "ink"))
        return config.model_copy(update={"models": (EMBEDDED_MODEL.model_copy(update={"loras": loras}),)})

    async def test_they_are_offered_chosen_and_named_in_the_result(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        ada = workshop.member("ada")
        first = await ada.autocomplete(workshop.channel, "imagine", "lora", "sk", prompt="x")
        second = await ada.autocomplete(workshop.channel, "imagine", "lora", "sketch:0.5,i", prompt="x")
        asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", lora="sketch:0.5, ink")
        (job,) = await workshop.ended()

        assert [choice["value"] for choice in first] == ["sketch"]
        assert [choice["value"] for choice in second] == ["sketch:0.5, ink"]
        assert engine.orders[0].request.loras == job.request.loras == (("sketch", 0.5), ("ink", 1.0))
        assert "LoRA `sketch:0.5` · LoRA `ink:1`" in workshop.message(asked.response.id).content
