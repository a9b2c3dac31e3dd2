"""Whatever is typed or chosen becomes a request within every range, or a sentence."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import IMAGES, STEPS
from bot.errors import UserError
from bot.jobs import GenerationRequest
from bot.requests.adapters import CONTROLNET_WEIGHTS
from bot.requests.options import Options
from bot.requests.resolve import GUIDANCE, PROMPT_LIMIT, SEEDS, resolve
from bot.requests.wording import clean
from tests.bot.requests.asking import MODELS, SAMPLERS, SENDABLE, an_upload, asked

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
