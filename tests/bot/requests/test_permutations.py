"""Prompts with choices: their count is known before, and they are what a slow reference makes of the same grammar."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import UserError
from bot.requests.permutations import DEEPEST, LONGEST, Pattern, Wildcards, read
from tests.bot.requests.pasted_prompts import PROMPTS

IMAGES = 4


def texts(text: str) -> list[str]:
    return [variant.text for variant in read(text, IMAGES)]


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("{red, green, blue} apple", ["red apple", "green apple", "blue apple"]),
        ("a {a, b} {c, d}", ["a a c", "a a d", "a b c", "a b d"]),
        ("{a {b, c}, d} e", ["a b e", "a c e", "d e"]),
        ("{{a, b}, c}", ["a", "b", "c"]),
        ("x {, very} red", ["x  red", "x very red"]),
        ("x --ar {1:1, 16:9}", ["x --ar 1:1", "x --ar 16:9"]),
        ("x --seed {1,2,3}", ["x --seed 1", "x --seed 2", "x --seed 3"]),
        ("{masterpiece}, (word:1.2), {{detailed}}", ["{masterpiece}, (word:1.2), {{detailed}}"]),
        ("{a {b, c} d} e", ["{a b d} e", "{a c d} e"]),
        (r"\{a, b\} c", ["{a, b} c"]),
        (r"{a\, b} c", ["{a, b} c"]),
        (r"{a\, b, c\}}", ["a, b", "c}"]),
        (r"a\,b \(c\) \\{d, e}", [r"a\,b \(c\) \{d, e}"]),
        ("}a{ b", ["}a{ b"]),
        (":{ sad {a, b}", [":{ sad a", ":{ sad b"]),
    ],
)
def test_what_a_text_stands_for(text: str, prompts: list[str]) -> None:
    assert texts(text) == prompts


def test_the_values_are_what_was_chosen_with_the_flag_that_they_belong_to() -> None:
    pattern = read("a {red, {dark, light} blue} fox --ar {1:1, 16:9}", IMAGES)
    assert [variant.values for variant in pattern] == [
        (colour, f"ar {shape}") for colour in ("red", "dark blue", "light blue") for shape in ("1:1", "16:9")
    ]
    assert read("{, very} red", IMAGES)[0].values == ("nothing",)


def test_a_repeat_makes_copies_of_each_prompt_and_is_left_to_one_request_where_that_can_do_it() -> None:
    assert [(v.text, v.copy) for v in read("{a, b} c --repeat 2", IMAGES)] == [
        ("a c ", 0),
        ("a c ", 1),
        ("b c ", 0),
        ("b c ", 1),
    ]
    assert texts("a fox --repeat 3") == ["a fox --repeat 3"]
    assert read("a fox --repeat 9 --ar 1:1", IMAGES).count == 9
    assert read("a fox --repeat 9 --ar 1:1", IMAGES)[8].text == "a fox  --ar 1:1"
    assert texts("a fox --repeat 1") == ["a fox --repeat 1"]
    assert read("{a, b} --repeat {1, 2}", IMAGES).count == 4, "a repeat among the choices is left to each request"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {red, green apple", "The brace at “{red, green apple” is not closed"),
        ("{a, {b, c} d", "is not closed"),
        ("{a," * (DEEPEST + 1) + "b" + "}" * (DEEPEST + 1), f"nested {DEEPEST} deep"),
        ("x" * (LONGEST + 1), "6,000 characters"),
    ],
)
def test_what_cannot_be_read_gets_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        read(text, IMAGES)


def test_the_count_of_a_huge_set_is_known_at_once_and_its_last_prompt_too() -> None:
    began = time.perf_counter()
    pattern = read("{a,b}" * (LONGEST // 5), IMAGES)
    assert pattern.count == 2 ** (LONGEST // 5)
    assert pattern[0].text == "a" * (LONGEST // 5)
    assert pattern[pattern.count - 1].text == "b" * (LONGEST // 5)
    assert next(iter(pattern)).text == pattern[0].text
    assert time.perf_counter() - began < 2
    with pytest.raises(IndexError):
        pattern[pattern.count]


@pytest.mark.parametrize("text", ["{" * LONGEST, "}" * LONGEST, "{}" * (LONGEST // 2), "{" * 3000 + "}" * 3000])
def test_enormous_braces_take_no_time_and_stay_as_they_are(text: str) -> None:
    began = time.perf_counter()
    assert texts(text) == [text]
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "pasted", [each for each in PROMPTS if "{" not in each.typed], ids=lambda each: each.typed[:40]
)
def test_pasted_prompts_without_braces_are_not_changed(pasted: Any) -> None:
    assert texts(pasted.typed) == [pasted.typed]


@given(st.text(st.characters(exclude_characters="{}"), max_size=200))
def test_a_text_without_braces_is_never_changed(text: str) -> None:
    assert [variant.text for variant in read(text, LONGEST**2)] == [text]


WORDS = st.sampled_from(["red", "a fox", " ", "--ar 1:1", "(x:1.2)", "{word}", r"\{", r"\}", "é", "__animal__", ""])
GRAMMARS = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("all", parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("one", parts)),
    ),
    max_leaves=8,
)


def written(grammar: Any) -> str:
    if isinstance(grammar, str):
        return grammar
    kind, parts = grammar
    inner = [written(part) for part in parts]
    return "".join(inner) if kind == "all" else "{" + ", ".join(inner) + "}"


def reference(grammar: Any) -> list[str]:
    """Everything that a grammar stands for, made in full."""
    if isinstance(grammar, str):
        return [grammar.replace(r"\{", "{").replace(r"\}", "}")]
    kind, parts = grammar
    if kind == "all":
        return ["".join(each) for each in itertools.product(*map(reference, parts))]
    # Blanks at both ends of an alternative belong to the way it is written, at every level.
    return [text.strip(" ") for part in parts for text in reference(part)]


def shape(text: str) -> str:
    return text.replace(" ", "")


@given(GRAMMARS)
def test_the_expansion_of_random_grammars_equals_a_slow_reference(grammar: Any) -> None:
    text = written(grammar)
    pattern = read(text, IMAGES)
    expected = reference(grammar)
    assert pattern.count == len(expected), "known before anything is expanded"
    assert [shape(variant.text) for variant in pattern] == list(map(shape, expected))
    assert [pattern[number].text for number in range(pattern.count)] == [variant.text for variant in pattern]


LISTS = {"animal": ("cat", "dog", "fox"), "scene": ("a __animal__ in __place__",), "place": ("snow",)}


def test_a_wildcard_draws_every_entry_before_it_draws_one_again() -> None:
    wildcards = Wildcards(LISTS, random.Random(7))
    drawn = [wildcards.drawn("a red __animal__, (__Animal__:1.2)") for _ in range(3)]
    assert sorted(value for _, values in drawn for value in values) == sorted(LISTS["animal"] * 2)
    text, values = drawn[0]
    assert text == f"a red {values[0]}, ({values[1]}:1.2)"


def test_entries_may_name_other_lists_and_what_is_no_list_stays() -> None:
    wildcards = Wildcards(LISTS, random.Random(7))
    text, values = wildcards.drawn("__scene__, __bold__")
    assert values == ("a __animal__ in __place__",)
    assert text in {f"a {animal} in snow, __bold__" for animal in LISTS["animal"]}
    assert Wildcards({}, random.Random(7)).drawn("__animal__") == ("__animal__", ())


@pytest.mark.parametrize(
    ("lists", "text", "words"),
    [
        ({"a": ("__a__",)}, "__a__", "{wildcard a} contains itself: a → a"),
        ({"a": ("x", "__b__"), "b": ("__a__",)}, "a __b__", "{wildcard b} contains itself: b → a → b"),
        ({"aaa": ("__bbb__",), "bbb": ("__ccc__ x",), "ccc": ("__bbb__",)}, "__aaa__", "bbb → ccc → bbb"),
        (LISTS, "__animel__", "no wildcard {wildcard animel}. Did you mean {wildcard animal}"),
        ({f"n{i}": (f"__n{i + 1}__" * 2,) for i in range(30)} | {"n30": ("x",)}, "__n0__", "more than 100 entries"),
    ],
)
def test_a_wildcard_that_cannot_be_drawn_gets_one_sentence(lists: Any, text: str, words: str) -> None:
    began = time.perf_counter()
    with pytest.raises(UserError, match=words):
        Wildcards(lists, random.Random(7)).drawn(text)
    assert time.perf_counter() - began < 1


def test_an_empty_pattern_is_one_prompt() -> None:
    assert read("", IMAGES) == Pattern(())
    assert texts("") == [""]
