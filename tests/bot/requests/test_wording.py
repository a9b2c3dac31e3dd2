"""How requests speak of what a person typed."""

from __future__ import annotations

import pytest

from bot.errors import Reference, format_references, quoted
from bot.requests.wording import clean, errors, nearest, number_of, one_line, unknown


@pytest.mark.parametrize("typed", ["{subject person:5}", "a {command mod pause} b", "{{time 2026-01-01T00:00:00}}"])
def test_typed_words_never_become_a_reference(typed: str) -> None:
    door = dict.fromkeys(Reference, lambda value: "SAID")
    for sentence in (f"There is no {quoted(typed)}.", str(unknown("model", typed, ["emoji"]))):
        assert "SAID" not in format_references(sentence, door)


def test_long_words_are_cut() -> None:
    assert str(quoted("x" * 61)) == f"“{'x' * 59}…”"


WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
PERSIAN = "می\u200cخواهم"


@pytest.mark.parametrize(
    "text",
    [
        *("🪿", "🩷", "🫨", "🫩 is younger than any interpreter", WALES, f"a {WALES}{WALES} flag", "🇩🇪", "1️⃣", "❤️", "☎︎"),
        *(
            "👩‍🚀",
            "👨‍👩‍👧‍👦",
            "👍🏽",
            "🏳️‍🌈",
            PERSIAN,
            "क्\u200dष",
            "葛\U000e0100",
            "e\u0301",
            "\ue000 of a font",
            "x\u0336y",
        ),
        *("\U000aaaaa may be a letter one day", "½ № ™ ﷽ Ω", "¿qué?", "a*b_c~d", "“quotes” «here»"),
    ],
)
def test_what_can_be_seen_stays_as_it_is_written(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "invisible",
    [
        *("\u00ad", "\u034f", "\u061c", "\u115f", "\u180e", "\u200b", "\u200e", "\u200f", "\u202a", "\u202e", "\u2060"),
        *("\u2063", "\u2066", "\u2069", "\u206f", "\u3164", "\ufeff", "\ufff9", "\uffff", "\ud800", "\U0001d173"),
        *("\U000e0001", "\U000e0041\U000e0042", "\U000e007f", "\u200c", "\u200d", "\u200d\u200c\u200d"),
    ],
)
def test_what_cannot_be_seen_goes_without_a_blank(invisible: str) -> None:
    assert clean(f"un{invisible}seen") == "unseen"
    assert clean(f"un {invisible} seen{invisible}") == "un seen"
    assert clean(invisible) == ""


@pytest.mark.parametrize("blank", ["\t", "\n", "\r\n", "\x00", "\x1b", "\x85", "\u2028", "\u3000", "\u00a0", "  "])
def test_controls_and_blanks_become_one_blank(blank: str) -> None:
    assert clean(f"{blank}a{blank}{blank}cat{blank}") == "a cat"


def test_a_selector_or_a_joiner_without_a_character_goes() -> None:
    assert clean("\ufe0fa \ufe0f\u200d\ufe0f cat \u200d🚀") == "a cat 🚀"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(
            ("sed", "seed"),
            ("sead", "seed"),
            ("saed", "seed"),
            ("SEED", "seed"),
            ("stesp", "steps"),
            ("modle", "model"),
        ),
        *(("guidence", "guidance"), ("controllnet", "controlnet"), ("asspect", "aspect"), ("smapler", "sampler")),
        *((word, None) for word in ("stylize", "chaos", "quality", "style", "version", "tile", "weird", "s", "q", "")),
        *((word, None) for word in ("niji", "sref", "video", "hd", "raw", "x" * 4000)),
    ],
)
def test_only_a_name_that_is_near_is_suggested(typed: str, meant: str | None) -> None:
    known = [
        "no",
        "images",
        "ar",
        "aspect",
        "size",
        "steps",
        "guidance",
        "seed",
        "model",
        "sampler",
        "lora",
        "controlnet",
    ]
    assert nearest(typed, known) == meant


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("", "", 0), ("a", "", 1), ("", "abc", 3), ("seed", "sede", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)],
)
def test_errors_between_two_names(one: str, other: str, count: int) -> None:
    assert errors(one, other) == errors(other, one) == count


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        *(("0.75", 0.75), ("0,75", 0.75), (".75", 0.75), ("75%", 0.75), (" 75 % ", 0.75), ("1", 1.0), ("-1", -1.0)),
        *(("", None), ("much", None), ("nan", None), ("inf", None), ("1e9", None), ("1.2.3", None), ("%", None)),
    ],
)
def test_numbers_are_read_as_people_type_them(typed: str, number: float | None) -> None:
    assert number_of(typed) == number


@pytest.mark.parametrize(
    ("notes", "line"),
    [
        ([], ()),
        (["これは文です。", "次の文です。"], ("これは文です。 次の文です。",)),
        (["Is it?", "Yes."], ("Is it? Yes.",)),
        (["Is it？", "Yes."], ("Is it？ Yes.",)),
        (["steps 999 became 150", "It waits."], ("steps 999 became 150. It waits.",)),
        (["It waits.", "steps 999 became 150"], ("It waits; steps 999 became 150",)),
    ],
)
def test_notes_become_one_line_with_their_own_ends(notes: list[str], line: tuple[str, ...]) -> None:
    assert one_line(notes) == line
