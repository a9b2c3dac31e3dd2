"""The nouns: times as text, costs and seeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.jobs import GenerationRequest, Surface, from_text, to_text, utcnow

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001 - zones are added


def a_request(**changes: object) -> GenerationRequest:
    values = {
        "prompt": "a cat",
        "model": "emoji",
        "width": 512,
        "height": 256,
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
        "seed": 7,
    }
    return GenerationRequest(**(values | changes))  # type: ignore[arg-type]


@given(TIMES)
@settings(max_examples=100, deadline=None)
def test_a_time_comes_back_as_the_same_instant_in_utc(at: datetime) -> None:
    back = from_text(to_text(at))
    assert back == at
    assert back is not None
    assert back.utcoffset() == timedelta(0)


@given(TIMES, TIMES)
@settings(max_examples=200, deadline=None)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (to_text(one) < to_text(other)) is (one < other)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00:00.000000+00:00"),
        (datetime(2026, 5, 1, 12, 0, 0, 5, tzinfo=UTC), "2026-05-01T12:00:00.000005+00:00"),
        (datetime(2026, 5, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-04-30T23:00:00.000000+00:00"),
    ],
)
def test_times_are_written_in_utc_always_with_microseconds(at: datetime, text: str) -> None:
    assert to_text(at) == text


def test_no_time_stays_none() -> None:
    assert from_text(None) is None


def test_now_is_aware() -> None:
    assert utcnow().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("seed", "images", "seeds"),
    [(7, 1, (7,)), (7, 4, (7, 8, 9, 10)), (2**32 - 2, 4, (2**32 - 2, 2**32 - 1, 0, 1))],
)
def test_every_image_has_a_seed_of_its_own_that_paints_it_alone(seed: int, images: int, seeds: tuple[int, ...]) -> None:
    request = a_request(seed=seed, num_images_per_prompt=images)
    assert request.seeds == seeds
    assert tuple(a_request(seed=one).seeds[0] for one in request.seeds) == seeds


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({}, 512 * 256 * 20 / 1e6),
        ({"num_images_per_prompt": 4}, 4 * 512 * 256 * 20 / 1e6),
        ({"width": 1000, "height": 1000, "num_inference_steps": 1}, 1.0),
    ],
)
def test_cost_is_in_megapixel_steps(changes: dict[str, object], cost: float) -> None:
    assert a_request(**changes).cost == pytest.approx(cost)


@pytest.mark.parametrize(
    ("surface", "outlives"), [(Surface.DISCORD, True), (Surface.SANDBOX, False), (Surface.TERMINAL, False)]
)
def test_only_discord_is_still_there_after_a_restart(surface: Surface, outlives: bool) -> None:
    assert surface.outlives_process is outlives
