"""Lists of backgrounds, colours and angles become prompts that say one thing."""

from __future__ import annotations

import pytest

from bot.errors import UserError
from bot.jobs import Kept, Operation
from bot.requests.variants import LONGEST, thing_of, variants_of


@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        ("a red apple on a blue background", "a red apple"),
        ("a red apple, on a plain white background, oil painting", "a red apple, oil painting"),
        ("a red apple", "a red apple"),
        ("on a blue background", "on a blue background"),
        ("a fox against the dark background", "a fox"),
    ],
)
def test_a_thing_is_a_prompt_without_its_background(prompt: str, thing: str) -> None:
    assert thing_of(prompt) == thing


def test_a_background_is_painted_around_the_thing() -> None:
    made = variants_of("a red apple", "", backgrounds="blue, a beach at sunset, in the snow, orange,, blue")
    assert [each.prompt for each in made] == [
        "a red apple on a blue background",
        "a red apple on a beach at sunset background",
        "a red apple in the snow",
        "a red apple on an orange background",
    ]
    assert {(each.operation, each.kept, each.strength) for each in made} == {(Operation.INPAINT, Kept.THING, 1.0)}
    assert made[0].label == "background: blue"


def test_words_for_the_old_background_are_left_out_where_it_changes_or_stays() -> None:
    (on, coloured, angle) = variants_of("a red apple on a blue background", "", "green", "yellow", "side")
    assert on.prompt == "a red apple on a green background"
    assert coloured.prompt == "a yellow apple"
    assert angle.prompt == "a red apple on a blue background, side view", "all of it is painted over"


def test_a_colour_takes_the_place_of_the_old_one() -> None:
    made = variants_of("a red apple", "", colours="green, orange, Green, a blue")
    assert [each.prompt for each in made] == ["a green apple", "an orange apple", "a blue apple"]
    assert {(each.operation, each.kept) for each in made} == {(Operation.INPAINT, Kept.BACKGROUND)}


def test_an_angle_has_no_mask() -> None:
    made = variants_of("a cup", "soft light", angles="side, seen from above")
    assert [each.prompt for each in made] == ["a cup, side view, soft light", "a cup, seen from above, soft light"]
    assert {(each.operation, each.kept) for each in made} == {(Operation.IMAGE2IMAGE, None)}


def test_flags_of_the_look_are_not_words() -> None:
    (made,) = variants_of("a cup", "--steps 5", angles="side")
    assert made.prompt == "a cup, side view --steps 5"


@pytest.mark.parametrize(
    ("thing", "lists", "words"),
    [
        ("", {"colours": "red"}, "Say what the picture shows"),
        ("  ", {"colours": "red"}, "Say what the picture shows"),
        ("a cup", {}, "Say what varies"),
        ("a cup", {"backgrounds": " , ,"}, "Say what varies"),
        ("a cup", {"angles": "x" * (LONGEST + 1)}, "An entry of angles has 101 characters"),
    ],
)
def test_what_makes_no_sense_is_refused(thing: str, lists: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        variants_of(thing, "", **lists)
