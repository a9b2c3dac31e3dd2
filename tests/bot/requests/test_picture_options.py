"""LoRAs, ControlNets, and the pictures that a request starts from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bot.config import STEPS
from bot.errors import UserError
from bot.jobs import Operation
from bot.requests.options import Options
from bot.requests.resolve import resolve
from bot.requests.shapes import aspect_size
from tests.bot.requests.asking import CANNY, SAMPLERS, SD15, WORN, an_upload, asked, notes, refusal


@pytest.mark.parametrize(
    ("typed", "loras"),
    [
        ("a cat", ()),
        ("a cat --lora ink", (("ink", 1.0),)),
        ("a cat --lora Sketch:0.4", (("sketch", 0.4),)),
        ("a cat --lora sketch --lora ink:-0.5 --steps 5", (("sketch", 0.7), ("ink", -0.5))),
        ("a cat --lora sketch:1, ink : 0.25, ", (("sketch", 1.0), ("ink", 0.25))),
        ("a cat --lora ink:0.1, ink:0.2", (("ink", 0.2),)),
    ],
)
def test_loras_are_named_with_a_weight_or_get_the_one_that_suits_them(typed: str, loras: object) -> None:
    assert asked(typed, model="worn").loras == loras


@pytest.mark.parametrize(
    ("typed", "painted"),
    [
        ("a cat --lora sketch", "a cat, pencil sketch"),
        ("a Pencil Sketch of a cat --lora sketch", "a Pencil Sketch of a cat"),
        ("a cat --lora ink", "a cat"),
    ],
)
def test_trigger_words_are_added_where_a_prompt_lacks_them(typed: str, painted: str) -> None:
    assert asked(typed, model="worn").prompt == painted


@pytest.mark.parametrize(
    ("lora", "model", "words"),
    [
        ("sketsh", "worn", "There is no LoRA “sketsh”. Did you mean sketch?"),
        ("sketch:much", "worn", "The weight of a LoRA is a number, like sketch:0.8; “much” is not a number."),
        ("sketch:nan", "worn", "weight of sketch goes from -2 to 2."),
        (":1", "worn", "There is no LoRA “”."),
        ("sketch", "sd15", "The model sd15 has no LoRAs."),
        ("sketch, ink, l0, l1, l2", "worn", "5 LoRAs are too many: up to 4 can be used together."),
    ],
)
def test_loras_that_cannot_be_worn_are_refused(lora: str, model: str, words: str) -> None:
    assert words in refusal("a cat", lora=lora, model=model)


def test_a_weight_out_of_range_is_brought_into_it() -> None:
    assert asked("a cat --lora ink:9", model="worn").loras == (("ink", 2.0),)
    assert notes("a cat --lora ink:9", model="worn") == ("weight of ink 9 became 2 (it goes from -2 to 2)",)


IMAGE = an_upload(1500, 1000, "1" * 64)
MASK = an_upload(750, 500, "2" * 64)
EDGES = an_upload(500, 1000, "3" * 64)


def test_an_image_is_started_from_in_its_own_proportions() -> None:
    request = asked("a cat", model="sd15", image=IMAGE)
    assert (request.operation, request.image, request.mask_image) == (Operation.IMAGE2IMAGE, IMAGE.sha256, "")
    assert (request.width, request.height) == aspect_size("3:2", SD15)
    assert (request.strength, request.num_inference_steps, request.steps) == (0.75, 30, 22)


def test_a_mask_repaints_all_that_it_covers() -> None:
    request = asked("a cat", image=IMAGE, mask=MASK)
    assert (request.operation, request.mask_image, request.strength) == (Operation.INPAINT, MASK.sha256, 1.0)
    assert request.uploads == (IMAGE.sha256, MASK.sha256)


def test_a_shape_that_was_asked_for_wins_over_the_images() -> None:
    assert (asked("a cat --ar 1:1", image=IMAGE).width, asked("a cat", image=IMAGE, aspect="96x64").width) == (64, 96)


def test_a_control_picture_gives_its_proportions_where_there_is_no_image() -> None:
    alone = asked("a cat", model="worn", controlnet="canny", control=EDGES)
    both = asked("a cat", model="worn", controlnet="canny", control=EDGES, image=IMAGE)
    assert (alone.width, alone.height) == aspect_size("1:2", WORN)
    assert (both.width, both.height) == aspect_size("3:2", WORN)


@pytest.mark.parametrize(
    ("flags", "options", "strength"),
    [
        ("--strength 0.6", {}, 0.6),
        ("", {"strength": 0.6}, 0.6),
        ("—strength 0.6", {"strength": 0.3}, 0.6),
        ("--strength 1", {}, 1.0),
        ("--strength 0.3", {"mask": MASK}, 0.3),
    ],
)
def test_strength_is_an_option_and_a_flag(flags: str, options: dict[str, Any], strength: float) -> None:
    assert asked(f"a cat {flags}", image=IMAGE, **options).strength == strength


@pytest.mark.parametrize(
    ("flags", "strength", "note"),
    [
        ("--strength 0.01", 0.05, "strength 0.01 became 0.05 (it goes from 0.05 to 1)"),
        ("--strength -1", 0.05, "strength -1 became 0.05 (it goes from 0.05 to 1)"),
        ("--strength 7", 1.0, "strength 7 became 1 (it goes from 0.05 to 1)"),
        ("--strength 0.5 --steps 1", 1.0, "strength 0.5 became 1 (it goes from 1 to 1)"),
        ("--steps 1", 1.0, "strength 0.75 became 1 (it goes from 1 to 1)"),
    ],
)
def test_strength_is_brought_to_where_a_step_is_taken_and_a_note_says_so(
    flags: str, strength: float, note: str
) -> None:
    assert asked(f"a cat {flags}", image=IMAGE).strength == strength
    assert notes(f"a cat {flags}", image=IMAGE) == (note,)


@pytest.mark.parametrize("steps", range(STEPS[0], STEPS[1] + 1))
def test_the_least_strength_takes_one_step(steps: int) -> None:
    request = asked("a cat", image=IMAGE, steps=steps, strength=0.0)
    assert int(steps * request.strength) == request.steps == 1


@pytest.mark.parametrize(
    ("typed", "options", "expected"),
    [
        ("", {"controlnet": "canny"}, ("canny", 0.8)),
        ("", {"controlnet": "DEPTH : 0.5"}, ("depth", 0.5)),
        ("--controlnet canny:0.7", {}, ("canny", 0.7)),
        ("--controlnet depth", {"controlnet": "canny"}, ("depth", 1.0)),
    ],
)
def test_a_controlnet_is_chosen_by_name_with_its_weight_or_one_given(
    typed: str, options: dict[str, Any], expected: tuple[str, float]
) -> None:
    request = asked(f"a cat {typed}", model="worn", control=EDGES, **options)
    assert (request.controlnet, request.controlnet_conditioning_scale) == expected
    assert (request.control_image, request.operation) == (EDGES.sha256, Operation.TEXT2IMAGE)


def test_the_only_controlnet_is_taken_without_naming_it() -> None:
    only = SD15.model_copy(update={"controlnets": (CANNY,)})
    request = resolve(Options("a cat", control=EDGES), [only], SAMPLERS).request
    assert (request.controlnet, request.controlnet_conditioning_scale) == ("canny", 0.8)


def test_a_weight_beyond_its_range_is_brought_into_it_and_a_note_says_so() -> None:
    said = notes("a cat", model="worn", control=EDGES, controlnet="canny:3")
    assert said == ("weight of canny 3 became 2 (it goes from 0 to 2)",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": MASK}, "A mask needs an image to repaint: add the image to start from, too."),
        ({"strength": 0.5}, "Strength says how much of an image is painted over: add the image"),
        ({"image": IMAGE, "mask": EDGES}, "The mask has 500×1000 pixels and the image 1500×1000: draw a mask for"),
        ({"image": an_upload(401, 100)}, "The image has 401×100 pixels, and shapes go only from 1:4 to 4:1: crop it."),
        (
            {"control": an_upload(100, 401)},
            "The control picture has 100×401 pixels, and shapes go only from 1:4 to 4:1",
        ),
        ({"image": IMAGE, "strength": math.nan}, "strength goes from 0.05 to 1."),
        ({"control": EDGES}, "The model emoji has no ControlNets; these models have some: worn."),
        ({"controlnet": "canny"}, "The model emoji has no ControlNets; these models have some: worn."),
        ({"control": EDGES, "model": "worn"}, "Say which ControlNet to use with the control picture: canny, "),
        (
            {"controlnet": "canny", "model": "worn"},
            "The ControlNet canny needs a picture to follow (white edges on black): add it as the control picture.",
        ),
        ({"controlnet": "depth", "model": "worn"}, "The ControlNet depth needs a picture to follow: add it"),
        (
            {"controlnet": "cany", "control": EDGES, "model": "worn"},
            "There is no ControlNet “cany”. Did you mean canny?",
        ),
        (
            {"controlnet": "canny:much", "control": EDGES, "model": "worn"},
            "The weight of a ControlNet is a number, like canny:0.8; “much” is not a number.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_would(options: dict[str, Any], words: str) -> None:
    assert refusal("a cat", **options).startswith(words)


def test_where_no_model_has_controlnets_none_is_promised() -> None:
    with pytest.raises(UserError, match="The model sd15 has no ControlNets, and no other model here has"):
        resolve(Options("a cat", control=EDGES), [SD15], SAMPLERS)
