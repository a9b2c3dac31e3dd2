"""What a small model says about words it never learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of
from bot.errors import ConfigError
from bot.requests.vocabulary import FILE, Vocabulary

SMALL = Vocabulary(frozenset({"a", "on", "and", "apple", "fox", "red", "🍎", "❤"}), {"wolf": "fox", "crimson": "red"})


@pytest.mark.parametrize(
    ("prompt", "notes"),
    [
        ("a red apple", ()),
        ("A RED, apple!", ()),
        ("🍎 and ❤️", ()),
        ("a wolf", ("I don't know “wolf”; the nearest I know is “fox”",)),
        ("a zeppelin on a wolf", ("I don't know “wolf”; the nearest I know is “fox”", "I don't know “zeppelin”")),
        ("猫", ("I don't know “猫”",)),
        ("🐊", ("I don't know “🐊”",)),
        ("lorem ipsum dolor sit amet", ("I don't know “lorem”, “ipsum”, “dolor”, “sit” and more",)),
        ("fog fog fog", ("I don't know “fog”",)),
        ("x" * 900, (f"I don't know “{'x' * 30}”",)),
        ("123 … --- ", ()),
        ("", ()),
    ],
)
def test_unknown_words_are_named(prompt: str, notes: tuple[str, ...]) -> None:
    assert SMALL.notes(prompt) == notes


def test_the_model_in_the_box_brings_its_words() -> None:
    vocabulary = Vocabulary.read(Path(folder_of(EMBEDDED_MODEL)))
    assert vocabulary is not None
    assert vocabulary.notes("two red apples on a blue background and a 🦊 in the snow") == ()
    assert vocabulary.notes("a zeppelin") != ()


def test_a_folder_without_the_file_knows_no_limits(tmp_path: Path) -> None:
    assert Vocabulary.read(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"known": []}), "\udcff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"vocabulary\.json is damaged"):
        Vocabulary.read(tmp_path)
