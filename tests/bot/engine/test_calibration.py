"""What is trusted after a comparison, and what is kept of it: for this machine, in files of any kind."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.calibration import FORMAT, SLOWER, TRIES, Calibration, Comparison, Subject, judge

HERE = {"device": "H200", "torch": "2.13.0", "driver": "550.54"}
SUBJECT = Subject("sd15", "abc in bfloat16")
GOOD = Comparison(0.001, 0.05, plain_seconds=0.033, fast_seconds=0.0072)


def test_what_is_right_and_faster_is_trusted_with_its_times() -> None:
    is_right, words = judge(GOOD)
    assert is_right
    assert "7.2 ms instead of 33 ms" in words
    assert judge(replace(GOOD, fast_seconds=GOOD.plain_seconds))[0], "as fast is not slower"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": math.nan}, "not numbers"),
        ({"error": math.inf}, "not numbers"),
        ({"error": 0.0501}, "wrong: its results are 0.05 apart"),
        ({"error": 1.4, "has_effect": False}, "wrong"),
        ({"has_effect": False}, "no effect"),
        ({"fast_seconds": 0.033 * SLOWER * 1.01}, "slower: "),
    ],
)
def test_what_is_wrong_or_slower_or_without_effect_is_not_and_says_why(change: dict[str, float], words: str) -> None:
    is_right, said = judge(replace(GOOD, **change))
    assert not is_right
    assert words in said


def settled() -> Calibration:
    known = Calibration(HERE)
    known.settle(SUBJECT, "CUDA graphs", is_right=True, words="fast")
    known.settle(SUBJECT, "compiled code", is_right=False, words="wrong: far apart")
    return known


def test_verdicts_are_remembered_for_the_model_they_are_about() -> None:
    known, trouble = Calibration.read(settled().dump(), HERE)
    assert trouble == ""
    assert known.entry(SUBJECT, "CUDA graphs").is_trusted
    assert known.entry(SUBJECT, "compiled code").refusal == "wrong: far apart"
    other = known.entry(Subject("sd15", "other files in bfloat16"), "CUDA graphs")
    assert (other.is_trusted, other.refusal) == (False, "")


@pytest.mark.parametrize("name", [*HERE, "cuda"])
def test_verdicts_of_another_machine_or_version_are_not_used_and_it_is_said_what_differs(name: str) -> None:
    known, trouble = Calibration.read(settled().dump(), HERE | {name: "else"})
    assert list(known) == []
    assert f"of another machine or version ({name} {HERE.get(name)}, not else)" in trouble
    assert known.machine[name] == "else", "what is found out now is of this machine"


def test_a_file_of_the_future_is_not_used() -> None:
    text = json.dumps(json.loads(settled().dump()) | {"format": FORMAT + 1, "verdicts": "in another way"})
    known, trouble = Calibration.read(text, HERE)
    assert list(known) == []
    assert f"was written by a newer Atelier (format {FORMAT + 1})" in trouble


DAMAGED = [
    "{",
    "null",
    "[]",
    "7",
    "\x00\x00",
    '{"format": 1}',
    '{"format": true, "machine": {}, "verdicts": []}',
    '{"format": 1, "machine": [], "verdicts": []}',
    '{"format": 1, "machine": {}, "verdicts": [{"model": 7}]}',
    '{"format": 1, "machine": {}, "verdicts": [{"model": "a", "key": "b", "thing": "c", "is_right": "yes"}]}',
    '{"format": 1, "machine": {}, "verdicts": [{"model": "a", "key": "b", "thing": "c", "tries": "one"}]}',
    "[" * 100_000,
    settled().dump()[:-20],
]


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:30])
def test_a_damaged_file_is_a_sentence_and_a_fresh_start(text: str) -> None:
    known, trouble = Calibration.read(text, {})
    assert list(known) == []
    assert trouble.startswith("calibration.json is ")
    assert trouble.endswith("It is not used, and everything in it is tried again.")


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_can_be_read(text: str) -> None:
    known, trouble = Calibration.read(text, HERE)
    assert list(known) == []
    assert bool(trouble) == bool(text)


def test_a_process_that_dies_in_a_trial_again_and_again_turns_the_thing_off() -> None:
    text = ""
    for _ in range(TRIES):
        known, _trouble = Calibration.read(text, HERE)
        assert known.entry(SUBJECT, "CUDA graphs").refusal == ""
        known.begin(SUBJECT, "CUDA graphs")
        text = known.dump()
    known, _trouble = Calibration.read(text, HERE)
    assert "ended twice while it was tried" in known.entry(SUBJECT, "CUDA graphs").refusal


def test_a_trial_that_ends_forgives_the_one_before_and_one_that_shows_nothing_leaves_nothing() -> None:
    known = Calibration(HERE)
    known.begin(SUBJECT, "CUDA graphs")
    known.begin(SUBJECT, "CUDA graphs")
    known.settle(SUBJECT, "CUDA graphs", is_right=True, words="fast")
    assert known.entry(SUBJECT, "CUDA graphs").is_trusted
    known.begin(SUBJECT, "compiled code")
    known.abandon(SUBJECT, "compiled code")
    assert [entry.thing for entry in known] == ["CUDA graphs"]


def test_a_file_stays_small_however_many_sizes_people_ask_for() -> None:
    known = settled()
    for number in range(2000):
        known.settle(SUBJECT, f"CUDA graphs: unet, 2×4×{number}×64", is_right=False, words="slower")
    assert len(list(known)) == 300
    assert len(known.dump()) < 100_000
