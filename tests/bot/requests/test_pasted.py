"""Prompts as people copy them from other tools: each becomes a picture, with at most one line of notes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import EMBEDDED_MODEL, LoraConfig, ModelConfig
from bot.engine.catalog import SAMPLERS, folder_of
from bot.errors import UserError
from bot.jobs import Upload
from bot.requests.flags import with_flags
from bot.requests.options import Options
from bot.requests.pasted import tidy
from bot.requests.resolve import Resolved, resolve
from bot.requests.vocabulary import Vocabulary
from bot.requests.wording import one_line
from tests.bot.requests.pasted_prompts import PROMPTS, SETTINGS, Pasted

LONGEST_LINE = 330
"""Characters of the longest line of notes; a line on a wide screen has about 150."""

VOCABULARY = Vocabulary.read(Path(folder_of(EMBEDDED_MODEL)))
EMOJI = (EMBEDDED_MODEL,)


def painted(typed: str, models: tuple[ModelConfig, ...] = EMOJI, **options: Any) -> Resolved:
    return resolve(Options(typed, **options), models, tuple(SAMPLERS))


def note(typed: str, **options: Any) -> str:
    return " ".join(one_line(painted(typed, **options).notes))


@pytest.mark.parametrize("pasted", PROMPTS, ids=[f"{n}" for n in range(len(PROMPTS))])
def test_what_people_paste_is_painted_with_at_most_one_line_of_notes(pasted: Pasted) -> None:
    resolved = painted(pasted.typed)
    assert resolved.request.prompt == (pasted.prompt or pasted.typed)
    assert {name: getattr(resolved.request, name) for name in pasted.fields} == pasted.fields
    assert VOCABULARY is not None
    line = one_line((*resolved.notes, *VOCABULARY.notes(resolved.request.prompt)))
    assert len(line) <= 1
    assert len("".join(line)) <= LONGEST_LINE
    assert "\n" not in "".join(line)
    # What the vocabulary says is not of interest here.
    own = " ".join(one_line(resolved.notes))
    assert [words for words in pasted.notes if words not in own] == []
    assert bool(own) == bool(pasted.notes)


def test_there_are_sixty_of_them_and_no_two_are_alike() -> None:
    assert len({pasted.typed for pasted in PROMPTS}) == len(PROMPTS) >= 60


@pytest.mark.parametrize(
    ("typed", "prompt", "fields"),
    [
        ("a cat --ar 3:2 in the snow", "a cat in the snow", {"width": 160}),
        ("a cat --seed 7, in the snow, --steps 5 at night", "a cat, in the snow, at night", {"seed": 7}),
        ("--ar 3:2 a cat in the snow", "a cat in the snow", {"width": 160}),
        ("a cat --seed 7. In the snow", "a cat In the snow", {"seed": 7}),
        ("a cat --sampler euler a in the snow", "a cat in the snow", {"sampler": "euler a"}),
        ("a cat --ar 3 : 2 in the snow", "a cat in the snow", {"width": 160}),
        ("a cat --tile in the snow", "a cat in the snow", {}),
        ("a cat --style raw in the snow", "a cat in the snow", {}),
        ("a cat --v 6.1, in the snow", "a cat, in the snow", {}),
        ("a cat --glow in the snow", "a cat in the snow", {}),
        ("a cat --glow 5 in the snow", "a cat in the snow", {}),
        ("a cat --no fog in the snow", "a cat", {"negative_prompt": "fog in the snow"}),
    ],
)
def test_words_after_the_value_of_a_flag_return_to_the_prompt(typed: str, prompt: str, fields: dict[str, Any]) -> None:
    request = painted(typed).request
    assert request.prompt == prompt
    assert {name: getattr(request, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("a cat --v 6", "--v has no effect here"),
        ("a cat --v 6 --tile --v 5", "--v and --tile have no effect here"),
        ("a cat --glow neon", "--glow “neon” has no effect here"),
        ("a cat --glow", "--glow has no effect here"),
        (
            "a cat " + " ".join(f"--odd{letter} 1" for letter in "abcdefghij"),
            "--oddh “1” and 2 more have no effect here",
        ),
        ("a cat --" + "x" * 900, f"--{'x' * 23}… has no effect here"),
    ],
)
def test_every_flag_without_an_effect_is_named_in_one_note(typed: str, words: str) -> None:
    assert painted(typed).request.prompt == "a cat"
    assert note(typed).endswith(words)


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("a cat —v 6 —ar 3:2 —tile", {"width": 160}),
        ("a cat —ar 3:2 —style raw —seed 7", None),
        ("a cat –s 750 –c 10 –seed 7", {"seed": 7}),
        ("a cat —ar16:9 —v6.1", {"width": 168}),
    ],
)
def test_a_phones_dash_before_another_bots_flag_is_repaired(typed: str, fields: dict[str, Any] | None) -> None:
    request = painted(typed).request
    if fields is None:
        return
    assert request.prompt == "a cat"
    assert {name: getattr(request, name) for name in fields} == fields


@pytest.mark.parametrize(
    "typed", ["a knight —style over substance", "a tide —raw and wild", "a wall —stop", "a hall —video of war, 1944"]
)
def test_a_dash_in_prose_is_no_flag_of_another_bot(typed: str) -> None:
    assert painted(typed).request.prompt == typed


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        ("a cat --r 3", "num_images_per_prompt", 3),
        ("a cat --batch_size 3", "num_images_per_prompt", 3),
        ("a cat --aspect-ratio 3:2", "width", 160),
        ("a cat --cfg-scale 5", "guidance_scale", 5.0),
        ('a cat --negative "fog, rain"', "negative_prompt", "fog, rain"),
        ('a cat --sampler_name "Euler a"', "sampler", "euler a"),
        ("a cat --width 160 --height 96", "width", 160),
        ("a cat --ar16:9", "width", 168),
        ("a cat --seed7", "seed", 7),
    ],
)
def test_a_flag_that_is_one_of_ours_under_another_name_counts(typed: str, field: str, value: object) -> None:
    resolved = painted(typed)
    assert (resolved.request.prompt, getattr(resolved.request, field), resolved.notes) == ("a cat", value, ())


@pytest.mark.parametrize("flag", ["--r x", "--sampler_name PLMS", "--ratio wide", "--width 64"])
def test_it_is_left_out_where_its_value_means_nothing_here(flag: str) -> None:
    typed = f"a cat {flag}"
    assert painted(typed).request.prompt == "a cat"
    assert note(typed).endswith("has no effect here")


def test_an_address_points_to_the_option_for_pictures() -> None:
    typed = "https://cdn.discordapp.com/a/cat.png a cat"
    assert painted(typed).request.prompt == "a cat"
    assert note(typed) == "links in a prompt are not opened; to start from a picture, attach it as {option image}"
    assert note(typed, image=Upload(b"", 64, 64, "a" * 64)) == "links in a prompt are not opened"
    with pytest.raises(UserError, match="Links are not opened: attach a picture as "):
        painted("https://cdn.discordapp.com/a/cat.png")


def test_mentions_go_and_a_servers_emoji_becomes_its_name() -> None:
    typed = "<@123456789012345678> a <:happy_cat:123456789012345678> in <#123456789012345678>"
    assert painted(typed).request.prompt == "a happy cat in"
    assert note(typed) == "mentions are left out"
    alone = "<@123456789012345678>"
    assert painted(alone).request.prompt == alone, "a prompt of nothing else stays"


def test_the_settings_under_a_picture_of_the_web_ui_count_as_flags() -> None:
    sd15 = ModelConfig(name="sd15", source="org/sd15", loras=(LoraConfig(name="ink", source="i.safetensors"),))
    request = painted(SETTINGS, (*EMOJI, sd15)).request
    assert request.prompt == "a red fox, (snow:1.2)"
    assert request.negative_prompt == "blurry, text"
    assert (request.model, request.sampler, request.seed) == ("sd15", "euler a", 1234)
    assert (request.num_inference_steps, request.guidance_scale, request.width, request.height) == (28, 6.5, 512, 768)


def test_a_size_that_is_too_large_keeps_its_shape() -> None:
    request = painted("a cat --size 1920x1080").request
    assert (request.width, request.height) == (256, 144)


NASTY = (
    "--a ", "-- ", "--v 1 ", "--no x ", "—v ", "—no ", "<@1", "<@123456789012345678>", "<:a:", "http://", "https://,,,",
    "Negative prompt: ", "Steps: 1, A", "Steps: 20, A: ", "{a,", "{", "a::", "::", "**a", "prompt: ", "--sref 1::2 ",
    "--width 1 ", "--sampler euler ", "A: b, ", '"', "--lora a, ",
)  # fmt: skip


@pytest.mark.parametrize("piece", NASTY)
def test_any_prompt_takes_steps_in_proportion_to_its_length(piece: str) -> None:
    def steps(length: int) -> int:
        count = 0
        text = ("a cat " + piece * length)[:length]

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        sys.settrace(trace)
        try:
            with_flags(Options(text), [], {"sampler": ("euler",), "lora": ("a",)})
        except UserError:
            pass
        finally:
            sys.settrace(None)
        return count

    steps(100)
    assert steps(6000) <= 3 * steps(3000) + 1000


def outcome(typed: str) -> str:
    """What the person reads: the refusal, or the notes."""
    try:
        return " ".join(["Accepted.", *one_line(painted(typed).notes)])
    except UserError as error:
        return str(error)


@given(st.lists(st.sampled_from(NASTY) | st.text(max_size=8), max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_anything_copied_is_painted_or_refused_in_a_sentence(typed: str) -> None:
    assert 0 < len(outcome(typed)) <= 900


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_a_prompt_without_marks_of_other_tools_stays(text: str) -> None:
    plain = " ".join(text.replace("<", "").replace(":", "").replace("*", "").replace("/", "").split())
    assert tidy(plain, {}).text == plain
