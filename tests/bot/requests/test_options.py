"""From what people type and choose to a request: flags, prompts, sizes and their ranges."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import GenerationRequest
from bot.requests.flags import with_flags
from bot.requests.options import Options
from bot.requests.resolve import PROMPT_LIMIT
from bot.requests.shapes import ASPECTS, aspect_size
from tests.bot.requests.asking import EMOJI, MODELS, SD15, SENDABLE, WIDE, asked, notes, refusal


def test_what_is_left_open_comes_from_the_model() -> None:
    assert asked("a cat", model="sd15", seed=7) == GenerationRequest(
        prompt="a cat",
        model="sd15",
        width=512,
        height=512,
        num_inference_steps=30,
        guidance_scale=7.5,
        seed=7,
        num_images_per_prompt=1,
        negative_prompt="blurry",
        sampler="euler a",
    )


def test_the_first_model_is_the_default() -> None:
    assert asked("a cat").model == "emoji"


def test_without_a_seed_every_request_gets_one_of_its_own() -> None:
    assert len({asked("a cat").seed for _ in range(5)}) > 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--ar 2:1", {"width": 88, "height": 48}),
        ("--aspect 1:1", {"width": 64, "height": 64}),
        ("--size 96x48", {"width": 96, "height": 48}),
        ("--size 96×48", {"width": 96, "height": 48}),
        ("--ar 96X48", {"width": 96, "height": 48}),
        ("--steps 12", {"num_inference_steps": 12}),
        ("--guidance 4.5", {"guidance_scale": 4.5}),
        ("--cfg 4", {"guidance_scale": 4.0}),
        ("--cfg 1e1", {"guidance_scale": 10.0}),
        ("--seed 7", {"seed": 7}),
        ("--seed 0", {"seed": 0}),
        ("--seed 4294967295", {"seed": 4294967295}),
        ("--seed 007", {"seed": 7}),
        ("--seed ７", {"seed": 7}),
        ("--no text", {"negative_prompt": "text"}),
        ("--no text, two heads", {"negative_prompt": "text, two heads"}),
        ("--no well-known -- things", {"negative_prompt": "well-known -- things"}),
        ("--no text --no two heads, fog --seed 7", {"negative_prompt": "text, two heads, fog", "seed": 7}),
        ("--no text —no fog", {"negative_prompt": "text, fog"}),
        ("—seed 7 —no fog", {"negative_prompt": "fog", "seed": 7}),
        ("—no=fog", {"negative_prompt": "fog"}),
        ("—model sd15 –no fog —images 2", {"model": "sd15", "negative_prompt": "fog", "num_images_per_prompt": 2}),
        ("—size 96x48 —sampler euler a", {"width": 96, "sampler": "euler a"}),
        ("–lora ink:0.8 —model worn", {"loras": (("ink", 0.8),)}),
        ("--images 3", {"num_images_per_prompt": 3}),
        ("--repeat 2", {"num_images_per_prompt": 2}),
        ("--model sd15", {"model": "sd15"}),
        ("--model SD15", {"model": "sd15"}),
        ("--sampler ddim", {"sampler": "ddim"}),
        ("--sampler euler a", {"sampler": "euler a"}),
        ("--sampler DPM++ 2M Karras --seed 7", {"sampler": "dpm++ 2m karras", "seed": 7}),
        ("--no text --seed 7", {"negative_prompt": "text", "seed": 7}),
        ("--SEED 7 --Steps 5", {"seed": 7, "num_inference_steps": 5}),
        ("--seed 1 --seed 2", {"seed": 2}),
        ("   --seed    7  ", {"seed": 7}),
        ("\n--seed\n7", {"seed": 7}),
    ],
)
def test_flags(flags: str, expected: dict[str, Any]) -> None:
    request = asked(f"a cat {flags}")
    assert request.prompt == "a cat"
    assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("typed", "prompt", "seed"),
    [
        ("a cat —seed 7", "a cat", 7),
        ("a cat –seed 7", "a cat", 7),
        ("a cat —ar 1:1 –seed 7", "a cat", 7),
        ("a cat — seed 7", "a cat — seed 7", None),
        ("a cat — grey, old", "a cat — grey, old", None),
        ("a cat —grey, old", "a cat —grey, old", None),
        ("a cat—seed 7", "a cat—seed 7", None),
        ("a hall —no-one is there", "a hall —no-one is there", None),
        ("a dog —no, a cat", "a dog —no, a cat", None),
        ("a king —no crown, no sword— rides", "a king —no crown, no sword— rides", None),
        ("a hall –no people", "a hall –no people", None),
        ("a —model of virtue", "a —model of virtue", None),
        ("a woman —model", "a woman —model", None),
        ("a woman —model pose --seed 7", "a woman —model pose", 7),
        ("a crowd —size matters", "a crowd —size matters", None),
        ("a story —images of war", "a story —images of war", None),
        ("stairs —steps 20 of them", "stairs —steps 20 of them", None),
        ("a plan —aspect by aspect", "a plan —aspect by aspect", None),
        ("a grain —seed of doubt", "a grain —seed of doubt", None),
        ("x —no " + "—no " * 700 + "end", None, None),
        ("1914–1918", "1914–1918", None),
        ("a well-known--cat", "a well-known--cat", None),
        ("a cat -- grey", "a cat -- grey", None),
        ("a cat --2", "a cat --2", None),
        ("a cat -seed 7", "a cat -seed 7", None),
    ],
)
def test_dashes_from_a_phone_are_repaired_and_dashes_in_prose_are_left_alone(
    typed: str, prompt: str, seed: int | None
) -> None:
    request = asked(typed)
    assert request.prompt == (prompt or typed)
    assert seed is None or request.seed == seed


def test_a_dash_that_could_be_a_flag_and_is_prose_is_said() -> None:
    assert notes("a hall —no people") == ("“—no” is read as a word of the prompt; a flag has two hyphens",)
    assert notes("a dog —no, a cat") == ()


def test_a_flag_that_comes_again_is_joined_or_said() -> None:
    assert notes("a cat --seed 1 --no text --seed 2 --no fog --SEED 3") == (
        "these flags came twice, and the last one counts: --seed",
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("a (cat:1.3), C++ :)", ()),
        (
            "[a|b] BREAK <lora:x:0.8>",
            (
                "read as plain words: “[a|b]”, “BREAK”, “<lora:x:0.8>”. "
                "Weights are written (word:1.3), [word] or word++. A LoRA is chosen by --lora.",
            ),
        ),
        (
            "a cat --no [a:b:0.5]",
            ("read as plain words: “[a:b:0.5]”. Weights are written (word:1.3), [word] or word++.",),
        ),
        ("(cat:25)", ("the weight 25 became 10 (0 to 10)",)),
        (", ".join(["[cat]"] * 33), ("only the first 32 weights below 1 count",)),
    ],
)
def test_weights_that_are_not_read_as_written_are_said_in_one_note(typed: str, said: tuple[str, ...]) -> None:
    assert notes(typed) == said
    assert asked(typed).prompt == typed.partition(" --no")[0], "the words stay as they are written"


@pytest.mark.parametrize(
    ("option", "flag", "field", "value"),
    [
        ({"seed": 1}, "--seed 2", "seed", 2),
        ({"steps": 1}, "--steps 2", "num_inference_steps", 2),
        ({"guidance_scale": 1.0}, "--cfg 2", "guidance_scale", 2.0),
        ({"images": 1}, "--repeat 2", "num_images_per_prompt", 2),
        ({"negative_prompt": "cats"}, "--no dogs", "negative_prompt", "dogs"),
        ({"aspect": "64x64"}, "--ar 80x64", "width", 80),
        ({"model": "emoji"}, "--model sd15", "model", "sd15"),
        ({"sampler": "euler"}, "--sampler ddim", "sampler", "ddim"),
        ({"seed": 2**40}, "--seed 2", "seed", 2),
    ],
)
def test_a_flag_wins_over_the_option(option: dict[str, Any], flag: str, field: str, value: object) -> None:
    assert getattr(asked(f"a cat {flag}", **option), field) == value


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("a cat --sed 7", "There is no flag “--sed”. Did you mean --seed?"),
        ("a cat --step 7", "There is no flag “--step”. Did you mean --steps?"),
        ("a cat --sed 7 --stepz 5", "There are no flags “--sed” and “--stepz”. Did you mean --seed and --steps?"),
        ("a cat --sed 7 --v 6 --zzz 5", "There are no flags “--sed” and “--zzz”. Did you mean --seed?"),
        ("a cat --seed x --sed 7", "There is no flag “--sed”. Did you mean --seed?"),
        ("a cat --sead=7", "There is no flag “--sead”. Did you mean --seed?"),
        ("a cat —seed=x", "--seed needs a whole number, like --seed 7; “x” is not a whole number."),
        ("a cat --model sd1.5", "There is no model “sd1.5”. Did you mean sd15?"),
        ("a cat --model zzz", "There is no model “zzz”. Choose from: emoji, sd15, tiny, wide, worn."),
        ("a cat --sampler eular", "There is no sampler “eular”. Did you mean euler?"),
        ("a cat --sampler euler b", "There is no sampler “euler b”. Did you mean euler a?"),
        ("a cat --seed", "--seed needs a value, like --seed 7."),
        ("a cat --no --seed 7", "--no needs a value, like --no text, blurry."),
        ("a cat --sampler", "--sampler needs a value, like --sampler euler."),
        ("a cat --steps many", "--steps needs a whole number, like --steps 20; “many” is not a whole number."),
        ("a cat --steps 20.5", "--steps needs a whole number, like --steps 20; “20.5” is not a whole number."),
        ("a cat --steps 1e9", "--steps needs a whole number, like --steps 20; “1e9” is not a whole number."),
        ("a cat --seed nan", "--seed needs a whole number, like --seed 7; “nan” is not a whole number."),
        ("a cat --images inf", "--images needs a whole number, like --images 2; “inf” is not a whole number."),
        ("a cat --cfg nan", "--cfg needs a number, like --cfg 7.5; “nan” is not a number."),
        ("a cat --cfg inf", "--cfg needs a number, like --cfg 7.5; “inf” is not a number."),
        ("a cat --cfg 1e999", "--cfg needs a number, like --cfg 7.5; “1e999” is not a number."),
        ("a cat --cfg 7,5", "--cfg needs a number, like --cfg 7.5; “7,5” is not a number."),
        ("a cat --seed -1", "Seeds go from 0 to 4,294,967,295, not to -1."),
        ("a cat --seed 4294967296", "Seeds go from 0 to 4,294,967,295, not to 4,294,967,296."),
        ("a cat --ar wide", "“wide” is neither a shape like 16:9 nor a size like 64x64."),
        ("a cat --ar wide --model sd15", "“wide” is neither a shape like 16:9 nor a size like 512x512."),
        ("a cat --ar 0:1", "“0:1” is neither a shape"),
        ("a cat --ar 1:0", "“1:0” is neither a shape"),
        ("a cat --ar 0.0:0.0", "“0.0:0.0” is neither a shape"),
        ("a cat --ar -1:1", "“-1:1” is neither a shape"),
        ("a cat --ar 1:1:1", "“1:1:1” is neither a shape"),
        ("a cat --ar 99999:1", "“99999:1” is neither a shape"),
        ("a cat --ar 9999999x9", "“9999999x9” is neither a shape"),
        ("a cat --ar :", "“:” is neither a shape"),
    ],
)
def test_what_cannot_be_understood_is_named_with_what_would_work(typed: str, words: str) -> None:
    assert refusal(typed).startswith(words)


@pytest.mark.parametrize("digits", [20, 400, 4000, 5000])
@pytest.mark.parametrize("flag", ["seed", "steps", "cfg", "images", "ar", "model"])
def test_huge_numbers_are_refused_or_clamped_in_a_sentence_that_fits_into_a_message(flag: str, digits: int) -> None:
    try:
        said = notes(f"a cat --{flag} {'9' * digits}")
    except UserError as error:
        said = (str(error),)
    assert 0 < len("".join(said)) <= SENDABLE


@pytest.mark.parametrize("option", ["steps", "images", "seed", "guidance_scale"])
def test_huge_numbers_as_options_are_refused_in_words_too(option: str) -> None:
    assert re.search("goe?s? from", refusal("a cat", **{option: 10**400}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_guidance_that_is_no_number_is_refused(number: float) -> None:
    assert refusal("a cat", guidance_scale=number) == "guidance goes from 0 to 30."


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "\n\t",
        "\u200b",
        "\u200d",
        " \u200d \u200d",
        "\u202e",
        "\u2066\u2069",
        "\x00\x1b",
        "--seed 7",
        "—seed 7",
    ],
)
def test_a_prompt_of_nothing_is_refused(prompt: str) -> None:
    assert refusal(prompt) == "Say what to paint, like: a red apple on a blue background."


@pytest.mark.parametrize(
    ("typed", "painted"),
    [
        ("  a   cat\n\tand a\r\ndog ", "a cat and a dog"),
        ("a\x00cat\x1b[31m", "a cat [31m"),
        ("evil\u202etxt.exe\u202c", "eviltxt.exe"),
        ("\u2066a\u2069 \u200fcat\u200e", "a cat"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("an 👩‍🚀 and a 👨‍👩‍👧‍👦", "an 👩‍🚀 and a 👨‍👩‍👧‍👦"),
        ("a ❤️ and 👍🏽", "a ❤️ and 👍🏽"),
        ("naïve Übergrößen 猫 قطة", "naïve Übergrößen 猫 قطة"),
        ("half of an emoji \ud83d", "half of an emoji"),
        ("\u200da cat\u200d", "a cat"),
    ],
)
def test_prompts_are_one_clean_line(typed: str, painted: str) -> None:
    request = asked(typed, negative_prompt=typed)
    assert (request.prompt, request.negative_prompt) == (painted, painted)


def test_prompts_may_be_as_long_as_the_limit_without_their_flags() -> None:
    request = asked("x" * PROMPT_LIMIT + " --seed 7", negative_prompt="y" * PROMPT_LIMIT)
    assert (len(request.prompt), len(request.negative_prompt)) == (PROMPT_LIMIT, PROMPT_LIMIT)


@pytest.mark.parametrize(
    ("typed", "options", "words"),
    [
        ("x" * 4003, {}, "The prompt has 4,003 characters, and at most 4,000 are allowed: shorten it by 3."),
        (
            "a cat",
            {"negative_prompt": "x" * 4001},
            "The negative prompt has 4,001 characters, and at most 4,000 are allowed",
        ),
        ("a cat --no " + "x" * 4001, {}, "The negative prompt has 4,001 characters, and at most 4,000 are allowed"),
    ],
)
def test_longer_prompts_are_refused_with_how_much_to_shorten(typed: str, options: dict[str, Any], words: str) -> None:
    assert refusal(typed, **options).startswith(words)


@pytest.mark.parametrize(("given", "used"), [(None, "blurry"), ("text", "text"), ("", ""), ("  ", "")])
def test_a_negative_prompt_replaces_the_models_even_by_nothing(given: str | None, used: str) -> None:
    assert asked("a cat", model="sd15", negative_prompt=given).negative_prompt == used


@pytest.mark.parametrize(
    ("flags", "field", "value", "note"),
    [
        ("--steps 0", "num_inference_steps", 1, "steps 0 became 1 (it goes from 1 to 150)"),
        ("--steps 151", "num_inference_steps", 150, "steps 151 became 150 (it goes from 1 to 150)"),
        ("--steps -5", "num_inference_steps", 1, "steps -5 became 1 (it goes from 1 to 150)"),
        ("--cfg 31", "guidance_scale", 30.0, "guidance 31 became 30 (it goes from 0 to 30)"),
        ("--cfg -0.5", "guidance_scale", 0.0, "guidance -0.5 became 0 (it goes from 0 to 30)"),
        ("--images 5", "num_images_per_prompt", 4, "images 5 became 4 (it goes from 1 to 4)"),
        ("--images 0", "num_images_per_prompt", 1, "images 0 became 1 (it goes from 1 to 4)"),
        (
            "--size 65x64",
            "width",
            64,
            "size 65×64 became 64×64 (the model emoji paints sides of 32 to 128 pixels, in steps of 8)",
        ),
        (
            "--size 9999x1",
            "width",
            128,
            "size 9999×1 became 128×32 (the model emoji paints sides of 32 to 128 pixels, in steps of 8)",
        ),
        (
            "--size 0x0",
            "height",
            32,
            "size 0×0 became 32×32 (the model emoji paints sides of 32 to 128 pixels, in steps of 8)",
        ),
        ("--ar 1000:1", "width", 128, "shape 1000:1 became 128×32 (shapes go from 1:4 to 4:1)"),
        ("--ar 1:1000", "height", 128, "shape 1:1000 became 32×128 (shapes go from 1:4 to 4:1)"),
    ],
)
def test_what_is_out_of_range_is_brought_into_it_and_a_note_says_so(
    flags: str, field: str, value: object, note: str
) -> None:
    assert getattr(asked(f"a cat {flags}"), field) == value
    assert notes(f"a cat {flags}") == (note,)


@pytest.mark.parametrize(
    "flags", ["--steps 1", "--steps 150", "--cfg 0", "--cfg 30", "--images 4", "--size 128x32", "--ar 4:1", "--ar 16x9"]
)
def test_what_is_in_range_is_taken_without_a_note(flags: str) -> None:
    assert notes(f"a cat {flags}") == ()


def test_a_size_that_no_picture_has_is_a_shape() -> None:
    assert (asked("a cat --ar 16x9").width, asked("a cat --ar 16x9").height) == (88, 48)


@pytest.mark.parametrize(
    ("aspect", "emoji", "sd15", "wide"),
    [
        ("1:1", (64, 64), (512, 512), (704, 704)),
        ("4:3", (72, 56), (576, 448), (832, 640)),
        ("3:4", (56, 72), (448, 576), (640, 832)),
        ("16:9", (88, 48), (704, 384), (960, 512)),
        ("9:16", (48, 88), (384, 704), (512, 960)),
        ("2.39:1", (96, 40), (768, 320), (1088, 448)),
        ("1 : 1", (64, 64), (512, 512), (704, 704)),
        ("1000:1", (128, 32), (1024, 256), (1472, 384)),
        ("0.0001:9999", (32, 128), (256, 1024), (384, 1472)),
    ],
)
def test_a_shape_has_about_the_area_the_model_paints_best(
    aspect: str, emoji: tuple[int, int], sd15: tuple[int, int], wide: tuple[int, int]
) -> None:
    assert [aspect_size(aspect, model) for model in (EMOJI, SD15, WIDE)] == [emoji, sd15, wide]


@pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])
def test_every_offered_shape_is_one_the_model_can_paint(model: ModelConfig) -> None:
    for aspect in ASPECTS:
        width, height = aspect_size(aspect, model)
        assert width % 8 == height % 8 == 0
        turned = aspect_size(":".join(reversed(aspect.split(":"))), model)
        assert turned == (height, width)


@pytest.mark.parametrize(
    ("prompt", "shape"),
    [
        *(("a castle 16x9", "16:9"), ("a castle, 16:9", "16:9"), ("9 × 16 castle", "9:16"), ("512x768 fox", "512x768")),
        *(("a 4x4 jeep", ""), ("a 2x4", ""), ("a clock at 12:45", ""), ("1:1 copy", ""), ("64x64 pixel art", "")),
        *(("at 9:16 pm", ""), ("psalm 3:2 on a wall", ""), ("psalm 3:2", ""), ("score 4:3, a stadium", "")),
        *(("a fox in 16:9 with snow", "16:9"), ("a fox, 3:2, snow", "3:2"), ("a fox (aspect ratio 3:2)", "3:2")),
        *(("resolution 1920×1080.", "1920x1080"), ("a fox 16:9.", "16:9"), ("16x9.png", ""), ("a disk 3x2.5", "")),
        *(("a fox --ar 16x9", ""), ("16x9 fox --ar 1:1", ""), ("a fox", ""), ("https://x.org/16x9/", "")),
    ],
)
def test_a_shape_among_the_words_is_answered_with_its_flag(prompt: str, shape: str) -> None:
    notes: list[str] = []
    with_flags(Options(prompt), notes)
    hints = [note for note in notes if "write --ar" in note]
    assert hints == ([f"for the shape {shape}, write --ar {shape}"] if shape else [])
