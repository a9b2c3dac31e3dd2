"""What models can do and cost, what answers hold and what errors mean: without a server."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import ModelConfig
from bot.engine.images_api.answers import Answer, error_code, may_fetch, read, read_event
from bot.engine.images_api.capabilities import TABLE, AnySize, capabilities_of, nearest_size, trouble_of
from bot.engine.images_api.failures import Then, failure_of, seconds_to_wait
from bot.engine.images_api.prices import Usage, estimate, settled
from bot.jobs import GenerationRequest, Operation
from bot.money import dollars, micros_of_dollars, roughly
from bot.provider_config import RETIRED, ProviderConfig


def model(source: str = "gpt-image-2", **values: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "provider": "far", "source": source, **values})


def request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {"prompt": "a cat", "model": "m", "width": 1024, "height": 1024, "seed": 1}
    return GenerationRequest(**(values | {"num_inference_steps": 1, "guidance_scale": 1.0} | changes))


def test_snapshots_are_their_models_and_others_are_unknown() -> None:
    assert capabilities_of(model("gpt-image-2-2026-04-21")).tokens == TABLE["gpt-image-2"].tokens
    assert capabilities_of(model("gpt-image-2.5-flare-2026-09-08")).qualities[-1] == "max"
    assert capabilities_of(model("gpt-image-2-turbo")).prices.is_free
    assert not set(TABLE) & set(RETIRED)


def test_a_price_for_words_that_come_back_is_a_price() -> None:
    elsewhere = ProviderConfig(name="far", base_url="https://example.org/v1")
    words = model("x", api={"price_output_text": "10"})
    assert not capabilities_of(words).prices.is_free
    assert "give the price of a picture instead" in (trouble_of(words, elsewhere) or "")


def test_the_host_changes_what_is_known() -> None:
    able = capabilities_of(
        model("x", api={"sizes": ["512x512"], "options": ["steps"], "edits": False, "price": "0.04", "images": 1})
    )
    assert able.sizes == ((512, 512),)
    assert (able.options, able.images, able.prices.picture) == ({"steps"}, 1, 40_000)
    assert able.operations == {Operation.TEXT2IMAGE}
    assert capabilities_of(model(api={"price_output": "15"})).prices.output == 15_000_000
    assert capabilities_of(model("x", api={"masks": False})).operations == {
        Operation.TEXT2IMAGE,
        Operation.IMAGE2IMAGE,
        Operation.BLEND,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"api": {"quality": "max"}}, "gpt-image-2 has the qualities low, medium, high, and not 'max'"),
        ({"width": 512, "height": 512}, "cannot paint 512×512 pixels: set width = 816 and height = 816"),
        ({"source": "x", "api": {"price_output": 1}}, "give the price of a picture instead"),
        ({}, None),
    ],
)
def test_what_does_not_fit_a_model_is_named(values: dict[str, Any], words: str | None) -> None:
    found = trouble_of(model(**values), ProviderConfig(name="far", base_url="http://127.0.0.1:1/v1"))
    assert found is None if words is None else words in (found or "")


@pytest.mark.parametrize("address", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_a_model_of_openai_that_nobody_knows_the_price_of_is_not_taken_for_free(address: str) -> None:
    openai = ProviderConfig(name="openai", base_url=address)
    unknown = model("gpt-image-3")
    assert "does not know what gpt-image-3 costs at OpenAI" in (trouble_of(unknown, openai) or "")
    assert trouble_of(model("gpt-image-3", api={"price": "0.05"}), openai) is None
    assert trouble_of(model("gpt-image-2"), openai) is None
    assert trouble_of(unknown, ProviderConfig(name="shed", base_url="http://127.0.0.1:1/v1")) is None
    able = capabilities_of(unknown)
    assert (able.formats[0], able.options, able.quality) == ("png", frozenset(), ""), "it is asked as its family is"


@pytest.mark.parametrize(
    ("name", "asked", "size"),
    [
        ("gpt-image-1.5", (1344, 768), (1536, 1024)),
        ("gpt-image-1.5", (768, 1344), (1024, 1536)),
        ("gpt-image-1.5", (64, 64), (1024, 1024)),
        ("gpt-image-2", (1344, 768), (1344, 768)),
        ("gpt-image-2", (2048, 2048), (2048, 2048)),
        ("gpt-image-2", (1000, 1000), (992, 992)),
    ],
)
def test_the_nearest_size_is_taken(name: str, asked: tuple[int, int], size: tuple[int, int]) -> None:
    assert nearest_size(TABLE[name], *asked) == size


@given(st.integers(8, 8192), st.integers(8, 8192))
def test_a_flexible_size_is_within_what_the_model_takes(width: int, height: int) -> None:
    rule = TABLE["gpt-image-2"].sizes
    assert isinstance(rule, AnySize)
    across, down = nearest_size(TABLE["gpt-image-2"], width, height)
    assert across % rule.step == down % rule.step == 0
    assert max(across, down) <= rule.side
    assert rule.pixels[0] * 0.95 <= across * down <= rule.pixels[1] * 1.02
    assert max(across, down) / min(across, down) <= rule.ratio * 1.05


def test_an_estimate_is_in_whole_micro_dollars() -> None:
    able = TABLE["gpt-image-1.5"]
    # 1056 tokens of output at $32, 100 of a partial image, 9 of words at $5, by a million.
    assert estimate(request(), able) == 1156 * 32 + 9 * 5
    assert estimate(request(width=1536), able) == (1584 + 100) * 32 + 9 * 5
    assert estimate(request(num_images_per_prompt=3), able) == 3 * 1056 * 32 + 9 * 5
    assert estimate(request(), TABLE["gpt-image-2"]) == (1756 + 100) * 30 + 9 * 5
    edit = request(operation=Operation.BLEND, image="a", blended=("b",))
    assert estimate(edit, able) == 1156 * 32 + 9 * 5 + 2 * 1600 * 8
    assert estimate(request(num_images_per_prompt=3), capabilities_of(model("x", api={"price": "0.0205"}))) == 61_500


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("gpt-image-2", (1024, 1024), (196, 1756, 7024)),
        ("gpt-image-2", (1024, 1536), (158, 1372, 5488)),
        ("gpt-image-2", (3840, 2160), (371, 3336, 13342)),
        ("gpt-image-2.5-flare", (1024, 1024), (196, 439, 1756, 3122, 7024)),
        ("gpt-image-1.5", (1536, 1024), (408, 1584, 6240)),
    ],
)
def test_the_tokens_of_a_picture_are_those_of_openais_calculator(
    name: str, size: tuple[int, int], tokens: tuple[int, ...]
) -> None:
    able = TABLE[name]
    assert able.tokens is not None
    assert tuple(able.tokens.of(quality, *size) for quality in able.qualities) == tokens
    assert able.tokens.of("", *size) == tokens[-1], "of an unknown quality the dearest"


@pytest.mark.parametrize(
    ("found", "usage"),
    [
        (None, None),
        ({}, None),
        ({"output_tokens": "many"}, None),
        ({"output_tokens": 5}, Usage(0, 0, 5)),
        ({"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"image_tokens": 4}}, Usage(5, 4, 5)),
        ({"input_tokens": 9, "output_tokens": -1}, None),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"input_tokens": 9, "output_tokens": 10**25}, None),
        ({"input_tokens": 9.0, "output_tokens": 5.0}, Usage(9, 0, 5)),
        ({"input_tokens": 9, "output_tokens": float("inf")}, None),
        ({"output_tokens": 5, "output_tokens_details": {"text_tokens": 2, "image_tokens": 3}}, Usage(0, 0, 5, 2)),
        ({"output_tokens": 5, "output_tokens_details": {"text_tokens": 9}}, Usage(0, 0, 5, 5)),
        ({"output_tokens": 5, "input_tokens_details": [1], "output_tokens_details": "odd"}, Usage(0, 0, 5)),
    ],
)
def test_usage_in_any_form_is_read(found: Any, usage: Usage | None) -> None:
    assert Usage.read(found) == usage


def test_an_answer_is_settled_by_its_usage_or_its_pictures() -> None:
    mini = TABLE["gpt-image-1-mini"]
    assert settled(mini, Usage(3, 1, 7), 1) == 65, "3 · $2 + 1 · $2.50 + 7 · $8, rounded up"
    assert settled(mini, None, 1) is None
    former = TABLE["gpt-image-1.5"]
    assert settled(former, Usage(0, 0, 6543, 335), 1) == 6208 * 32 + 335 * 10, "words that come back cost less"
    assert settled(TABLE["gpt-image-2"], Usage(0, 0, 100, 10), 1) == 3000, "as much as the rest where nothing is known"
    changed = capabilities_of(model("gpt-image-1.5", api={"price_output_text": "20"}))
    assert settled(changed, Usage(0, 0, 100, 10), 1) == 90 * 32 + 10 * 20
    assert settled(capabilities_of(model("x", api={"price": "0.02"})), None, 0) is None, "it may have been billed"
    assert settled(capabilities_of(model("x", api={"price": "0.02"})), None, 2) == 40_000
    assert settled(capabilities_of(model("x")), None, 2) == 0


def test_money_is_never_a_float() -> None:
    assert micros_of_dollars(Decimal("0.1")) == 100_000
    assert [dollars(each) for each in (0, 1, 30_280, 1_200_000, 1_234_567_890)] == [
        "$0.00",
        "$0.000001",
        "$0.03028",
        "$1.20",
        "$1,234.56789",
    ]
    assert [roughly(each) for each in (1, 56_055, 100_000)] == ["$0.001", "$0.057", "$0.10"]


def test_an_answer_holds_bytes_or_addresses() -> None:
    data = base64.b64encode(b"picture").decode()
    here = "http://127.0.0.1:8080/v1"
    entries = [{"b64_json": data}, {"url": "https://blobs.example/a.png"}, {"url": f"data:image/png;base64,{data}"}]
    assert read({"data": [{"b64_json": f"data:image/png;base64,{data[:4]}\n{data[4:]}\n"}]}, here).pictures == (
        b"picture",
    )
    strange = [
        {"url": "https://[bad"},
        {"url": "http://10.0.0.1/a"},
        {"url": "file:///etc/passwd"},
        {"url": 7},
        {},
        None,
        "text",
    ]
    assert read({"data": [*entries, *strange]}, here).pictures == (
        b"picture",
        "https://blobs.example/a.png",
        b"picture",
    )
    for broken in (None, "text", {"data": "text"}, {"data": None}, []):
        assert read(broken, here) == Answer((), None)
    assert read_event({"type": "image_generation.completed", "b64_json": data}) == Answer((b"picture",), None)
    assert read_event({"type": "image_edit.partial_image", "b64_json": "%"}) is None
    assert read_event({"type": "ping"}) is None
    assert error_code({"error": {"code": 400}}) == "400"
    assert error_code({"error": "sorry"}) == ""
    assert error_code({"error": {"code": "warning"}, "data": entries}) is None, "pictures came"
    assert may_fetch("http://127.0.0.1:8080/files/a.png", here)
    assert not may_fetch("http://127.0.0.1:9090/files/a.png", here)


_FIELDS = ("data", "b64_json", "url", "usage", "error", "code", "type", "input_tokens", "output_tokens", "text_tokens")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=5),
    max_leaves=20,
)


@given(_JSON)
def test_whatever_is_answered_is_read_and_costs_what_a_row_can_hold(found: Any) -> None:
    error_code(found)
    read_event(found)
    for usage in (Usage.read(found), read(found, "http://127.0.0.1:8080/v1").usage):
        cost = settled(TABLE["gpt-image-1.5"], usage, 1)
        assert cost is None or 0 <= cost < 2**63


@pytest.mark.parametrize(
    ("status", "code", "then", "billed"),
    [
        (400, "moderation_blocked", Then.FAIL, False),
        (None, "moderation_blocked", Then.FAIL, False),
        (400, "billing_hard_limit_reached", Then.STOP, False),
        (429, "insufficient_quota", Then.STOP, False),
        (429, None, Then.WAIT, False),
        (503, None, Then.WAIT, False),
        (401, None, Then.STOP, False),
        (403, None, Then.STOP_MODEL, False),
        (403, "invalid_api_key", Then.STOP, False),
        (404, "model_not_found", Then.STOP_MODEL, False),
        (422, None, Then.FAIL, False),
        (500, None, Then.FAIL, True),
        (504, None, Then.FAIL, True),
        (None, None, Then.FAIL, True),
    ],
)
def test_errors_mean_what_the_page_says(status: int | None, code: str | None, then: Then, billed: bool) -> None:
    failure = failure_of(status, code, "far", "two")
    assert (failure.then, failure.may_be_billed) == (then, billed)


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert seconds_to_wait("3", now, 1) == 3
    assert seconds_to_wait("Fri, 27 Nov 2026 12:00:07 GMT", now, 1) == 7
    assert seconds_to_wait("Fri, 27 Nov 2026 11:00:00 GMT", now, 1) == 0
    overflow = f"Mon, 01 Jan {10**20} 00:00:00 GMT"
    assert [seconds_to_wait(text, now, 3) for text in (None, "", "soon", "nan", overflow)] == [8] * 5
    assert [seconds_to_wait(text, now, 3) for text in ("inf", "-5")] == [math.inf, 0]
