"""Words on sheets: the letters of the languages of Atelier, in lines that fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.worker.lettering import font, lines_of


@pytest.mark.parametrize("letter", "ßäöüéèçœñ¿ãõłźżęąśčЖыΩ—“”…")
def test_the_font_has_the_letters_of_european_languages(letter: str) -> None:
    missing = bytes(font(24).getmask("\ufffe"))
    assert bytes(font(24).getmask(letter)) != missing


@given(st.text(st.sampled_from("aWi ß狐\n"), max_size=80), st.integers(80, 300), st.integers(1, 4))
def test_lines_fit_and_say_the_beginning_of_a_text(text: str, width: int, most: int) -> None:
    lines = lines_of(text, font(18), width, most)
    assert len(lines) <= most
    assert all(font(18).getlength(line) <= width + 1 for line in lines)
    words = "".join(text.split())
    said = "".join("".join(lines).split())
    assert said == words or (said.endswith("…") and words.startswith(said[:-1]))
