"""/imagine with pictures: what is taken, refused, kept and shown."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import aiohttp
import discord
import pytest
from PIL import Image
from simcord.backend.cdn import CdnStore

from bot.config import EMBEDDED_MODEL, Config, ControlNetConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.jobs import JobStatus
from bot.requests.uploads import MOST_BYTES
from cogs.intake import DOWNLOAD_SECONDS
from tests.bot.requests.test_uploads import encoded, png_header
from tests.conftest import Workshop

CAT = flat_image(1, 64, 32).png
MASK = flat_image(2, 64, 32).png
EDGES = flat_image(3, 48, 48).png


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def answers(workshop: Workshop) -> list[tuple[str, str]]:
    """What the bot did to the answers of interactions: method and last part of the path."""
    return [
        (entry.method, entry.path.rsplit("/", 1)[-1])
        for entry in workshop.env.http_requests
        if entry.path.startswith(("/interactions/", "/webhooks/"))
    ]


class TestUploads:
    """Requests that come with pictures, on a model with ControlNets."""

    @pytest.fixture
    def config(self, config: Config, tmp_path: Path) -> Config:
        file = tmp_path / "net.safetensors"
        file.touch()
        nets = (
            ControlNetConfig(name="canny", source=str(file), description="white edges on black", weight=0.8),
            ControlNetConfig(name="depth", source=str(file)),
        )
        models = (EMBEDDED_MODEL.model_copy(update={"controlnets": nets}), EMBEDDED_MODEL)
        models = (models[0], models[1].model_copy(update={"name": "plain"}))
        return config.model_copy(update={"models": models})

    @pytest.fixture
    def kept(self, config: Config) -> Callable[[], list[str]]:
        return lambda: sorted(path.name for path in (config.data / "pictures").glob("*/*"))

    async def test_they_reach_the_engine_and_the_result_says_what_was_made_of_them(
        self, workshop: Workshop, engine: FakeEngine, kept: Callable[[], list[str]]
    ) -> None:
        engine.open.clear()
        asked = await workshop.member("ada").slash(
            workshop.channel,
            "imagine",
            prompt="a cat --strength 0.6",
            image=("cat.png", CAT),
            mask=("mask.png", MASK),
            controlnet="canny:0.7",
            control=("edges.png", EDGES),
        )
        assert "Queued: place 1" in asked.response.content
        assert [button["label"] for button in asked.response.components[0]["components"]] == ["Cancel"]
        assert (asked.deferred, asked.ephemeral, asked.followups) == (False, False, [])
        engine.open.set()
        (job,) = await workshop.ended()

        assert job.status is JobStatus.DELIVERED
        assert job.destination.message_id == asked.response.id
        assert engine.orders[0].uploads == {sha256(data): data for data in (CAT, MASK, EDGES)}
        assert engine.orders[0].request == job.request
        assert (job.request.image, job.request.mask_image) == (sha256(CAT), sha256(MASK))
        assert (job.request.control_image, job.request.controlnet_conditioning_scale) == (sha256(EDGES), 0.7)
        (result,) = await workshop.app.queue.images(job.id)
        assert kept() == sorted([*(sha256(data) for data in (CAT, MASK, EDGES)), result.sha256])
        (message,) = workshop.channel.history()
        assert len(message.attachments) == 1
        assert "a part repainted at strength 0.6 · ControlNet `canny:0.7`" in message.content

    async def test_notes_follow_the_answer(self, workshop: Workshop) -> None:
        asked = await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT), strength=0.0
        )
        (note,) = asked.followups
        assert note.ephemeral
        assert "strength 0 became 0.084" in note.content

    async def test_without_any_the_answer_is_not_deferred(self, workshop: Workshop) -> None:
        await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
        assert answers(workshop) == [("POST", "callback")]

    @pytest.mark.parametrize(
        ("file", "words"),
        [
            (("cat.png", png_header(50_000, 50_000)), "The image has 50,000×50,000 pixels, more than 50 million"),
            (("cat.png", b"a cat"), "The image is not a picture that Atelier can read: send a PNG, JPEG or WebP."),
            (("cat.png", encoded("GIF", (32, 32))), "The image is not a picture that Atelier can read"),
            (("cat.png", png_header(64, 64)[:20]), "The image is damaged: its size cannot be read."),
            (("cat.png", png_header(500, 100)), "The image has 500×100 pixels, and shapes go only from 1:4 to 4:1"),
        ],
        ids=["bomb", "text", "gif", "damaged", "long"],
    )
    async def test_what_turns_out_to_be_no_picture_is_refused_to_the_asker_alone(
        self, workshop: Workshop, kept: Callable[[], list[str]], file: tuple[str, bytes], words: str
    ) -> None:
        refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat", image=file)

        (told,) = refused.followups
        assert told.ephemeral
        assert words in told.content
        assert "```\na cat\n```" in told.content
        assert workshop.channel.history() == [], "the public answer is taken back"
        assert (await workshop.jobs(), kept()) == ([], [])

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"image": ("cat.gif", encoded("GIF", (32, 32)))}, "The image is not a picture that Atelier can read"),
            ({"image": ("cat.txt", b"a cat")}, "The image is not a picture that Atelier can read"),
            ({"image": ("cat.png", b"")}, "The image is an empty file"),
            ({"image": ("cat.png", CAT + bytes(MOST_BYTES))}, "The image is larger than 20 MiB"),
            ({"image": ("cat.png", CAT), "model": "emojy"}, "There is no model “emojy”. Did you mean emoji?"),
            ({"image": ("cat.png", CAT), "prompt": "a cat --sed 7"}, "There is no flag “--sed”. Did you mean --seed?"),
            ({"mask": ("mask.png", MASK)}, "A mask needs an image to repaint"),
            ({"control": ("edges.png", EDGES)}, "Say which ControlNet to use with the control picture"),
            (
                {"control": ("edges.png", EDGES), "model": "plain"},
                "The model plain has no ControlNets; these models have some",
            ),
        ],
        ids=["gif", "text", "empty", "large", "model", "flag", "mask alone", "two nets", "no nets"],
    )
    async def test_what_is_plain_from_what_discord_states_is_refused_at_once(
        self, workshop: Workshop, kept: Callable[[], list[str]], options: dict[str, object], words: str
    ) -> None:
        refused = await workshop.member("ada").slash(workshop.channel, "imagine", **({"prompt": "a cat"} | options))

        assert refused.ephemeral
        assert words in refused.response.content
        assert answers(workshop) == [("POST", "callback")]
        assert (await workshop.jobs(), kept()) == ([], [])

    async def test_a_bomb_that_discord_measured_is_not_even_downloaded(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = CdnStore.store_attachment

        def measured(*arguments: object) -> dict[str, object]:
            return {**store(*arguments), "width": 50_000, "height": 50_000}

        monkeypatch.setattr(CdnStore, "store_attachment", measured)
        refused = await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.png", png_header(50_000, 50_000))
        )
        assert refused.ephemeral
        assert "50,000×50,000 pixels" in refused.response.content
        assert answers(workshop) == [("POST", "callback")]

    async def test_a_photograph_on_its_side_goes_with_a_mask_of_the_upright_one(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        photograph, mask = encoded("JPEG", (48, 32), exif=exif), encoded("PNG", (32, 48))
        store = CdnStore.store_attachment

        def measured(*arguments: object) -> dict[str, object]:
            width, height = Image.open(io.BytesIO(arguments[4])).size
            return {**store(*arguments), "width": width, "height": height}

        monkeypatch.setattr(CdnStore, "store_attachment", measured)
        await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.jpg", photograph), mask=("mask.png", mask)
        )
        (job,) = await workshop.jobs()
        assert job.request.width < job.request.height

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            (None, "Discord did not send your files. Send them again."),
            (aiohttp.ClientPayloadError("cut"), "Discord did not send your files. Send them again."),
            (ConnectionResetError(104, "reset"), "Discord did not send your files. Send them again."),
            (CAT + b"more", "The image did not arrive completely. Send it again."),
            (CAT[:-1], "The image did not arrive completely. Send it again."),
        ],
        ids=["gone", "cut off", "reset", "more", "less"],
    )
    async def test_a_download_that_fails_is_said_in_words(
        self,
        workshop: Workshop,
        kept: Callable[[], list[str]],
        monkeypatch: pytest.MonkeyPatch,
        fault: Exception | bytes | None,
        words: str,
    ) -> None:
        if fault is None:
            monkeypatch.setattr(CdnStore, "get", lambda *_: None)
        else:

            async def read(_: discord.Attachment) -> bytes:
                if isinstance(fault, Exception):
                    raise fault
                return fault

            monkeypatch.setattr(discord.Attachment, "read", read)
        refused = await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT)
        )
        (told,) = refused.followups
        assert told.ephemeral
        assert words in told.content
        assert (workshop.channel.history(), await workshop.jobs(), kept()) == ([], [], [])

    async def test_a_download_that_takes_too_long_is_said_in_words(
        self, workshop: Workshop, kept: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def read(_: discord.Attachment) -> bytes:
            await asyncio.sleep(10 * DOWNLOAD_SECONDS)
            return CAT

        monkeypatch.setattr(discord.Attachment, "read", read)
        refused = await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT)
        )
        assert refused.deferred
        await workshop.env.advance_time(DOWNLOAD_SECONDS)
        (told,) = refused.followups
        assert told.ephemeral
        assert "Discord did not send your files within 60 s. Send smaller ones." in told.content
        assert (workshop.channel.history(), await workshop.jobs(), kept()) == ([], [], [])

    async def test_a_limit_that_refuses_after_the_download_is_told_to_the_asker_alone(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        engine.open.clear()
        moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
        await moderator.slash(workshop.channel, "limits set", quota="1", member=ada)
        refused = await ada.slash(
            workshop.channel, "imagine", prompt="a cat", images=4, steps=40, image=("cat.png", CAT)
        )
        (told,) = refused.followups
        assert told.ephemeral
        assert "of painting time, more than your quota of 1 s" in told.content
        assert await workshop.jobs() == []

    async def test_an_answer_discord_does_not_edit_leaves_no_job_behind(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        workshop.foreseen += (discord.HTTPException,)
        workshop.env.inject_error("PATCH", "/webhooks/*/messages/@original", status=400, code=50035)
        refused = await workshop.member("ada").slash(
            workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT)
        )
        assert refused.followups[0].ephemeral
        assert workshop.channel.history() == []
        assert (await workshop.jobs(), engine.orders) == ([], [])

    async def test_an_interaction_that_discord_has_forgotten_is_no_request(
        self, workshop: Workshop, kept: Callable[[], list[str]]
    ) -> None:
        workshop.foreseen += (discord.NotFound,)
        workshop.env.inject_error("POST", "/interactions/*", status=404, code=10062, times=None)
        await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT))
        assert (await workshop.jobs(), kept()) == ([], [])

    async def test_after_a_restart_the_pictures_are_still_there(self, workshop: Workshop, engine: FakeEngine) -> None:
        engine.open.clear()
        await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat", image=("cat.png", CAT))
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
        again = FakeEngine()
        await workshop.restart(again)
        (job,) = await workshop.ended()
        assert job.status is JobStatus.DELIVERED
        assert again.orders[0].uploads == {sha256(CAT): CAT}

    async def test_autocomplete_offers_the_controlnets_of_the_chosen_model(self, workshop: Workshop) -> None:
        ada = workshop.member("ada")
        every = await ada.autocomplete(workshop.channel, "imagine", "controlnet", "", prompt="x")
        edges = await ada.autocomplete(workshop.channel, "imagine", "controlnet", "edges", prompt="x")
        none = await ada.autocomplete(workshop.channel, "imagine", "controlnet", "", prompt="x", model="plain")

        assert every == [
            {"name": "canny — white edges on black", "value": "canny"},
            {"name": "depth", "value": "depth"},
        ]
        assert [choice["value"] for choice in edges] == ["canny"]
        assert none == []
