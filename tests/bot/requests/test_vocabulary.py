"""What a small model says about words it never learned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of
from bot.errors import ConfigError
from bot.requests.vocabulary import FILE, Vocabulary

SMALL = Vocabulary(
    things=frozenset({"apple", "fox", "forest", "king", "🍎", "❤"}),
    ties=frozenset({"a", "an", "the", "of", "on", "and", "in", "with"}),
    ignored=frozenset({"red", "cozy", "watercolor", "portrait"}),
    near={"wolf": ("fox", "dog", "cat"), "cabin": ("house", "castle", "tent"), "singing": ("guitar",)},
)
BOXED = Vocabulary.read(Path(folder_of(EMBEDDED_MODEL)))
assert BOXED is not None


ENGLISH = ("This small model reads only English words; write the prompt in English.",)


def cannot(thing: str, *instead: str) -> tuple[str, ...]:
    return (f"This small model can't draw “{thing}”." + (f" Try: {', '.join(instead)}." if instead else ""),)


@pytest.mark.parametrize(
    ("prompt", "notes"),
    [
        ("a red apple", ()),
        ("A RED, apple!", ()),
        ("🍎 and ❤️", ()),
        ("a king", ()),
        ("a wolf", cannot("wolf", "fox", "dog", "cat")),
        ("a cozy cabin in a forest", cannot("cabin", "house", "castle", "tent")),
        ("portrait of a zeppelin", cannot("zeppelin")),
        ("a stone bridge", cannot("bridge")),
        ("two cabins", cannot("cabins", "house", "castle", "tent")),
        ("a bouquet of apple", ()),
        ("a pile of pieces of apple", ()),
        ("a statue of liberty", cannot("statue")),
        ("a plate of bread and an apple", cannot("plate")),
        ("my friend Bob on a skateboard", ("This small model can't draw “bob” and “skateboard”.",)),
        ("ein Fuchs mit Hut im Wald", ENGLISH),
        ("un apple en la mesa", ENGLISH),
        ("el nino on a fox", cannot("nino")),
        ("猫", ENGLISH),
        ("un fox en la mesa", ENGLISH),
        ("a Les Paul fox", ()),
        ("fox in a pod", cannot("pod")),
        ("chili con apple", ()),
        ("🐊", cannot("🐊")),
        ("lorem ipsum, dolor sit amet", cannot("ipsum")),
        ("fog fog fog", cannot("fog")),
        ("x" * 900, cannot("x" * 30)),
        ("123 … --- ", ()),
        ("", ()),
    ],
)
def test_the_main_thing_is_named_when_it_is_unknown(prompt: str, notes: tuple[str, ...]) -> None:
    assert SMALL.notes(prompt) == notes


@pytest.mark.parametrize(
    "prompt",
    [
        "a gigantic fox",  # a word before a thing belongs to it
        "a fox, 8k, masterpiece",
        "running quickly",  # verbs and adverbs name nothing
        "watercolor, red",
        "singing in the forest",
        "3 apple k",
        "<lora:zeppelin:0.8> a fox",
    ],
)
def test_what_is_no_main_thing_is_never_unknown(prompt: str) -> None:
    assert SMALL.notes(prompt) == ()


def test_the_model_in_the_box_brings_its_words() -> None:
    vocabulary = BOXED
    assert vocabulary.notes("two red apples on a blue background and a 🦊 in the snow") == ()
    assert vocabulary.notes("a zeppelin") != ()


STYLE = "abstract", "anime", "photograph", "surreal", "cyberpunk", "ink", "illustration", "hdr", "macro", "wallpaper"
FUNCTION = "a", "the", "with", "onto", "across", "please", "draw", "create", "why", "seven", "8k", "3", "--", "over"


@pytest.mark.parametrize("word", [*STYLE, *FUNCTION])
def test_neither_a_style_nor_a_function_word_is_a_thing_that_it_cannot_draw(word: str) -> None:
    vocabulary = BOXED
    for prompt in (word, f"{word} a fox", f"a fox, {word}", f"{word} {word} style"):
        assert vocabulary.notes(prompt) == (), prompt


def test_what_it_offers_instead_it_can_draw() -> None:
    vocabulary = BOXED
    offered = {thing for things in vocabulary.near.values() for thing in things}
    assert len(offered) > 100
    assert all(vocabulary.notes(f"a {thing}") == () for thing in offered)


@pytest.mark.parametrize(
    ("prompt", "instead"),
    [
        ("a corgi", ("dog",)),
        ("two corgis", ("dog",)),
        ("a pear", ("peach", "pineapple", "avocado")),
        ("a lizard", ("snake", "crocodile", "turtle")),
        ("a violinist", ("dancer", "singer")),
    ],
)
def test_what_is_offered_instead_is_of_the_same_kind(prompt: str, instead: tuple[str, ...]) -> None:
    assert BOXED.notes(prompt) == cannot(prompt.split()[-1], *instead)


@pytest.mark.parametrize("word", ["caterpillar", "quixotry", "x" * 900])
def test_without_a_good_offer_it_says_what_it_knows(word: str) -> None:
    (note,) = BOXED.notes(f"a {word}")
    count, things = re.search(r"It knows (\d+) things, such as (.+)\.$", note).groups()  # type: ignore[union-attr]
    assert int(count) == len(BOXED.names) > 300
    shown = re.split(", | and ", things)
    assert len(set(shown)) == 3
    assert set(shown) <= set(BOXED.names)
    assert "Try" not in note


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("fox",), "It knows 1 thing: fox."),
        (("fox", "king"), "It knows 2 things, such as king and fox."),
        (("fox", "king", "tree"), "It knows 3 things, such as fox, king and tree."),
    ],
)
def test_a_model_with_few_names_names_each_once(names: tuple[str, ...], words: str) -> None:
    few = Vocabulary(frozenset(names), frozenset(), frozenset(), {}, names)
    assert few.known("a") == words


def test_a_folder_without_the_file_knows_no_limits(tmp_path: Path) -> None:
    assert Vocabulary.read(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", json.dumps({"things": []}), '{"things": [], "ties": [], "ignored": [], "near": []}', "\udcff"]
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"vocabulary\.json is damaged"):
        Vocabulary.read(tmp_path)
