"""A sentence of the house at a terminal: plain words, and nothing that only Discord can show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.terminal import said

BOT = Path(__file__).parents[2] / "bot"
DOORS = {"client.py", "sandbox.py", "doctor.py", "__main__.py", "rights.py", "catalogues.py"}
"""What may speak to Discord, or of it, as the page of rights and translated names of commands do."""
MARKUP = re.compile(r"<@&?\{|<#\{|<t:\{|(?<!\w)`/")


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Up to 3 ({origin host}).", "Up to 3 (this bot's default)."),
        ("Up to 3 ({origin server}).", "Up to 3 (the rule for the server)."),
        ("Paused for {subject channel:7}.", "Paused for channel 7."),
        ("Use {command limits set}.", "Use /limits set."),
        ("Attach it as {option image}.", "Attach it as image."),
        ("“{origin of all}”", "“{origin of all}”"),
    ],
)
def test_what_a_sentence_refers_to_is_said_in_plain_words(sentence: str, words: str) -> None:
    assert said(sentence) == words


def test_discords_markup_is_written_at_its_door_alone() -> None:
    modules = [path for path in BOT.rglob("*.py") if path.name not in DOORS]
    assert len(modules) > 50
    assert [str(path.relative_to(BOT)) for path in modules if MARKUP.search(path.read_text())] == []
