"""Prompts as embeddings: plain ones to the bit as the pipeline has them, weights as compel has them, and a memory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from compel import CompelForSD, CompelForSDXL
from transformers import CLIPTokenizer

from bot.config import EMBEDDED_MODEL, PROMPT_LIMIT
from bot.engine import weights
from bot.engine.catalog import folder_of
from bot.errors import PaintFailed
from bot.worker import prompts as module
from bot.worker.prompts import Prompts
from bot.worker.weighting import tokenize
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.batches import distance

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
    monkeypatch.setattr(module, "REMEMBERED", 3)
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


def by_compel(pipeline: Any, prompt: str) -> torch.Tensor:
    kind = CompelForSDXL if hasattr(pipeline, "text_encoder_2") else CompelForSD
    embeds: torch.Tensor = kind(pipeline)(prompt).embeds
    return embeds


@pytest.mark.parametrize(
    ("written", "for_compel"),
    [
        ("red (cat)1.3", "red (cat)1.3"),
        ("red (cat:1.3)", "red (cat)1.3"),
        ("(a red:1.5) cat", "(a red)1.5 cat"),
        ("red (cat)", "red (cat)1.1"),
        ("red ((cat))", "red (cat)1.21"),
        ("red cat++", "red cat++"),
        ("red cat-- in a row", "red cat-- in a row"),
        ("(red cat)+ in a (row)---", "(red cat)+ in a (row)---"),
        ("(red cat:0.5)", "(red cat)0.5"),
        ("(red:0) cat", "(red)0 cat"),
        ("red [cat]", "red (cat)0.9090909090909091"),
        ("(red (cat)1.5 in)1.2 a row", "(red (cat)1.5 in)1.2 a row"),
        ("(one:0.4) red (cat:0.6), two (old:1.4) [ships]", "(one)0.4 red (cat)0.6, two (old)1.4 (ships)0.90909090909"),
        (f"{LONG} ((apple))", f"{LONG} (apple)1.21"),
        (
            f"(one red cat, two:0.5) old ships, {LONG}, (robots:1.3)",
            f"(one red cat, two)0.5 old ships, {LONG}, (robots)1.3",
        ),
        (f"a ({LONG}:0.7) row", f"a ({LONG})0.7 row"),
        (f"(ships)1.3 {LONG} {LONG}", f"(ships)1.3 {LONG} {LONG}"),
    ],
)
def test_weights_give_the_embeddings_that_compel_gives(
    pipeline: Any, prompts: Prompts, written: str, for_compel: str
) -> None:
    found = prompts.arguments(written, "", ())["prompt_embeds"]
    expected = by_compel(pipeline, for_compel)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_long_prompt_without_weights_gives_the_embeddings_that_compel_gives(pipeline: Any, prompts: Prompts) -> None:
    for text in (LONG, f"{LONG} {LONG}", "red " * 40, "red, " * 40):
        found = prompts.arguments(text, "", ())["prompt_embeds"]
        assert torch.allclose(found, by_compel(pipeline, text), rtol=1e-6, atol=1e-6)


def test_the_pooled_embedding_is_that_of_the_words_without_their_marks(pipeline: Any, prompts: Prompts) -> None:
    weighted, plain = (prompts.arguments(text, "", ()) for text in ("(red:1.3) cat", "red cat"))
    assert weighted.keys() == plain.keys()
    for name in weighted.keys() & {"pooled_prompt_embeds"}:
        assert torch.allclose(weighted[name], plain[name])


def test_escaped_marks_are_the_characters_themselves(pipeline: Any, prompts: Prompts) -> None:
    found = prompts.arguments(r"red \(cat\)", "ugly", ())["prompt_embeds"]
    assert torch.equal(found, own(pipeline, "red (cat)", "ugly")[0])


@pytest.mark.parametrize(
    "text", ["(" * 3000 + "cat" + ")" * 3000, "[(" * 300 + "cat", "(cat:1e9)", "[cat] (a:0.5) " * 40]
)
def test_no_depth_and_no_weight_gives_anything_but_numbers(prompts: Prompts, text: str) -> None:
    assert prompts.arguments(text, "", ())["prompt_embeds"].isfinite().all()


def test_forms_of_other_programs_are_encoded_as_words(prompts: Prompts) -> None:
    for text in ('("a", "b").blend(1, x)', f'("{LONG}", "b").and()', "a BREAK b", "[a|b] [a:b:0.5] <lora:x:0.8>"):
        assert prompts.arguments(text, "", ())["prompt_embeds"].isfinite().all()


@pytest.mark.parametrize("written", ["猫", "雪の中の赤い狐、油絵。", "рыжая лиса, ", "🦊", "𓀀", "a.b ", "(猫:0.5)、"])
def test_a_prompt_as_long_as_the_limit_is_read_in_every_script(written: str) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(f"{folder_of(EMBEDDED_MODEL)}/tokenizer")
    text = (written * PROMPT_LIMIT)[:PROMPT_LIMIT]
    assert 1 < tokenize(tokenizer, weights.read(text).parts).chunks <= module.MOST_CHUNKS


def test_a_text_of_too_many_tokens_is_refused_in_words(prompts: Prompts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHUNKS", 2)
    with pytest.raises(PaintFailed, match="The prompt is too long for this model"):
        prompts.arguments("red cat " * 40, "", ())


def test_parts_below_one_cost_a_bounded_number_of_rows_of_the_encoder(pipeline: Any, prompts: Prompts) -> None:
    rows: list[int] = []
    handle = pipeline.text_encoder.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    try:
        text = " ".join(f"(cat:0.{number % 9 + 1}) red" for number in range(100))
        chunks = prompts.read(text).tokens[0].chunks
        prompts.arguments(text, text, ())
    finally:
        handle.remove()
    assert weights.MOST_WEAK_PARTS < sum(rows) <= 1 + 2 * chunks + weights.MOST_WEAK_PARTS
    assert max(rows) <= 16


@pytest.mark.parametrize(
    "text", ["(((", ")", "+++", '"', "a.blend(", "(a)x", "\\", ".and()", "a - b -- c", "a cat.swap(dog)"]
)
def test_no_text_is_too_odd_to_be_encoded(prompts: Prompts, text: str) -> None:
    assert prompts.arguments(text, "", ())["prompt_embeds"].isfinite().all()


def test_pipelines_of_other_kinds_get_their_texts_as_they_were_written(tmp_path: Path) -> None:
    prompts = Prompts(tiny_pipelines.flux(torch.float32), lambda _adapters: nullcontext())
    assert prompts.arguments("a (cat)1.3", "b", ()) == {"prompt": "a (cat)1.3", "negative_prompt": "b"}
