"""From what a person typed to a request with every value resolved."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import EMBEDDED_MODEL, IMAGES, STEPS, ControlNetConfig, LoraConfig, ModelConfig
from bot.errors import UserError
from bot.jobs import GenerationRequest, Operation, Upload
from bot.requests.adapters import CONTROLNET_WEIGHTS
from bot.requests.flags import with_flags
from bot.requests.options import Options
from bot.requests.resolve import GUIDANCE, PROMPT_LIMIT, SEEDS, resolve
from bot.requests.shapes import ASPECTS, aspect_size
from bot.requests.wording import clean

SD15 = ModelConfig(
    name="sd15", source="org/sd15", steps=30, guidance_scale=7.5, negative_prompt="blurry", sampler="euler a"
)
TINY = ModelConfig(name="tiny", source="org/tiny", width=8, height=8)
WIDE = ModelConfig(name="wide", source="org/wide", width=1024, height=512)


def an_upload(width: int = 64, height: int = 64, sha256: str = "a" * 64) -> Upload:
    return Upload(b"", width, height, sha256)


LORAS = (
    LoraConfig(name="sketch", source="sketch.safetensors", weight=0.7, trigger="pencil sketch"),
    LoraConfig(name="ink", source="ink.safetensors"),
    *(LoraConfig(name=f"l{n}", source="l.safetensors") for n in range(4)),
)
CANNY = ControlNetConfig(name="canny", source="c.safetensors", description="white edges on black", weight=0.8)
DEPTH = ControlNetConfig(name="depth", source="d.safetensors")
WORN = ModelConfig(name="worn", source="org/worn", loras=LORAS, controlnets=(CANNY, DEPTH))
EMOJI = EMBEDDED_MODEL.model_copy(update={"width": 64, "height": 64, "steps": 20})
MODELS = (EMOJI, SD15, TINY, WIDE, WORN)
SAMPLERS = ("default", "ddim", "dpm++ 2m", "dpm++ 2m karras", "euler", "euler a")
SENDABLE = 500
"""Characters of a refusal; the client adds the prompt, and 2,000 fit into a message."""


def asked(prompt: str, **options: Any) -> GenerationRequest:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS).request


def notes(prompt: str, **options: Any) -> tuple[str, ...]:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS).notes


def refusal(prompt: str, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        resolve(Options(prompt, **options), MODELS, SAMPLERS)
    assert len(str(refused.value)) <= SENDABLE
    return str(refused.value)


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


FRAGMENTS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="-—–:x×.,0123456789e+aàñ \u200d\u202e\n", max_size=8),
    st.sampled_from(
        [
            *(f"{dash}{name}" for dash in ("--", "—", "–") for name in ("ar", "size", "steps", "cfg", "seed", "no")),
            *("--images", "--repeat", "--model", "--sampler", "--aspect", "--guidance", "--x", "--"),
            *("16:9", "0:1", "9999:0.0001", "64x64", "999999x0", "7", "-1", "1e9", "nan", "inf", "euler a", "sd15"),
            *("9" * 400, "a cat", "tiny", "٣", "²"),
        ]
    ),
)
TYPED = st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=8).map(" ".join))
NUMBERS = st.one_of(st.integers(), st.sampled_from([10**400, -(10**400), 2**32, 0]))
SIDES = st.sampled_from([16, 64, 100]) | st.integers(1, 50_000)
UPLOADS = st.builds(an_upload, SIDES, SIDES, st.sampled_from(["a" * 64, "b" * 64]))
ANYTHING = st.builds(
    Options,
    prompt=TYPED,
    negative_prompt=st.none() | TYPED,
    images=st.none() | NUMBERS,
    aspect=st.none() | TYPED,
    steps=st.none() | NUMBERS,
    guidance_scale=st.none() | st.floats(),
    seed=st.none() | st.integers(0, 2**32 - 1) | NUMBERS,
    model=st.none() | st.sampled_from(["emoji", "SD15", "tiny", "wide", "worn"]) | TYPED,
    sampler=st.none() | st.sampled_from(SAMPLERS) | TYPED,
    image=st.none() | UPLOADS,
    mask=st.none() | UPLOADS,
    strength=st.none() | st.floats() | NUMBERS,
    controlnet=st.none() | st.sampled_from(["canny", "depth:0.5", "canny:9"]) | TYPED,
    control=st.none() | UPLOADS,
)


def check(options: Options) -> None:
    try:
        resolved = resolve(options, MODELS, SAMPLERS)
    except UserError as error:
        words = str(error)
    else:
        words = " ".join(["Accepted.", *resolved.notes])
        check_request(resolved.request)
    assert 0 < len(words) <= SENDABLE


def check_request(request: GenerationRequest) -> None:
    model = {model.name: model for model in MODELS}[request.model]
    longest = 2 * max(model.width, model.height)
    assert 0 < len(request.prompt) <= PROMPT_LIMIT
    assert len(request.negative_prompt) <= PROMPT_LIMIT
    assert clean(request.prompt) == request.prompt
    assert clean(request.negative_prompt) == request.negative_prompt
    assert request.sampler in SAMPLERS
    for side in (request.width, request.height):
        assert 8 <= side <= longest
        assert side % 8 == 0
    for value, (low, high), kind in (
        (request.num_inference_steps, STEPS, int),
        (request.guidance_scale, GUIDANCE, float),
        (request.num_images_per_prompt, IMAGES, int),
        (request.seed, SEEDS, int),
        (request.strength, (0.0, 1.0), float),
        (request.controlnet_conditioning_scale, CONTROLNET_WEIGHTS, float),
    ):
        assert type(value) is kind
        assert low <= value <= high
    assert bool(request.controlnet) == bool(request.control_image)
    if request.image:
        assert int(request.num_inference_steps * request.strength) == request.steps >= 1
    else:
        assert (request.mask_image, request.strength) == ("", 1.0)


@given(ANYTHING)
@settings(max_examples=400, deadline=None)
def test_anything_asked_for_is_refused_in_a_sentence_or_within_every_range(options: Options) -> None:
    check(options)


@given(TYPED)
@settings(max_examples=400, deadline=None)
def test_anything_typed_is_refused_in_a_sentence_or_within_every_range(prompt: str) -> None:
    check(Options(prompt))


@given(
    seed=st.integers(*SEEDS),
    steps=st.integers(*STEPS),
    guidance=st.floats(*GUIDANCE),
    images=st.integers(*IMAGES),
    sampler=st.sampled_from(SAMPLERS),
    dash=st.sampled_from(["--", "—", "–"]),
)
@settings(max_examples=100, deadline=None)
def test_flags_and_options_of_the_same_values_ask_for_the_same(
    seed: int, steps: int, guidance: float, images: int, sampler: str, dash: str
) -> None:
    flags = (
        f"{dash}seed {seed} {dash}steps {steps} {dash}cfg {guidance!r} {dash}repeat {images} {dash}sampler {sampler}"
    )
    options = {"seed": seed, "steps": steps, "guidance_scale": guidance, "images": images, "sampler": sampler}
    assert asked(f"a cat {flags}") == asked("a cat", **options)


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_an_invisible_joiner_before_the_flags_is_no_part_of_the_prompt() -> None:
    assert asked("a cat\u200d --steps 5").prompt == "a cat"


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


@pytest.mark.parametrize(
    ("prompt", "shape"),
    [
        *(("a castle 16x9", "16:9"), ("a castle, 16:9", "16:9"), ("9 × 16 castle", "9:16"), ("512x768 fox", "512x768")),
        *(("a 4x4 jeep", ""), ("a 2x4", ""), ("a clock at 12:45", ""), ("1:1 copy", ""), ("64x64 pixel art", "")),
        *(("a fox --ar 16x9", ""), ("16x9 fox --ar 1:1", ""), ("a fox", ""), ("https://x.org/16x9/", "")),
    ],
)
def test_a_shape_among_the_words_is_answered_with_its_flag(prompt: str, shape: str) -> None:
    notes: list[str] = []
    with_flags(Options(prompt), notes)
    hints = [note for note in notes if "write --ar" in note]
    assert hints == ([f"for the shape {shape}, write --ar {shape}"] if shape else [])
