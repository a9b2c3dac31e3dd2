"""Where the values of a request come from: flag, option, mine, channel, server, model, in this order."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import EMBEDDED_MODEL, ModelConfig
from bot.engine.catalog import SAMPLERS
from bot.jobs import Operation, PictureRef, Upload
from bot.policy.limits import Limit, Limits, Origin
from bot.requests.defaults import Defaults, Source
from bot.requests.options import Edit, Options
from bot.requests.resolve import Resolved, resolve

SD15 = ModelConfig(name="sd15", source="org/sd15")
MODELS = (EMBEDDED_MODEL, SD15)
MINE = Defaults(Source.MINE, images=2, aspect="3:2", model="sd15")
CHANNEL = Defaults(Source.CHANNEL, images=3, aspect="2:3", model="emoji")
SERVER = Defaults(Source.SERVER, images=4, aspect="1:1")
PICTURE = Upload(b"", 64, 64, "a" * 64)


def asked(prompt: str, *layers: Defaults, broken: tuple[str, ...] = (), **options: Any) -> Resolved:
    return resolve(Options(prompt, **options), MODELS, tuple(SAMPLERS), defaults=layers, broken=broken)


LAYERS = [MINE, CHANNEL, SERVER]


@pytest.mark.parametrize(
    ("prompt", "options", "layers", "images", "source"),
    [
        ("a cat --images 1", {"images": 4}, LAYERS, 1, Source.FLAG),
        ("a cat", {"images": 4}, LAYERS, 4, Source.OPTION),
        ("a cat", {}, LAYERS, 2, Source.MINE),
        ("a cat", {}, LAYERS[1:], 3, Source.CHANNEL),
        ("a cat", {}, LAYERS[2:], 4, Source.SERVER),
        ("a cat", {}, [], 1, Source.MODEL),
        ("a cat", {}, [Defaults(Source.MINE), SERVER], 4, Source.SERVER),
    ],
)
def test_the_first_that_says_something_wins(
    prompt: str, options: dict[str, Any], layers: list[Defaults], images: int, source: Source
) -> None:
    resolved = asked(prompt, *layers, **options)
    assert (resolved.request.num_images_per_prompt, resolved.origins["images"]) == (images, source)
    assert resolved.notes == ()


def test_every_option_says_where_its_value_comes_from() -> None:
    origins = asked("a cat --seed 7", MINE, steps=9).origins
    expected = {"seed": "flag", "steps": "option", "images": "mine", "model": "mine", "sampler": "model"}
    assert {name: str(origins[name]) for name in expected} == expected


def test_a_default_shape_yields_to_a_picture() -> None:
    assert asked("a cat", MINE, image=PICTURE).request.width == asked("a cat", MINE, image=PICTURE).request.height
    assert asked("a cat", MINE, image=PICTURE, aspect="3:2").request.width > 512


def test_a_control_under_a_picture_is_filled_by_nothing() -> None:
    edit = Edit((PictureRef(1),), Operation.IMAGE2IMAGE)
    request = asked("a cat", MINE, image=PICTURE, edit=edit).request
    assert (request.num_images_per_prompt, request.model) == (1, "emoji")


def test_a_default_model_that_is_gone_is_left_out_with_a_note() -> None:
    gone = Defaults(Source.MINE, model="sdxl")
    resolved = asked("a cat", gone)
    assert resolved.request.model == "emoji"
    assert resolved.origins["model"] is Source.MODEL
    assert resolved.notes == ("your default model sdxl cannot be used here now",)
    assert asked("a cat --model sd15", gone).notes == (), "nothing is said of it where another one was chosen"
    assert asked("a cat", gone, CHANNEL).origins["model"] is Source.CHANNEL


def test_a_default_model_that_does_not_work_or_is_not_allowed_is_left_out() -> None:
    assert asked("a cat", MINE, broken=("sd15",)).request.model == "emoji"
    numbers = (
        *("pace", "depth", "quota", "money", "server_money", "pixels", "steps", "images", "animation"),
        *("permutations", "weight"),
    )
    every = {name: Limit(10**6, Origin()) for name in numbers}
    limits = Limits(**every, models=Limit(("emoji",), Origin()), channels=Limit(None, Origin()))  # type: ignore[arg-type]
    resolved = resolve(Options("a cat"), MODELS, tuple(SAMPLERS), limits, defaults=[MINE])
    assert resolved.request.model == "emoji"
    assert resolved.notes == ("your default model sd15 cannot be used here now",)
