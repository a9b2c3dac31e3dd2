"""How a text becomes panels."""

from __future__ import annotations

import pytest

from bot.errors import UserError
from bot.requests.storyboards import panels_of, prompt_of


@pytest.mark.parametrize(
    ("text", "panels"),
    [
        ("a fox\na dog", ("a fox", "a dog")),
        ("\n a  fox \n\n a dog\nin snow \n \n\n an owl", ("a fox", "a dog in snow", "an owl")),
        ("\n".join("abcdefgh"), tuple("abcdefgh")),
    ],
)
def test_lines_are_panels_unless_blank_lines_part_them(text: str, panels: tuple[str, ...]) -> None:
    assert panels_of(text) == panels


@pytest.mark.parametrize(
    ("text", "words"), [("a fox", "has 1 panel"), ("\n".join("abcdefghi"), "has 9 panels"), ("", "0")]
)
def test_too_few_and_too_many_get_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        panels_of(text)


def test_a_look_follows_the_words() -> None:
    assert prompt_of("a fox", " ink \n") == "a fox, ink"
    assert prompt_of("a fox", "--ar 4:3") == "a fox --ar 4:3"
    assert prompt_of("a fox", "") == "a fox"
