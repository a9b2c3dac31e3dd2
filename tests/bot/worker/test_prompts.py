"""Prompts as embeddings: plain ones to the bit as the pipeline has them, weights and length by compel, and a memory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.errors import PaintFailed
from bot.worker import prompts as module
from bot.worker.prompts import Prompts
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.test_batching import distance

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LONG = "one red cat, two old ships, 33 robots in a row. a blue apple on a table"


@pytest.fixture(scope="module", params=["sd", "sdxl", "sdxl zeros"])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    make = tiny_pipelines.stable_diffusion if request.param == "sd" else tiny_pipelines.stable_diffusion_xl
    pipeline = make(tmp_path_factory.mktemp("tokenizer"), torch.float64)
    if request.param != "sd":
        pipeline.register_to_config(force_zeros_for_empty_prompt=request.param == "sdxl zeros")
    return pipeline


@pytest.fixture
def prompts(pipeline: Any) -> Prompts:
    return Prompts(pipeline, lambda _adapters: nullcontext())


def own(pipeline: Any, prompt: str, negative: str) -> list[torch.Tensor]:
    """What the pipeline computes for itself."""
    with torch.no_grad():
        return list(
            pipeline.encode_prompt(
                prompt,
                device="cpu",
                num_images_per_prompt=1,
                do_classifier_free_guidance=True,
                negative_prompt=negative or None,
            )
        )


@pytest.mark.parametrize("prompt", ["red cat", "", "a, b. c", "it is 7.5 - 3"])
@pytest.mark.parametrize("negative", ["", "ugly"])
def test_plain_prompts_are_what_the_pipeline_computes_to_the_bit(
    pipeline: Any, prompts: Prompts, prompt: str, negative: str
) -> None:
    found = list(prompts.arguments(prompt, negative, ()).values())
    expected = own(pipeline, prompt, negative)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_weights_move_an_embedding_and_heavier_ones_more(prompts: Prompts) -> None:
    plain, more, most, less = (
        prompts.arguments(text, "", ())["prompt_embeds"]
        for text in ("red cat", "red (cat)1.3", "red (cat)1.8", "red (cat)0.5")
    )
    assert plain.shape == more.shape
    assert 0 < distance(plain, more) < distance(plain, most)
    assert distance(plain, less) > 0


def test_a_long_prompt_is_read_to_its_end_and_both_texts_get_one_length(prompts: Prompts) -> None:
    arguments = prompts.arguments(LONG, "ugly", ())
    other = prompts.arguments(LONG.replace("table", "chair"), "ugly", ())
    embeds, negative = arguments["prompt_embeds"], arguments["negative_prompt_embeds"]
    assert embeds.shape == negative.shape
    assert embeds.shape[1] > 16
    assert embeds.shape[1] % 16 == 0
    assert distance(embeds, other["prompt_embeds"]) > 0, "the last word counts"
    short = prompts.arguments("red cat", LONG, ())
    assert short["prompt_embeds"].shape == short["negative_prompt_embeds"].shape


def test_what_was_encoded_is_remembered_and_the_oldest_forgotten(
    pipeline: Any, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    handle = pipeline.text_encoder.register_forward_pre_hook(lambda *_: encoded.append(1))
    monkeypatch.setattr(module, "ROOM", 3)
    try:
        for text in ("a", "b", "a", "b"):
            prompts.arguments(text, "ugly", ())
        assert len(encoded) == 3, "a, ugly, b"
        prompts.arguments("a", "ugly", (("ink", 1.0),))
        assert len(encoded) == 5, "another LoRA reads another text"
        prompts.arguments("a", "ugly", ())
        assert len(encoded) == 7, "they had to go"
    finally:
        handle.remove()


@pytest.mark.parametrize("text", ['("a", "b").blend(1, x)', f'("{LONG}", "b").blend(1)'])
def test_weights_that_cannot_be_applied_are_refused_in_words(prompts: Prompts, text: str) -> None:
    with pytest.raises(PaintFailed, match="The weights in this prompt cannot be applied"):
        prompts.arguments(text, "", ())


@pytest.mark.parametrize(
    "text", ["(((", ")", "+++", '"', "a.blend(", "(a)x", "\\", ".and()", "a - b -- c", "a cat.swap(dog)"]
)
def test_no_text_is_too_odd_to_be_encoded(prompts: Prompts, text: str) -> None:
    assert prompts.arguments(text, "", ())["prompt_embeds"].isfinite().all()


def test_pipelines_that_compel_does_not_know_get_their_texts(tmp_path: Path) -> None:
    prompts = Prompts(tiny_pipelines.flux(torch.float32), lambda _adapters: nullcontext())
    assert prompts.arguments("a (cat)1.3", "b", ()) == {"prompt": "a (cat)1.3", "negative_prompt": "b"}
