"""The hard block: a corpus of evasions that it catches, a corpus of innocent prompts that it spares, and its limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.prompt_safety import block
from bot.prompt_safety.block import Blocked, objection
from bot.requests.wording import clean
from tests.bot.prompt_safety.evasions import CATEGORIES, PHRASES, corpus

INNOCENT = [
    line
    for line in (Path(__file__).parent / "innocent.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_of_200_evasions_at_least_99_in_100_are_caught() -> None:
    evasions = [text for texts in corpus().values() for text in texts]
    missed = [text for text in evasions if objection(text) is None]
    assert len(evasions) >= 200
    assert len(missed) <= len(evasions) / 100, missed


@pytest.mark.parametrize("category", corpus())
def test_each_category_of_evasions_is_caught_also_after_the_prompt_was_cleaned(category: str) -> None:
    """Admission cleans a prompt before it is checked: double blanks and invisible characters are gone then."""
    texts = corpus()[category]
    missed = [text for text in texts if objection(text) is None or objection(clean(text)) is None]
    assert missed == []


def test_of_300_innocent_prompts_none_is_blocked() -> None:
    assert len(set(INNOCENT)) >= 300
    assert [text for text in INNOCENT if objection(text)] == []


def test_an_innocent_prompt_is_also_innocent_as_a_negative_prompt_and_beside_another() -> None:
    assert [text for text in INNOCENT if objection("a cat", text)] == []
    assert [text for text in INNOCENT if objection(text, "blurry, text, watermark")] == []


WHOLE = [name for name in CATEGORIES if not name.startswith("split") and name not in ("asterisks", "weights")]
"""The categories that leave no part of a word standing as a word of its own."""


@pytest.mark.parametrize("category", WHOLE)
@pytest.mark.parametrize("word", ["cockatoo", "sussex", "peacock", "scunthorpe", "public", "class", "essex"])
def test_no_way_of_spelling_makes_an_innocent_word_a_term(category: str, word: str) -> None:
    assert objection(f"{CATEGORIES[category](word)} and children") is None


@pytest.mark.parametrize(
    ("negative", "blocked"),
    [
        ("nsfw, nude, child", None),
        ("nude, ugly, deformed, loli", None),
        ("a nude child", Blocked.MINOR),
        ("ugly, naked toddler, text", Blocked.MINOR),
        ("Emma Watson nude", Blocked.PERSON),
    ],
)
def test_in_a_negative_prompt_only_words_of_one_part_count_together(negative: str, blocked: Blocked | None) -> None:
    assert objection("a portrait of a woman", negative) is blocked


def test_a_sexual_prompt_may_not_leave_out_that_people_are_adult() -> None:
    assert objection("a nude woman", "blurry, text") is None
    assert objection("a nude woman", "adult, mature woman") is Blocked.MINOR
    assert objection("a woman in a garden", "adult, mature woman") is None


@pytest.mark.parametrize(
    ("prompt", "blocked"),
    [
        ("a nude by Amedeo Modigliani", None),
        ("nude woman with a necklace, Pablo Picasso", None),
        ("Lucian Freud's nude paintings", None),
        ("nude photographed by Edward Weston", None),
        ("a nude painted by Laura Hansen", None),
        ("a nude of Laura Hansen", Blocked.PERSON),
        ("Laura Hansen in a garden. A nude statue stands behind a wall", None),
        ("Laura Hansen in a garden", None),
        ("Venus de Milo, naked torso", None),
        ("naked Rose Garden in winter", None),
    ],
)
def test_a_name_near_nudity_is_blocked_unless_it_is_the_maker(prompt: str, blocked: Blocked | None) -> None:
    assert objection(prompt) is blocked


@pytest.mark.parametrize(
    ("prompt", "blocked"),
    [
        ("nude, 17 years old", Blocked.MINOR),
        ("nude, 18 years old", None),
        ("nude, 117 years old", None),
        ("nude, age 30", None),
        ("nude, aged seventeen", Blocked.MINOR),
        ("nude, aged nineteen", None),
        ("a nude from 15 years ago", None),
        ("nude, 1.5 m tall, 35 years old", None),
    ],
)
def test_an_age_below_18_counts_as_a_word_for_minors(prompt: str, blocked: Blocked | None) -> None:
    assert objection(prompt) is blocked


def test_the_sentence_of_a_refusal_names_no_word_of_the_lists() -> None:
    for blocked in Blocked:
        assert objection(blocked.value) is None or "children" not in blocked.value
        assert not any(phrase in blocked.value for phrase in PHRASES)


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_makes_it_fail(prompt: str, negative: str) -> None:
    objection(prompt, negative)


@given(st.text(alphabet=" -*.()abceinud1@!\u200b\u0301пｎ幼", max_size=120), st.sampled_from(PHRASES))
def test_what_stands_around_a_phrase_does_not_hide_it(around: str, phrase: str) -> None:
    assert objection(f"{around} , {phrase} , {around}") is Blocked.MINOR


LONGEST = [
    "A majestic oil painting of a raccoon Queen wearing a red French royal gown, near John Smith in 1920. " * 60,
    "nüde ｎ\u200b " * 1000,
    "a b c d " * 1500,
    "te en " * 1000,
    "l" * 6000,
    "John Smith nude eye " * 300,
    "n*de " * 1200,
    "(" * 6000,
    "naked eye " * 600,
    "幼" * 6000,
    "(child:1.0) " * 600,
    "nude. John Smith a " * 320,
    "\U0001f1e6" * 6000,
    "a\u0301" * 3000,
]


@pytest.mark.parametrize("text", LONGEST, ids=lambda text: ascii(text[:12]))
def test_6000_characters_take_10_ms_of_the_processor(text: str) -> None:
    block.load()
    seconds = []
    for _ in range(5):
        began = time.process_time()
        objection(text[:6000])
        seconds.append(time.process_time() - began)
    # benchmarks/prompt_safety.py measures it; here a busy machine has room.
    assert min(seconds) < 0.03
