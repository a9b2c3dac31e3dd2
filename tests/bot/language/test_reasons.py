"""Reasons of other processes and of old rows, said in the language of the reader."""

from __future__ import annotations

import copy
import io
import json

import pytest

from bot.engine.wire import FailedFrame, ReadyFrame, encode, read_frame
from bot.errors import PaintFailed, UnusableFiles, UserError
from bot.jobs import JobId
from bot.language import Language, Listed, Sentence, say, sentence, sentence_many, speaking
from bot.language.reasons import Reason, packed, unpacked

DAMAGED = Reason(
    sentence("The {picture} is damaged: save it again as PNG or JPEG and send that.", picture=sentence("mask"))
)


def test_a_reason_is_english_text_that_is_said_in_the_language_of_the_reader() -> None:
    assert DAMAGED == "The mask is damaged: save it again as PNG or JPEG and send that."
    with speaking(Language.GERMAN):
        assert str(DAMAGED) == f"{DAMAGED}" == say(DAMAGED.sentence.text, picture="Maske") != DAMAGED
        assert "damaged" in DAMAGED


@pytest.mark.parametrize(
    "said",
    [
        DAMAGED.sentence,
        Sentence("Atelier was stopped before this ended."),
        sentence("The model {model} cannot be loaded: {error}", model="a “{b}”", error=DAMAGED),
        sentence_many("1 picture", "{count} pictures", 2),
        sentence("It lacks {parts}. {share:.0%}", parts=Listed([sentence("mask"), "b"]), share=0.5),
    ],
)
def test_what_is_packed_is_said_the_same_in_every_language(said: Sentence) -> None:
    there = unpacked(packed(Reason(said)))
    for language in Language:
        with speaking(language):
            assert str(there) == str(said)
    assert str(copy.deepcopy(there)) == str(there)


@pytest.mark.parametrize("stored", ["It broke.", "{}", '{"text": "{x}", "fields": {}}', "[1]", "7", '{"text": 1', ""])
def test_the_text_of_an_early_version_or_any_other_text_stays_what_it_is(stored: str) -> None:
    assert str(unpacked(stored)) in (stored, "{x}")


def test_a_field_that_is_missing_in_a_row_leaves_its_text() -> None:
    stored = json.dumps({"text": "{x} is {y}", "fields": {"x": 1}})
    assert unpacked(stored) == stored


def test_a_reason_crosses_the_pipe_with_its_sentence() -> None:
    frame = read_frame(io.BytesIO(encode(FailedFrame(JobId(7), 1, DAMAGED))))
    assert isinstance(frame, FailedFrame)
    ready = read_frame(io.BytesIO(encode(ReadyFrame({"emoji": DAMAGED}, "cpu"))))
    assert isinstance(ready, ReadyFrame)
    with speaking(Language.JAPANESE):
        assert str(frame.reason) == str(ready.troubles["emoji"]) == str(DAMAGED) != DAMAGED


def test_an_error_of_another_error_keeps_both_sentences() -> None:
    refused = UserError(PaintFailed("The LoRA {name} cannot be used: {error}", name="ink", error=DAMAGED).reason)
    assert str(refused) == f"The LoRA ink cannot be used: {DAMAGED}"
    with speaking(Language.GERMAN):
        assert str(DAMAGED) in str(refused)
    assert UnusableFiles("it is {odd}.", "Take another.").reason == "it is {odd}. Take another."
