"""The lanes of providers against a server on real sockets: what is sent, what comes back, and every error."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from bot import findings
from bot.config import Config, EngineConfig
from bot.engine import Asking, Billed, Event, Finished, Order, Preview, Progress
from bot.engine.images_api import client
from bot.engine.images_api import engine as lanes
from bot.engine.images_api.engine import ImagesApiEngine
from bot.engine.images_api.failures import unreachable
from bot.errors import ConfigError, EngineDied, PaintFailed
from bot.jobs import UNLIMITED, GenerationRequest, JobId, Kept, Operation, PictureLimits, UserId
from bot.provider_config import ApiConfig
from bot.queue.lane_states import lane_states
from tests.picture_cases import quarters
from tests.provider_server import (
    COST,
    KEY,
    Asked,
    ProviderServer,
    at_address,
    body,
    breaks,
    fails,
    never,
    packed,
    png,
    provider_server,
    says,
    stream,
)

ENCODED = base64.b64encode(png("red")).decode()


@pytest.fixture
async def server() -> AsyncIterator[ProviderServer]:
    async with provider_server() as server:
        yield server


def config_of(server: ProviderServer, **model: Any) -> Config:
    """A provider with two models: one of OpenAI's, and one that the table does not know, which costs nothing."""
    models = [
        {"name": "two", "provider": "far", "source": "gpt-image-2", **model},
        {"name": "free", "provider": "far", "source": "sd-turbo", "width": 512, "height": 512},
    ]
    provider = {"name": "far", "base_url": server.base_url, "per_minute": 1000, "timeout": 5}
    return Config(providers=[provider], models=models, engine=EngineConfig(safety="off", mark=False))


@asynccontextmanager
async def opened(config: Config, known: str = "", **provider: Any) -> AsyncIterator[ImagesApiEngine]:
    """The engine of a configuration, with changes to its only provider."""
    changed = (config.providers[0].model_copy(update=provider),)
    config = config.model_copy(update={"providers": changed})
    engine = ImagesApiEngine(config, known={"far": known}, provenance=config.data / "provenance")
    running = asyncio.create_task(engine.run())
    await asyncio.sleep(0)
    yield engine
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_KEY_FAR", KEY)


@pytest.fixture
def config(server: ProviderServer, tmp_path: Path) -> Config:
    return config_of(server).model_copy(update={"data": tmp_path})


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[ImagesApiEngine]:
    async with opened(config) as engine:
        yield engine


def request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "prompt": "a lighthouse in a storm",
        "model": "two",
        "width": 1024,
        "height": 1024,
        "num_inference_steps": 1,
        "guidance_scale": 1.0,
        "seed": 7,
        "provider": "far",
    }
    return GenerationRequest(**(values | changes))


def order(uploads: tuple[bytes, ...] = (), limits: PictureLimits = UNLIMITED, **changes: Any) -> Order:
    job_id = JobId(changes.pop("job_id", 1))
    named = {hashlib.sha256(data).hexdigest(): data for data in uploads}
    return Order(job_id, 1, request(**changes), UserId(5), named, limits)


async def events(engine: ImagesApiEngine, asked: Order) -> list[Event]:
    return [event async for event in engine.lanes[0].submit(asked)]


async def failure(engine: ImagesApiEngine, asked: Order) -> tuple[list[Event], str]:
    """The events before an order fails, and the words."""
    found: list[Event] = []
    try:
        async for event in engine.lanes[0].submit(asked):
            found.append(event)  # noqa: PERF401 - those before the error count
    except PaintFailed as error:
        return found, str(error)
    raise AssertionError(f"the order did not fail: {found}")


async def test_a_picture_comes_with_a_preview_and_its_price(engine: ImagesApiEngine, server: ProviderServer) -> None:
    asking, preview, progress, billed, finished = await events(engine, order())
    assert isinstance(asking, Asking)
    assert isinstance(preview, Preview)
    assert Image.open(io.BytesIO(preview.jpeg)).size == (256, 256)
    assert progress == Progress(1, 2)
    assert billed == Billed(COST)
    assert isinstance(finished, Finished)
    (image,) = finished.images
    assert (image.width, image.height, finished.model_hash) == (1024, 1024, "")
    assert Image.open(io.BytesIO(image.png)).getpixel((5, 5)) == (0, 128, 128)
    assert image.phash is not None


async def test_nothing_but_the_words_and_what_the_host_set_is_sent(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    await events(engine, order(num_images_per_prompt=2, negative_prompt="fog"))
    (asked,) = server.asked
    assert asked.path == "/v1/images/generations"
    assert asked.fields == {
        "model": "gpt-image-2",
        "prompt": "a lighthouse in a storm",
        "n": 2,
        "size": "1024x1024",
        "quality": "medium",
        "output_format": "png",
    }
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert not asked.headers.get("OpenAI-Organization")


async def test_another_server_gets_the_seed_and_may_answer_with_an_address(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    server.usage = None
    server.script = [at_address("a.png", png("red", (512, 512)))]
    *_, billed, finished = await events(engine, order(model="free", width=512, height=512))
    assert server.asked[0].fields["seed"] == 7
    assert server.asked[0].fields["response_format"] == "b64_json"
    assert billed == Billed(0)
    assert isinstance(finished, Finished)
    assert Image.open(io.BytesIO(finished.images[0].png)).getpixel((5, 5)) == (255, 0, 0)
    assert "Authorization" not in server.fetched[0], "the key goes to nobody but the API"


async def test_without_usage_the_price_stays_the_estimate(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.usage = None
    found = await events(engine, order(num_images_per_prompt=2))
    assert [type(event) for event in found] == [Asking, Finished]


async def test_the_manifest_and_the_text_name_the_model_and_who_painted(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    *_, finished = await events(engine, order())
    assert isinstance(finished, Finished)
    text = Image.open(io.BytesIO(finished.images[0].png)).info["parameters"]
    assert text == "a lighthouse in a storm\nSize: 1024x1024, Model: gpt-image-2, Provider: far"
    from bot.worker import manifest

    read = manifest.read(finished.images[0].png, "image/png")
    assert (read.model, read.is_made_by_model, read.state) == ("gpt-image-2", True, "untrusted")


async def test_an_edit_sends_the_picture_without_its_metadata(engine: ImagesApiEngine, server: ProviderServer) -> None:
    buffer = io.BytesIO()
    picture = quarters(1200, 1200)
    exif = Image.Exif()
    exif[0x010E] = "Grace's own house"
    picture.save(buffer, "JPEG", exif=exif)
    upload = buffer.getvalue()
    await events(engine, order((upload,), image=hashlib.sha256(upload).hexdigest(), operation=Operation.IMAGE2IMAGE))
    (asked,) = server.asked
    assert asked.path == "/v1/images/edits"
    ((name, data),) = asked.files
    assert name == "image"
    assert Image.open(io.BytesIO(data)).size == (1024, 1024)
    assert b"Grace" not in data


async def test_a_mask_is_transparent_where_it_is_painted(engine: ImagesApiEngine, server: ProviderServer) -> None:
    upload, white = png("blue"), io.BytesIO()
    mask = Image.new("L", (1024, 1024))
    mask.paste(255, (0, 0, 512, 1024))
    mask.save(white, "PNG")
    names = [hashlib.sha256(data).hexdigest() for data in (upload, white.getvalue())]
    await events(
        engine,
        order((upload, white.getvalue()), image=names[0], mask_image=names[1], operation=Operation.INPAINT),
    )
    sent = dict(server.asked[0].files)
    alpha = Image.open(io.BytesIO(sent["mask"])).getchannel("A")
    assert (alpha.size, alpha.getpixel((5, 5)), alpha.getpixel((1000, 5))) == ((1024, 1024), 0, 255)


async def test_a_region_is_laid_over_the_old_picture(engine: ImagesApiEngine, server: ProviderServer) -> None:
    upload = png("blue")
    name = hashlib.sha256(upload).hexdigest()
    *_, finished = await events(engine, order((upload,), image=name, region=(0,), operation=Operation.INPAINT))
    assert isinstance(finished, Finished)
    picture = Image.open(io.BytesIO(finished.images[0].png))
    assert picture.getpixel((60, 60)) == (0, 128, 128)
    assert picture.getpixel((900, 900)) == (0, 0, 255), "what was not to be painted stays what it was"


async def test_the_thing_that_a_variant_keeps_stays_what_it_was(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    picture, buffer = Image.new("RGB", (1024, 1024), "white"), io.BytesIO()
    picture.paste("red", (300, 300, 700, 700))
    picture.save(buffer, "PNG")
    upload = buffer.getvalue()
    name = hashlib.sha256(upload).hexdigest()
    *_, finished = await events(engine, order((upload,), image=name, kept=Kept.THING, operation=Operation.INPAINT))
    assert isinstance(finished, Finished)
    painted = Image.open(io.BytesIO(finished.images[0].png))
    assert painted.getpixel((500, 500)) == (255, 0, 0)
    assert painted.getpixel((20, 20)) == (0, 128, 128)


async def test_words_do_not_follow_to_another_server(engine: ImagesApiEngine, server: ProviderServer) -> None:
    async def elsewhere(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(f"{server.base_url}/images/elsewhere")

    server.script = [elsewhere]
    await failure(engine, order())
    assert [asked.path for asked in server.asked] == ["/v1/images/generations"]


async def test_a_request_is_sent_on_no_connection_that_the_server_may_be_closing(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    connections = []

    async def noted(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        connections.append(request.transport)
        return await says({"b64_json": ENCODED})(server, request, asked)

    server.script = [noted, noted]
    for _ in range(2):
        await events(engine, order(num_images_per_prompt=2))
    assert connections[0] is not connections[1]


async def test_nothing_is_asked_for_that_could_not_be_finished(
    engine: ImagesApiEngine, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise PaintFailed("The check cannot be loaded.")

    monkeypatch.setattr(engine._darkroom, "prepared", broken)
    found, words = await failure(engine, order())
    assert (found, words, server.asked) == ([], "The check cannot be loaded.", [])


async def test_a_preview_that_fails_does_not_lose_the_answer_that_is_paid(
    engine: ImagesApiEngine, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise PaintFailed("It was too slow.")

    monkeypatch.setattr(engine._darkroom, "preview", broken)
    found = await events(engine, order())
    assert Billed(COST) in found
    assert isinstance(found[-1], Finished)


async def test_a_blend_sends_each_picture(engine: ImagesApiEngine, server: ProviderServer) -> None:
    uploads = (png("blue"), png("red"), png("green"))
    first, *others = [hashlib.sha256(data).hexdigest() for data in uploads]
    await events(engine, order(uploads, image=first, blended=tuple(others), operation=Operation.BLEND))
    assert [name for name, _ in server.asked[0].files] == ["image[]"] * 3


async def test_a_picture_of_another_size_is_taken_as_it_is(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [stream(png("red", (640, 480)))]
    *_, finished = await events(engine, order())
    assert isinstance(finished, Finished)
    assert (finished.images[0].width, finished.images[0].height) == (640, 480)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (fails(400, "moderation_blocked", kind="image_generation_user_error"), "refused this by its own rules"),
        (stream(png(), error={"code": "moderation_blocked", "message": "no"}), "refused this by its own rules"),
        (body('{"error": {"code": "moderation_blocked"}}'), "refused this by its own rules"),
        (fails(400, "invalid_size"), "did not accept this request (invalid_size)"),
        (fails(400, 400), "did not accept this request (400)"),
        (fails(400, "A lighthouse in a storm!"), "did not accept this request (400)"),
    ],
)
async def test_what_is_refused_costs_nothing_and_is_not_asked_again(
    engine: ImagesApiEngine, server: ProviderServer, step: Any, words: str
) -> None:
    server.script = [step]
    found, said = await failure(engine, order())
    assert words in said
    assert "lighthouse" not in said.lower()
    assert found[0] == Asking()
    assert found[-1] == Billed(0)
    assert len(server.asked) == 1
    assert not engine.troubles


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (breaks, "broke before the picture came"),
        (fails(500, "server_error"), "failed while it painted"),
        (body("<html>Bad gateway</html>", "text/html", 502), "failed while it painted"),
        (stream(png(), ends=False), "broke before the picture came"),
        (body("{", "application/json"), "but not with a picture"),
        (body("[" * 200_000), "but not with a picture"),
        (body("<html>hello</html>", "text/html"), "but not with a picture"),
        (says({"b64_json": "%%%"}), "but not with a picture"),
        (says(), "but not with a picture"),
        (says({"url": "http://169.254.169.254/secrets"}), "but not with a picture"),
    ],
)
async def test_what_may_have_been_billed_is_not_asked_again(
    engine: ImagesApiEngine, server: ProviderServer, step: Any, words: str
) -> None:
    server.usage = None
    server.script = [step]
    found, said = await failure(engine, order(num_images_per_prompt=1 if "broke" in words else 2))
    assert words in said
    assert "You pay nothing" in said
    assert not any(isinstance(event, Billed) for event in found), "what was held stays as the host's cost"
    assert len(server.asked) == 1


async def test_what_is_no_picture_is_settled_by_its_usage(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [says({"b64_json": base64.b64encode(b"hello").decode()})]
    found, said = await failure(engine, order(num_images_per_prompt=2))
    assert found[-1] == Billed(COST)
    assert said == "What far answered is no picture that Atelier can read."


@pytest.mark.parametrize(("reader", "images"), [("read", 2), ("read_event", 1)])
async def test_an_answer_is_not_read_in_the_thread_that_everybody_waits_for(
    engine: ImagesApiEngine, monkeypatch: pytest.MonkeyPatch, reader: str, images: int
) -> None:
    threads, real = [], getattr(client, reader)

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*arguments)

    monkeypatch.setattr(client, reader, noted)
    await events(engine, order(num_images_per_prompt=images))
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("where", ["answer", "address"])
async def test_what_is_too_large_is_not_taken_into_memory(
    engine: ImagesApiEngine, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(client, "_MOST_OF_ANSWER" if where == "answer" else "MOST_BYTES", 1000)
    server.script = [says({"b64_json": ENCODED}) if where == "answer" else at_address("a.png", png("red"))]
    found, said = await failure(engine, order(num_images_per_prompt=2))
    assert "but not with a picture" in said
    assert len(server.fetched) == (where == "address"), "it is fetched once"
    assert not any(isinstance(event, Billed) for event in found) or where == "address"


async def test_no_answer_is_unpacked(engine: ImagesApiEngine, server: ProviderServer) -> None:
    """A few bytes could become more than the memory holds."""
    server.script = [packed({"b64_json": ENCODED})]
    _, said = await failure(engine, order())
    assert "but not with a picture" in said
    (asked,) = server.asked
    assert asked.headers["Accept-Encoding"] == "identity"


async def test_a_picture_is_fetched_where_its_address_leads_if_that_is_allowed(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    there = server.base_url.removesuffix("/v1") + "/files"
    server.files["b.png"] = png("red")
    server.moved = {"a.png": f"{there}/b.png", "round.png": f"{there}/round.png", "out.png": "http://169.254.169.254/a"}
    addresses = [{"url": f"{there}/{name}.png"} for name in ("a", "round", "out")]
    server.script = [says(*addresses)]
    *_, finished = await events(engine, order(num_images_per_prompt=3))
    assert isinstance(finished, Finished)
    assert [Image.open(io.BytesIO(image.png)).getpixel((5, 5)) for image in finished.images] == [(255, 0, 0)]


async def test_a_server_that_knows_no_streams_may_answer_at_once(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    server.script = [says({"b64_json": ENCODED})]
    *_, billed, finished = await events(engine, order())
    assert server.asked[0].fields["stream"] is True
    assert (billed, type(finished)) == (Billed(COST), Finished)


async def test_more_previews_than_were_asked_for_are_not_shown(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [stream(png(), partials=5)]
    found = await events(engine, order())
    assert [event for event in found if isinstance(event, Progress)] == [Progress(1, 2)]
    assert isinstance(found[-1], Finished)


async def test_a_usage_that_cannot_be_right_leaves_the_estimate(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    server.usage = {"input_tokens": 1, "output_tokens": 10**25}
    found = await events(engine, order(num_images_per_prompt=2))
    assert [type(event) for event in found] == [Asking, Finished]


async def test_an_answer_that_takes_too_long_is_given_up(config: Config, server: ProviderServer) -> None:
    server.script = [never]
    async with opened(config, timeout=1) as engine:
        found, said = await failure(engine, order())
    assert "did not answer within 1 seconds" in said
    assert (found, len(server.asked)) == ([Asking()], 1)


async def test_of_several_pictures_those_that_can_be_read_are_kept(
    engine: ImagesApiEngine, server: ProviderServer
) -> None:
    broken, gone = {"b64_json": base64.b64encode(b"hello").decode()}, {"url": f"{server.base_url}/gone.png"}
    server.script = [says(broken, gone, {"url": "https://[bad"}, {"b64_json": ENCODED})]
    *_, billed, finished = await events(engine, order(num_images_per_prompt=4))
    assert (billed, type(finished)) == (Billed(COST), Finished)
    assert isinstance(finished, Finished)
    assert len(finished.images) == 1


async def test_of_a_model_with_a_price_for_pictures_an_answer_without_one_may_have_cost(
    config: Config, server: ProviderServer
) -> None:
    two = config.models[0].model_copy(update={"api": ApiConfig(price="0.04", previews=0)})
    server.script = [says({"b64_json": "%%%"}), says(*[{"b64_json": ENCODED}] * 3)]
    async with opened(config.model_copy(update={"models": (two,)})) as engine:
        found, said = await failure(engine, order())
        assert (found, "You pay nothing" in said) == ([Asking()], True)
        # More than were ordered are not paid by anybody here.
        assert Billed(80_000) in await events(engine, order(num_images_per_prompt=2))


@pytest.mark.parametrize(
    ("step", "happened"),
    [
        (breaks, "The connection to far broke before the picture came."),
        (fails(500, "server_error"), "far failed while it painted this."),
        (says(), "far answered, but not with a picture."),
        (body("{", "application/json"), "far answered, but not with a picture."),
        (
            says({"b64_json": base64.b64encode(b"hello").decode()}),
            "What far answered is no picture that Atelier can read",
        ),
    ],
)
async def test_a_free_model_is_tried_again_if_no_picture_came(
    engine: ImagesApiEngine, server: ProviderServer, step: Any, happened: str
) -> None:
    server.script = [step]
    with pytest.raises(EngineDied) as caught:
        await events(engine, order(model="free", width=512, height=512))
    said = str(caught.value.at_last)
    assert happened in said
    assert "It was asked more than once." in said
    assert "charged" not in said


async def test_a_busy_provider_is_asked_again_when_it_says(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [fails(429, "rate_limit_exceeded", headers={"Retry-After": "1"})]
    began = time.monotonic()
    found = await events(engine, order(num_images_per_prompt=2))
    assert time.monotonic() - began >= 1
    assert [type(event) for event in found] == [Asking, Billed, Asking, Billed, Finished]
    assert found[1] == Billed(0)


async def test_a_provider_that_stays_busy_fails_the_request(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [fails(429, "rate_limit_exceeded", headers={"Retry-After": "3600"})]
    found, said = await failure(engine, order())
    assert "has too much to do" in said
    assert found == [Asking(), Billed(0)]


async def test_a_provider_that_cannot_be_reached_costs_nothing_and_the_host_is_told(
    config: Config, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lanes, "TRIES", 1)
    async with opened(config, base_url="http://127.0.0.1:9/v1") as engine:
        (lane,) = engine.lanes
        for number in (1, 2):
            found, said = await failure(engine, order(job_id=number))
            assert "cannot be reached" in said
            assert found == [Asking(), Billed(0)]
        assert not lane.is_up
        assert not lane.troubles, "new requests are accepted and tried"
        assert "far cannot be reached: look whether its server runs" in lane.advice
        (told,) = [record for record in caplog.records if "look whether its server runs" in record.getMessage()]
        assert told.levelno == logging.WARNING
        (finding,) = findings.engines(lane_states(engine, (), {}))
        assert finding.remedy == lane.advice
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert (lane.is_up, lane.advice) == (True, "")


async def test_a_provider_that_answers_again_is_up_at_once(engine: ImagesApiEngine, server: ProviderServer) -> None:
    (lane,) = engine.lanes
    lane._away = (unreachable("far"), time.monotonic() + 60)
    assert not lane.is_up
    await events(engine, order())
    assert lane.is_up


@pytest.mark.parametrize(
    ("step", "words", "advice", "stopped"),
    [
        (fails(400, "billing_hard_limit_reached"), "out of credit", "Pay far", ""),
        (fails(429, "insufficient_quota"), "out of credit", "raise the limit", ""),
        (fails(401, "invalid_api_key"), "does not accept the key", "Set ATELIER_KEY_FAR to a key", ""),
        (fails(403, "unsupported_country"), "use the model two (unsupported_country)", "its country", "two"),
        (fails(402, "payment"), "out of credit", "Pay far", ""),
        (fails(404, "model_not_found"), "does not have what the host set for the model two", "Correct the", "two"),
        (body("", status=308), "does not have what the host set for the model two", "the base_url of far", "two"),
    ],
)
async def test_a_lane_stops_until_the_host_has_done_something(
    engine: ImagesApiEngine,
    server: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: Any,
    words: str,
    advice: str,
    stopped: str,
) -> None:
    server.script = [step]
    found, said = await failure(engine, order())
    assert words in said
    assert found[-1] == Billed(0)
    (lane,) = engine.lanes
    assert (engine.troubles.keys(), lane.is_up) == ({stopped}, bool(stopped))
    assert advice in lane.advice
    assert "far is tried again after 15 minutes" in lane.advice
    assert any(record.levelno == logging.ERROR and words in record.getMessage() for record in caplog.records)
    assert KEY not in caplog.text
    assert "lighthouse" not in caplog.text
    _, again = await failure(engine, order())
    assert words in again
    assert len(server.asked) == 1, "nothing is asked while it is stopped"
    later = time.monotonic() + 1000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not engine.troubles, "it is tried again later"
    assert not lane.advice


async def test_a_model_that_is_stopped_stops_no_other(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.script = [fails(403, "must_be_verified")]
    await failure(engine, order())
    *_, finished = await events(engine, order(model="free", width=512, height=512))
    assert isinstance(finished, Finished)


async def test_a_cancelled_order_is_waited_for_no_longer(engine: ImagesApiEngine, server: ProviderServer) -> None:
    server.open.clear()
    server.script = [stream(png())]
    found = []
    async for event in engine.lanes[0].submit(order()):
        found.append(event)
        if isinstance(event, Progress):
            engine.cancel(JobId(1))
    assert not any(isinstance(event, Finished) for event in found)
    assert not engine.lanes[0].holds(JobId(1))


async def test_nothing_is_sent_before_the_bot_has_stored_it(engine: ImagesApiEngine, server: ProviderServer) -> None:
    stream_of = engine.lanes[0].submit(order())
    assert isinstance(await anext(stream_of), Asking)
    await asyncio.sleep(0.2)
    assert server.asked == []
    await stream_of.aclose()
    await asyncio.sleep(0.2)
    assert server.asked == []


async def test_the_rate_of_a_provider_is_kept(
    config: Config, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_MINUTE", 1)
    server.script = [fails(400, "no")] * 3
    began = time.monotonic()
    async with opened(config, per_minute=2) as engine:
        await asyncio.gather(*(failure(engine, order(job_id=number)) for number in range(3)))
    assert time.monotonic() - began >= 1


async def test_times_are_learned_and_remembered(engine: ImagesApiEngine, config: Config) -> None:
    lane = engine.lanes[0]
    assert lane.timings.forward_seconds(("two", 1024, 1024), 1) == 20.0
    await events(engine, order())
    assert lane.learned.is_set()
    learned = lane.timings.forward_seconds(("two", 1536, 1024), 4)
    assert 0 < learned < 10
    async with opened(config, lane.timings.dump()) as again:
        assert again.timings.forward_seconds(("two", 64, 64), 1) == pytest.approx(learned, abs=1e-5)


async def test_a_missing_key_is_named(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATELIER_KEY_OPENAI", raising=False)
    config = Config(
        providers=[{"name": "openai"}], models=[{"name": "two", "provider": "openai", "source": "gpt-image-2"}]
    )
    with pytest.raises(ConfigError, match="set ATELIER_KEY_OPENAI to it"):
        ImagesApiEngine(config, known={})


async def test_what_the_safety_check_blocks_is_never_shown_and_still_settled(
    config: Config, server: ProviderServer
) -> None:
    checked = config.model_copy(update={"engine": EngineConfig(mark=False)})
    async with opened(checked) as engine:
        found, said = await failure(engine, order(limits=PictureLimits(block=0.0, spoiler=0.0)))
    assert "too explicit to be shown here" in said
    assert found == [Asking(), Billed(COST)], "no preview either"


async def test_a_picture_that_was_sent_and_may_not_be_used_never_leaves(config: Config, server: ProviderServer) -> None:
    upload = png("blue")
    name = hashlib.sha256(upload).hexdigest()
    checked = config.model_copy(update={"engine": EngineConfig(mark=False)})
    asked = order((upload,), PictureLimits(block=0.0), image=name, operation=Operation.IMAGE2IMAGE)
    async with opened(checked) as engine:
        found, said = await failure(engine, asked)
    assert "the picture that you sent too explicit" in said
    assert (found, server.asked) == ([], [])
