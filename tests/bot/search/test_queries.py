"""What people type into a search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import UserError
from bot.search.queries import FILTER_NAMES, MOST_CHARACTERS, Condition, Query, folded, like, parse
from tests.bot.storage.conftest import ADA, NOON


def parsed(typed: str) -> Query:
    return parse(typed, me=ADA, now=NOON)


def test_words_phrases_beginnings_and_words_to_leave_out() -> None:
    query = parsed('Crème "old castle" cast* -blurry -"low quality" (fog:1.2)')
    assert query.terms == ("creme", "cast*", "fog", "1", "2")
    assert query.phrases == ("old castle",)
    assert query.without == ("blurry", "low quality")
    assert query.text == "Crème old castle cast (fog:1.2)"


@pytest.mark.parametrize(
    ("typed", "condition"),
    [
        ("by:me", Condition("user_id", "=", ADA)),
        ("by:<@!123>", Condition("user_id", "=", 123)),
        ("-by:<@123>", Condition("user_id", "=", 123, is_not=True)),
        ("in:<#77>", Condition("channel_id", "=", 77)),
        ("model:SDXL", Condition("model", "=", "sdxl")),
        ('tag:"Old  Castle"', Condition("tag", "=", "old castle")),
        ("rated:3", Condition("likes", ">=", 3)),
        ("rated:<2", Condition("likes", "<", 2)),
        ("rated:50%", Condition("score", ">=", 0.5)),
        ("before:2026-05-01", Condition("asked_at", "<", "2026-05-01T00:00:00.000000+00:00")),
        ("after:7d", Condition("asked_at", ">=", "2026-04-24T12:00:00.000000+00:00")),
        ("size:1024X768", Condition("size", "=", "1024x768")),
        ("size:>=1024", Condition("longest", ">=", 1024)),
        ("SIZE:portrait", Condition("shape", "=", "portrait")),
        ("seed:7", Condition("seed", "=", 7)),
    ],
)
def test_filters(typed: str, condition: Condition) -> None:
    assert parsed(typed).conditions == (condition,)


def test_an_unknown_filter_is_named_with_what_exists() -> None:
    with pytest.raises(UserError) as caught:
        parsed("a cat colour:red")
    assert "`colour:`" in str(caught.value)
    assert all(f"`{name}:`" in str(caught.value) for name in FILTER_NAMES)
    assert parsed('"colour:red"').phrases == ("colour:red",)
    assert parsed("https://example.org/a 16:9").conditions == ()


@pytest.mark.parametrize(
    "typed",
    ["by:somebody", "before:yesterday", "before:99999y", "rated:many", "rated:101%", "size:big", "seed:-1", "seed:x"],
)
def test_a_wrong_value_is_answered_with_an_example(typed: str) -> None:
    with pytest.raises(UserError, match="Write it like `"):
        parsed(typed)


@pytest.mark.parametrize("typed", ["", "   ", "AND OR NOT", '* ( ) " ^ - + : NEAR', '""', "-", "🙂", "-cat", "\0"])
def test_nothing_to_look_for_is_said(typed: str) -> None:
    with pytest.raises(UserError, match="no words to look for"):
        parsed(typed)


@given(st.text(max_size=200) | st.text("\"'():*-^+{}AND OR NEAR/ab\0🙂", max_size=100))
def test_any_text_is_a_query_or_a_sentence(typed: str) -> None:
    try:
        query = parsed(typed)
    except UserError as error:
        said = str(error)
        assert said[-1] in ".`"
    else:
        assert query.has_words or query.conditions
    assert like(typed).terms == tuple(dict.fromkeys(like(typed).terms))


def test_a_long_query_is_read_to_its_end() -> None:
    query = parsed("cat " * 999 + "dog")
    assert query.terms == ("cat", "dog")
    assert len(parsed("a" * 5000).text) <= MOST_CHARACTERS


def test_accents_go_and_letters_of_other_scripts_stay() -> None:
    assert folded("ÉCLAIR Ёлка") == "eclair елка"
    assert folded("がぎ 한국 straße") == "がぎ 한국 strasse"
