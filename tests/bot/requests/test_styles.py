"""What a style does to a request, and styles as one line of text."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import UserError
from bot.jobs import StyleRef
from bot.requests import edits, styles
from bot.requests.defaults import Defaults, Source
from bot.requests.options import Options
from bot.requests.resolve import Resolved, resolve
from bot.storage.styles import Style
from tests.bot.requests.asking import MODELS, SAMPLERS, an_upload

INK = Style(
    "ink",
    "{prompt}, black ink on paper",
    "colour",
    "black ink",
    model="worn",
    sampler="euler",
    steps=12,
    guidance_scale=4.0,
    aspect="3:2",
    lora="sketch:0.8",
    number=3,
    version=2,
)
WORDS = Style("words", "a drawing of {prompt}", number=1, version=1)
STYLES = {"ink": INK, "words": WORDS}


def asked(prompt: str, *layers: Defaults, limits: Any = None, **options: Any) -> Resolved:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS, limits, defaults=layers, known_styles=STYLES)


@pytest.mark.parametrize("way", ["flag", "option"])
def test_a_style_sets_words_and_values_and_the_request_says_which_version(way: str) -> None:
    resolved = asked("a fox --style ink") if way == "flag" else asked("a fox", style="ink")
    request = resolved.request
    assert request.prompt == "a fox, black ink on paper, pencil sketch"
    assert request.negative_prompt == "colour"
    assert (request.model, request.sampler, request.num_inference_steps) == ("worn", "euler", 12)
    assert (request.guidance_scale, request.loras) == (4.0, (("sketch", 0.8),))
    assert request.width > request.height
    assert request.style_ref == StyleRef("ink", 3, 2)
    of_style = {name for name, source in resolved.origins.items() if source is Source.STYLE}
    assert of_style == {"model", "sampler", "steps", "guidance_scale", "aspect", "lora"}
    assert resolved.origins["style"] is (Source.FLAG if way == "flag" else Source.OPTION)


def test_flags_and_options_win_over_a_style_and_a_style_over_all_defaults() -> None:
    mine = Defaults(Source.MINE, images=2, aspect="1:1", model="sd15")
    resolved = asked("a fox --style ink --steps 9", mine, guidance_scale=2.0)
    request = resolved.request
    assert (request.num_inference_steps, request.guidance_scale, request.model) == (9, 2.0, "worn")
    assert request.width > request.height
    assert request.num_images_per_prompt == 2, "what the style leaves open is filled as always"
    sources = resolved.origins
    assert [sources[name] for name in ("steps", "guidance_scale", "model", "images")] == [
        Source.FLAG,
        Source.OPTION,
        Source.STYLE,
        Source.MINE,
    ]


def test_what_is_left_out_is_that_of_the_model_or_the_person_and_that_of_the_style() -> None:
    plain = {"plain": replace(INK, name="plain", model=None, lora=None)}
    request = resolve(Options("a fox", model="sd15", style="plain"), MODELS, SAMPLERS, known_styles=plain).request
    assert request.negative_prompt == "blurry, colour"
    assert asked("a fox --style ink --no dogs").request.negative_prompt == "dogs, colour"


def test_the_loras_of_a_person_come_after_those_of_the_style() -> None:
    assert asked("a fox --style ink --lora ink, sketch:0.1").request.loras == (("sketch", 0.1), ("ink", 1.0))


def test_what_a_model_lacks_is_left_out_of_a_style_with_a_note() -> None:
    resolved = asked("a fox --style ink --model sd15")
    assert resolved.request.loras == ()
    assert resolved.notes == ("the model sd15 lacks the LoRAs sketch:0.8 of the style ink",)
    gone = {"gone": replace(INK, name="gone", model="lost", sampler="lost", lora=None)}
    resolved = resolve(Options("a fox", style="gone"), MODELS, SAMPLERS, known_styles=gone)
    assert resolved.notes == (
        "the model lost of the style gone does not exist here",
        "the sampler lost of the style gone does not work with the model emoji",
    )


def test_a_picture_to_start_from_decides_the_shape_and_a_draft_its_steps() -> None:
    assert asked("a fox --style ink", image=an_upload()).request.width == 512
    assert asked("a fox --style ink", image=an_upload()).request.height == 512


def test_an_unknown_style_is_refused_and_one_of_another_bot_has_no_effect() -> None:
    with pytest.raises(UserError, match="Did you mean ink"):
        asked("a fox --style inc")
    with pytest.raises(UserError, match=r"There is no style “oil”\. Choose from: ink, words"):
        asked("a fox", style="oil")
    with pytest.raises(UserError, match="There are no styles here"):
        resolve(Options("a fox", style="ink"), MODELS, SAMPLERS)
    resolved = asked("a fox --style raw in the snow")
    assert resolved.request.prompt == "a fox in the snow"
    assert resolved.notes == ("--style has no effect here",)
    assert asked("a fox --style pastel --ar 1:1").notes == ("there is no style “pastel” here",)
    assert asked("a fox —style ink").request.style == "ink", "a phone makes a dash of two hyphens"
    assert asked("a knight —style over substance").request.prompt == "a knight —style over substance"


def test_the_words_of_a_style_count_for_the_longest_prompt() -> None:
    with pytest.raises(UserError, match=r"4,010 characters with the words of the style words"):
        asked("x" * 3997, style="words")


def test_the_options_of_a_result_of_a_style_paint_it_again_without_its_words_twice() -> None:
    first = asked("a fox --style ink --seed 7").request
    again = resolve(edits.options_of(first), MODELS, SAMPLERS).request
    assert again == first
    assert "--style" not in edits.typed(first, 7), "the prompt to copy has the words already"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "black ink"}, "have `{prompt}` once"),
        ({"prompt": "{prompt} {prompt}"}, "have `{prompt}` once"),
        ({"prompt": "{prompt}" + "x" * 500}, "at most 500 characters"),
        ({"name": "Old Ink"}, "small letters"),
        ({"steps": 0}, "go from 1 to 150"),
        ({"guidance_scale": 99.0}, "guidance"),
        ({"guidance_scale": float("nan")}, "guidance"),
        ({"model": "x" * 101}, "at most 100 characters"),
    ],
)
def test_a_style_that_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        styles.checked(replace(INK, **changes))
    assert words in str(refused.value)


def test_a_style_is_one_line_that_another_server_reads() -> None:
    line = styles.to_line(INK)
    assert "\n" not in line
    assert styles.from_line(f" `{line}`\n") == replace(INK, number=0, version=0)
    longest = Style(
        "a" * 32,
        "{prompt}" + "é" * 492,
        "é" * 500,
        "é" * 100,
        *("é" * 100, "é" * 100, 150, 29.75, "é" * 100, "é" * 100),
    )
    assert styles.from_line(styles.to_line(longest)) == longest


def forged(values: Any) -> str:
    content = json.dumps(values).encode()
    return "atelier-style-1:" + base64.urlsafe_b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a fox", "begins with `atelier-style-1:`"),
        ("atelier-style-9:AAAA", "begins with `atelier-style-1:`"),
        ("atelier-style-1:", "damaged"),
        ("atelier-style-1:é", "damaged"),
        (styles.to_line(INK)[:-5], "damaged"),
        ("x" * 7000, "more than 6,000"),
        (forged("x" * 10**6), "damaged"),
        (styles.to_line(INK) + "AAAA", "damaged"),
        (forged([]), "other types"),
        (forged({"name": 7}), "other types"),
        (forged({"name": "ink", "steps": True}), "other types"),
        (forged({"name": "ink", "steps": 3.5}), "other types"),
        (forged({"name": "ink", "guidance_scale": "7"}), "other types"),
        (forged({"name": "ink", "prompt": None}), "other types"),
        (forged({"name": "ink", "version": 7}), "does not know"),
        (forged({"name": "ink", "prompt": "no place"}), "once"),
        (forged({"name": "ink", "guidance_scale": float("inf")}), "guidance"),
    ],
)
def test_garbage_is_refused_in_a_sentence(line: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        styles.from_line(line)
    assert words in str(refused.value)


@given(st.text(max_size=200), st.binary(max_size=80))
def test_no_line_raises_anything_but_a_sentence(text: str, data: bytes) -> None:
    for line in (text, "atelier-style-1:" + text, "atelier-style-1:" + base64.urlsafe_b64encode(data).decode()):
        with pytest.raises(UserError):
            styles.from_line(line)
