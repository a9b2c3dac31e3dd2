"""The grammar of weights: what is read as a weight, what stays prose, and that no text takes long to read."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.weights import MOST_WEAK_PARTS, WEIGHTS, read

LESS = 1 / 1.1


def parts(text: str) -> list[tuple[str, float]]:
    return [(part.text, part.weight) for part in read(text).parts]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("(cat)", [("cat", 1.1)]),
        ("((cat))", [("cat", 1.21)]),
        ("(((cat)))", [("cat", 1.331)]),
        ("[cat]", [("cat", LESS)]),
        ("[[cat]]", [("cat", LESS**2)]),
        ("([cat])", [("cat", 1)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat: 1.3 )", [("cat", 1.3)]),
        ("(cat:2)", [("cat", 2)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat:0)", [("cat", 0)]),
        ("(iphone 15:1.2)", [("iphone 15", 1.2)]),
        ("(🪿:1.3)", [("🪿", 1.3)]),
        ("(a red: blue:1.3)", [("a red: blue", 1.3)]),
        ("(two words)1.2", [("two words", 1.2)]),
        ("(two words)2, a", [("two words", 2), (", a", 1)]),
        ("(two words)+", [("two words", 1.1)]),
        ("(two words)--", [("two words", 0.81)]),
        ("cat++", [("cat", 1.21)]),
        ("a blue-eyed cat+++, old", [("a blue-eyed ", 1), ("cat", 1.331), (", old", 1)]),
        ("a blue-eyed++ cat", [("a ", 1), ("blue-eyed ", 1.21), ("cat", 1)]),
        ("background--", [("background", 0.81)]),
        ("(a (big:1.5) cat)1.2", [("a ", 1.2), ("big ", 1.8), ("cat", 1.2)]),
        ("(old cat++:1.5) dog", [("old ", 1.5), ("cat ", 1.815), ("dog", 1)]),
        ("a (red), (blue) hat", [("a ", 1), ("red", 1.1), (", ", 1), ("blue ", 1.1), ("hat", 1)]),
        ("(red)(blue:1.2)", [("red", 1.1), ("blue", 1.2)]),
        ("cat(red:1.3)", [("cat", 1), ("red", 1.3)]),
        ("(miku \\(singer\\):1.2)", [("miku (singer)", 1.2)]),
        ("(C++:1.2)", [("C++", 1.2)]),
        ("a happy face :) (smile)", [("a happy face :) ", 1), ("smile", 1.1)]),
        ("(a happy face :))", [("a happy face :)", 1.1)]),
        ("a sad face :( [cat] :)", [("a sad face :( ", 1), ("cat ", LESS), (":)", 1)]),
        ("(猫)、犬", [("猫", 1.1), ("、犬", 1)]),
        ("(red [blue) hat]", [("red [blue ", 1.1), ("hat]", 1)]),
        ("a ((red) hat", [("a (", 1), ("red ", 1.1), ("hat", 1)]),
    ],
)
def test_what_is_written_as_a_weight_is_read_as_one(written: str, expected: list[tuple[str, float]]) -> None:
    found = [(text.strip(), weight) for text, weight in parts(written)]
    assert found == [(text.strip(), pytest.approx(weight)) for text, weight in expected]


PROSE = [
    "a C++ program",
    "C++, C--, c++17 and g++",
    "ages 5+",
    "18+ 4k+ A+",
    "Disney+ on a screen",
    "ears- fluffy",
    "pre- and post-war",
    "well--known",
    "-- a dash --",
    "a cat :) and a dog ;-) and =( or :]",
    "(: upside down",
    "(^_^) (o_o) (-_-) ( ͡° ͜ʖ ͡°) ¯\\_(ツ)_/¯",
    "(1) a cat (2) a dog [3]",
    "(a) a cat (b) a dog",
    "at (10:30)",
    "(16:9)",
    "a cat(s) and miku_(vocaloid)",
    "f(x) and list[index]",
    "Ca(OH)2",
    "a semi-(transparent) veil, the (king)'s crown, (semi)-transparent",
    "(un)happy",
    "()",
    "[]",
    "( )",
    "(((",
    ")))",
    "]][[",
    ")(",
    "(an unclosed bracket",
    "closed only)",
    "(mixed]",
    ":",
    "(:1.3)",
    "100% + 50% - 20%",
    "a \\ b",
    "{curly} <angle> «quotes»",
    "x**2 || y",
    "it's 7.5 - 3",
    "1 + 1 = 2",
    "a+b, a-b, a++b",
    "¿qué? ¡sí!",
    "می‌خواهم",
    "🏴󠁧󠁢󠁷󠁬󠁳󠁿 👩‍🚀 ❤️ 🪿 🩷",
    "東京の夜景、雨",
    "",
    " ",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_stays_as_it_is_written(text: str) -> None:
    found = read(text)
    assert (found.text, found.is_plain, found.unsupported) == (text, True, ())


@pytest.mark.parametrize(
    ("text", "expected"), [("(John 3:16)", "John 3:16"), ("(at 10:30)", "at 10:30"), ("(age: 25)", "age: 25")]
)
def test_times_verses_and_ages_are_no_weights(text: str, expected: str) -> None:
    assert parts(text) == [(expected, 1.1)]


@pytest.mark.parametrize(
    ("text", "plain"),
    [(r"\(cat\)", "(cat)"), (r"\[cat\]", "[cat]"), (r"cat\+\+", "cat++"), (r"cat\-\-", "cat--"), (r"\\(cat", "\\(cat")],
)
def test_an_escaped_mark_is_the_character_itself(text: str, plain: str) -> None:
    assert (read(text).text, read(text).is_plain) == (plain, True)


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("a cat BREAK a dog", ("BREAK",)),
        ("[a|b] and {red|blue}", ("[a|b]", "{red|blue}")),
        ("[a:b:0.5], [cat:0.5], [cat::3]", ("[a:b:0.5]", "[cat:0.5]", "[cat::3]")),
        ("<lora:x:0.8> a cat <hypernet:y:1>", ("<lora:x:0.8>", "<hypernet:y:1>")),
        ('("a cat", "a dog").blend(0.5, 0.5)', (".blend()",)),
        ('("a cat", "a dog").and()', (".and()",)),
        ("a cat.swap(dog)", (".swap()",)),
        ("withLora(x, 0.5)", ("withLora()",)),
        ("COFFEE BREAK", ()),
        ("a coffee break. and cats", ()),
        ("BREAK " * 9 + "[a|b]" * 9 + "<lora:a:1> [c|d] [e|f]" + "a", ("BREAK", "[a|b]", "<lora:a:1>")),
    ],
)
def test_forms_of_other_programs_are_words_and_are_named(text: str, forms: tuple[str, ...]) -> None:
    found = read(text)
    assert found.unsupported == forms
    assert found.text == text
    assert found.is_plain


@pytest.mark.parametrize(
    ("text", "weight", "asked"),
    [("(cat:25)", 10, 25), ("(cat:-1)", 0, -1), ("(cat:999999999)", 10, 1e6), ("(" * 900 + "cat" + ")" * 900, 10, 1e6)],
)
def test_a_weight_out_of_range_is_brought_into_it(text: str, weight: float, asked: float) -> None:
    assert parts(text) == [("cat", weight)]
    assert read(text).bounded == asked


def test_only_so_many_parts_have_a_weight_below_one() -> None:
    many = ", ".join(f"[cat {number}]" for number in range(MOST_WEAK_PARTS + 1))
    found = read(many)
    assert found.is_crowded
    assert sum(part.weight < 1 for part in found.parts) == MOST_WEAK_PARTS
    assert not read(many.replace(f", [cat {MOST_WEAK_PARTS}]", "")).is_crowded
    assert found.text == many.replace("[", "").replace("]", "")


# ---- 7,500 prompts ---------------------------------------------------------------------------------------------------

SUBJECTS = [
    *("a lighthouse at dusk", "two cats and a dog", "the word “START” on a sign", "a 1960s diner", "an owl's nest"),
    *("une forêt enchantée", "ein grüner Frosch", "красный трактор", "東京の夜景", "صورة قط", "می‌خواهم ببینم"),
    *("🪿 on a pond", "a 🩷 balloon", "🏴󠁧󠁢󠁷󠁬󠁳󠁿 flag", "an 👩‍🚀 on Mars", "masterpiece", "best quality", "8k", "1girl"),
    *("f/1.8, 85mm", "rule of thirds", "it's 7.5 - 3", "oil-on-canvas", "50% off!", "e=mc²", "№5", "x_y z"),
]


HARMLESS = [
    text
    for text in PROSE
    if text.strip() and "\\" not in text and not re.search(r"^[)\]]|[(\[]$|^\(an|ly\)$|d\]$", text)
]


def prompts(seed: int, count: int) -> Iterator[tuple[str, str, bool]]:
    """Prompts as people write them, each with the words that must be left of it, and whether it has weights."""
    rng = random.Random(seed)

    def weighed(depth: int) -> tuple[str, str]:
        words = rng.choice(SUBJECTS) + " thing"
        written = words
        if depth and rng.random() < 0.4:
            inner, plain = weighed(depth - 1)
            written, words = f"{written} {inner} end", f"{words} {plain} end"
        number = f"{rng.uniform(0, 3):.{rng.randint(1, 3)}f}"
        levels = rng.randint(1, 5)
        form = rng.randrange(7)
        if form == 0:
            return "(" * levels + written + ")" * levels, words
        if form == 1:
            return "[" * levels + written + "]" * levels, words
        if form == 2:
            return f"({written}:{number})", words
        if form == 3:
            return f"({written}){number}", words
        if form == 4:
            return f"({written}){rng.choice('+-') * levels}", words
        if form == 5:
            return f"{written if written == words else f'({written})'}{rng.choice(['++', '--', '+++'])}", words
        return f"({written}: {number})", words

    for _ in range(count):
        written, left, has_weights = [], [], False
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.45:
                words = rng.choice(SUBJECTS)
                written.append(words)
                left.append(words)
            elif kind < 0.75:
                marked, words = weighed(2)
                written.append(marked)
                left.append(words)
                has_weights = True
            elif kind < 0.95:
                words = rng.choice(HARMLESS)
                written.append(words)
                left.append(words)
            else:
                words = rng.choice(SUBJECTS)
                written.append(f"\\({words}\\)")
                left.append(f"({words})")
        # Brackets without a partner, where no other can be taken for it.
        before, after = rng.choice(["", "", "))]"]), rng.choice(["", "", " ((["])
        yield f"{before}{', '.join(written)}{after}", f"{before}{', '.join(left)}{after}", has_weights


def steps(text: str) -> int:
    """How many functions, of Python and of C, reading a text calls: a measure that no busy machine changes."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        read(text)
    finally:
        sys.setprofile(None)
    return count


def test_of_7500_prompts_nothing_is_changed_but_their_weights_and_each_takes_few_steps() -> None:
    for written, left, has_weights in prompts(7, 7500):
        found = read(written)
        assert found.text == left, written
        assert found.unsupported == ()
        assert has_weights or found.is_plain, written
        assert all(WEIGHTS[0] <= part.weight <= WEIGHTS[1] for part in found.parts)
    for written, _, _ in prompts(8, 300):
        assert steps(written) <= 100 + 8 * len(written), written


@pytest.mark.parametrize(
    "unit",
    [
        *("(", ")", "[", "((", "[(", "(]", "(cat", "(cat:1.1", "cat) ", "(cat)", "(cat)1.1", "((cat:1.1)", "[cat|"),
        *("cat++ ", "a++", "+", "-", "--", "\\(", "\\", ":) ", ":(", "(: ", "{a|", "<lora:", ".blend(", "BREAK ", "🪿"),
        *("(🪿)", "('", "(cat)'", "(cat)-", "1.", "(1:", "(cat)1", "é", "猫", " ", "|", '"', "(cat: 1 ", "_", "a-"),
    ],
)
def test_any_text_takes_steps_in_proportion_to_its_length(unit: str) -> None:
    small, large = (steps(unit * (size // len(unit))) for size in (2000, 8000))
    assert large <= 4.4 * small + 100
    assert large <= 100 + 16 * 8000


@pytest.mark.parametrize("levels", [1000, 20_000])
def test_brackets_nested_thousands_of_levels_deep(levels: int) -> None:
    assert parts("(" * levels + "cat" + ")" * levels) == [("cat", WEIGHTS[1])]
    assert parts("[" * levels + "cat" + "]" * levels) == [("cat", pytest.approx(LESS**levels))]
    for unclosed in ("(" * levels + "cat", "cat" + ")" * levels, "([" * levels + "cat", "(" * levels + "]" * levels):
        assert parts(unclosed) == [(unclosed, 1)]


@given(st.text(max_size=200) | st.text(alphabet="()[]:.+-\\0123456789abc |{}<>\"'_é猫🪿", max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_and_loses_nothing_but_marks(text: str) -> None:
    found = read(text)
    assert all(WEIGHTS[0] <= part.weight <= WEIGHTS[1] for part in found.parts)
    assert all(before.weight != after.weight for before, after in zip(found.parts, found.parts[1:], strict=False))
    left = iter(text)
    assert all(char in left for char in found.text), "what is left stands in the text in this order"
    marks = set("()[]:.+-\\ 0123456789")
    assert [char for char in text if char not in marks] == [char for char in found.text if char not in marks]
