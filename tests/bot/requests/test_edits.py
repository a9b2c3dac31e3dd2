"""What a control under a picture asks for, as a request: an enlarged picture needs no words and is one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from bot.config import EMBEDDED_MODEL, LoraConfig, ModelConfig
from bot.errors import UserError
from bot.jobs import GenerationRequest, JobId, Kept, Operation, Picture, PictureRef, Upload
from bot.requests import edits
from bot.requests.defaults import Defaults, Source
from bot.requests.options import Edit, Options
from bot.requests.resolve import Resolved, resolve, usual_request
from bot.requests.variants import Variant

UPSCALE = Edit((), Operation.UPSCALE)


def an_upload(width: int, height: int) -> Upload:
    return Upload(b"", width, height, "a" * 64)


def test_enlarged_picture_needs_no_words_and_is_one() -> None:
    options = Options("", image=an_upload(1024, 512), images=4, edit=UPSCALE)
    request = resolve(options, (EMBEDDED_MODEL,), ("default",)).request
    assert (request.operation, request.prompt, request.num_images_per_prompt) == (Operation.UPSCALE, "", 1)
    assert (request.steps, request.work.forwards, request.cost) == (0, 0, 0)


@pytest.mark.parametrize("size", [(1025, 900), (900, 1025)])
def test_picture_that_would_become_too_large_is_refused_with_the_limit(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"longer than 4096 pixels, the limit: pictures of up to 1024×1024 pixels"):
        resolve(Options("a fox", image=an_upload(*size), edit=UPSCALE), (EMBEDDED_MODEL,), ("default",))


def test_everything_else_needs_words() -> None:
    with pytest.raises(UserError, match="Say what to paint"):
        resolve(Options("", image=an_upload(9, 9), edit=Edit(())), (EMBEDDED_MODEL,), ("default",))


# ---- drafts ----------------------------------------------------------------------------------------------------------

QUICK = ModelConfig(
    name="quick",
    source="org/quick",
    steps=30,
    guidance_scale=7.5,
    sampler="euler a",
    draft_steps=5,
    draft_guidance_scale=1.0,
    draft_lora="lcm",
    loras=(
        LoraConfig(name="lcm", source="lcm.safetensors", weight=0.9),
        LoraConfig(name="ink", source="ink.safetensors", trigger="in ink"),
        *(LoraConfig(name=f"l{n}", source="l.safetensors") for n in range(4)),
    ),
)
FEWER = ModelConfig(name="fewer", source="org/fewer", steps=20, guidance_scale=3.0, draft_steps=6)
USUAL = ModelConfig(name="usual", source="org/usual", steps=20)
MODELS = (QUICK, FEWER, USUAL)
SAMPLERS = ("default", "euler", "euler a")


def drafted(prompt: str, *layers: Defaults, **options: Any) -> Resolved:
    return resolve(Options(prompt, **options), MODELS, SAMPLERS, defaults=layers)


def test_draft_has_four_pictures_of_the_preset() -> None:
    resolved = drafted("a cat --draft --seed 7")
    request = resolved.request
    assert (request.prompt, request.draft, request.num_images_per_prompt) == ("a cat", True, 4)
    assert (request.num_inference_steps, request.guidance_scale) == (5, 1.0)
    assert request.loras == (("lcm", 0.9),)
    assert resolved.notes == ()
    request = drafted("a cat --draft --model fewer").request
    assert (request.num_inference_steps, request.guidance_scale, request.loras) == (6, 3.0, ())
    assert drafted("a cat", draft=True, seed=7).request == drafted("a cat --draft --seed 7").request


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a cat --images 2 --draft", {"num_images_per_prompt": 2}),
        ("a cat --draft --repeat 1", {"num_images_per_prompt": 1}),
        ("a cat --draft --steps 9", {"num_inference_steps": 9}),
        ("a cat --draft --cfg 2", {"guidance_scale": 2.0}),
        ("a cat --draft --lora l1", {"loras": (("l1", 1.0), ("lcm", 0.9))}),
        ("a cat --draft --lora lcm:0.5, l1", {"loras": (("lcm", 0.5), ("l1", 1.0))}),
        ("a cat --draft --lora ink", {"prompt": "a cat, in ink"}),
    ],
)
def test_what_a_person_says_counts_in_a_draft_too(prompt: str, wanted: dict[str, Any]) -> None:
    request = drafted(prompt).request
    assert request.draft
    assert {name: getattr(request, name) for name in wanted} == wanted


def test_the_number_of_a_draft_is_not_a_persons_usual_number() -> None:
    mine = Defaults(Source.MINE, images=2, model="fewer")
    resolved = drafted("a cat --draft", mine)
    assert (resolved.request.num_images_per_prompt, resolved.request.model) == (4, "fewer")
    assert resolved.origins["images"] is Source.MODEL
    assert drafted("a cat", mine).request.num_images_per_prompt == 2
    assert drafted("a cat --draft --model usual", mine).request.num_images_per_prompt == 2


def test_a_model_without_a_preset_paints_as_usual_and_a_note_says_so() -> None:
    resolved = drafted("a cat --draft --model usual --seed 7")
    assert resolved.request == drafted("a cat --model usual --seed 7").request
    assert not resolved.request.draft
    assert resolved.notes == ("the model usual has no preset for drafts, so it paints as usual",)


def test_the_lora_of_a_preset_counts_among_the_most_loras() -> None:
    with pytest.raises(UserError, match=r"5 LoRAs are too many: up to 4 .* One of them is lcm, for drafts"):
        drafted("a cat --draft --lora l0, l1, l2, l3")


DRAFTS = [
    "a cat --draft",
    "a cat --draft --images 2 --no dogs --ar 3:2 --steps 9 --sampler euler",
    "a cat --draft --lora ink:0.5",
    "a cat --draft --lora lcm:0.5, l1",
    "a cat --draft --model fewer",
]


@pytest.mark.parametrize("typed", DRAFTS)
@pytest.mark.parametrize("image", [None, Upload(b"", 64, 48, "a" * 64)])
def test_the_options_of_a_draft_give_the_same_draft(typed: str, image: Upload | None) -> None:
    first = drafted(typed, image=image)
    assert first.request.draft
    second = resolve(edits.options_of(first.request), MODELS, SAMPLERS)
    assert (second.request, second.notes) == (first.request, ())
    again = resolve(edits.again(first.request), MODELS, SAMPLERS).request
    assert again.seed != first.request.seed
    assert replace(again, seed=first.request.seed) == first.request


@pytest.mark.parametrize("typed", DRAFTS)
@pytest.mark.parametrize("image", [None, Upload(b"", 64, 48, "a" * 64)])
def test_finishing_is_the_request_without_the_preset(typed: str, image: Upload | None) -> None:
    draft = drafted(f"{typed} --seed 7", image=image).request
    model = next(model for model in MODELS if model.name == draft.model)
    picture = Picture(PictureRef(JobId(3), 2), draft.seeds[1], 64, 64, "b" * 64)
    options = edits.finish(draft, picture, model)
    assert options.edit is not None
    assert options.edit.sources == (picture.ref,)
    resolved = resolve(options, MODELS, SAMPLERS)
    assert resolved.notes == ()
    assert resolved.request == replace(
        draft,
        draft=False,
        num_images_per_prompt=1,
        seed=8,
        num_inference_steps=model.steps,
        guidance_scale=model.guidance_scale,
        loras=tuple(lora for lora in draft.loras if lora[0] != "lcm"),
    )


def test_a_prompt_of_a_form_may_ask_for_a_draft() -> None:
    request = drafted("a cat --images 2 --model fewer").request
    picture = Picture(PictureRef(JobId(3), 1), request.seed, 64, 64, "b" * 64)
    options = edits.reworded(edits.remix(request, picture, "a dog --draft", ""))
    made = resolve(options, MODELS, SAMPLERS).request
    assert (made.draft, made.num_inference_steps, made.num_images_per_prompt) == (True, 6, 4)
    options = edits.reworded(edits.remix(request, picture, "a dog --draft --steps 9 --images 1", ""))
    made = resolve(options, MODELS, SAMPLERS).request
    assert (made.prompt, made.num_inference_steps, made.num_images_per_prompt) == ("a dog", 9, 1)
    assert made.image == picture.sha256


def test_a_request_that_was_stored_before_there_were_drafts_is_none() -> None:
    request = drafted("a cat --draft").request
    stored = json.loads(json.dumps(asdict(request)))
    assert GenerationRequest.from_fields(stored) == request
    del stored["draft"]
    assert not GenerationRequest.from_fields(stored).draft


def test_the_prompt_to_copy_of_what_moves_is_its_command_with_what_no_flag_says() -> None:
    still = usual_request(EMBEDDED_MODEL)
    flags = edits.typed(still, 3)
    assert flags.startswith("a picture --size ")
    morph = replace(still, operation=Operation.MORPH, frames=8, end_prompt="a dog", end_seed=9)
    assert edits.typed(morph, 3) == f"/animate prompt:{flags} to:a dog frames:8 to_seed:9"
    seeds = replace(morph, end_prompt="")
    assert edits.typed(seeds, 3) == f"/animate prompt:{flags} frames:8 to_seed:9"
    assert edits.typed(replace(still, operation=Operation.FILM, frames=25), 3) == f"/film prompt:{flags} frames:25"


def test_what_is_made_of_an_animation_says_that_its_first_frame_counts() -> None:
    moving = replace(usual_request(EMBEDDED_MODEL), operation=Operation.MORPH, frames=8, end_seed=9)
    picture = Picture(PictureRef(JobId(1), 1), 3, 128, 128, "a" * 64)
    to = Variant("blue", "an apple on a blue background", Operation.INPAINT, 1.0, Kept.THING)
    for options in (
        edits.vary(moving, picture, 0.5),
        edits.repaint(moving, picture, [0], "a hat"),
        edits.extend(moving, picture, (0.5, 0.0, 0.0, 0.0), EMBEDDED_MODEL),
        edits.variant(moving, picture, to),
    ):
        resolved = resolve(options, (EMBEDDED_MODEL,), ("default",))
        assert "the picture is an animation, so only its first frame counts" in resolved.notes
        assert (resolved.request.frames, resolved.request.operation.is_film) == (0, False)
    still = edits.vary(usual_request(EMBEDDED_MODEL), picture, 0.5)
    assert resolve(still, (EMBEDDED_MODEL,), ("default",)).notes == ()
