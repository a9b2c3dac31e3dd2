"""How requests speak of what a person typed."""

from __future__ import annotations

import pytest

from bot.errors import Reference, format_references
from bot.requests.wording import quoted, unknown


@pytest.mark.parametrize("typed", ["{subject person:5}", "a {command mod pause} b", "{{time 2026-01-01T00:00:00}}"])
def test_typed_words_never_become_a_reference(typed: str) -> None:
    door = dict.fromkeys(Reference, lambda value: "SAID")
    for sentence in (f"There is no {quoted(typed)}.", unknown("model", typed, ["emoji"])):
        assert "SAID" not in format_references(sentence, door)


def test_long_words_are_cut() -> None:
    assert quoted("x" * 61) == f"“{'x' * 59}…”"
