"""Sentences in the language of the task that says them."""

from __future__ import annotations

import asyncio
import math

import pytest

from bot import language
from bot.errors import Rejected, UserError, quoted
from bot.language import Language, catalogues, lasting, say, say_many, sentence, sentence_many, speaking


def test_locales_of_discord_find_their_language() -> None:
    assert language.of_locale("de") is Language.GERMAN
    assert language.of_locale("es-419") is language.of_locale("es-ES") is Language.SPANISH
    assert language.of_locale("pt-BR") is Language.PORTUGUESE
    assert language.of_locale("en-GB") is Language.ENGLISH
    assert language.of_locale("zh-CN") is None


def test_a_sentence_is_english_until_a_language_is_spoken_and_again_after() -> None:
    assert say("Your prompt, to copy:") == "Your prompt, to copy:"
    later = sentence("Your prompt, to copy:")
    with speaking(Language.GERMAN):
        assert say("Your prompt, to copy:") == str(later) != "Your prompt, to copy:"
        assert say("There is no translation of this.") == "There is no translation of this."
    assert str(later) == "Your prompt, to copy:"


def test_braces_are_kept_where_there_are_no_fields() -> None:
    assert say("as {prompt} says") == "as {prompt} says"
    assert say("{what} says {{prompt}}", what="it") == "it says {prompt}"
    # What a person typed is never a template.
    assert say("{what}", what="{count}") == "{count}"


def test_nothing_stays_nothing() -> None:
    with speaking(Language.JAPANESE):
        assert say("") == ""


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert say("{count:,} {share:.0%} {time:.1f}", count=12345, share=0.5, time=1.25) == "12,345 50% 1.2"
    with speaking(Language.GERMAN):
        assert say("{count:,} {share:.0%} {time:.1f}", count=12345, share=0.5, time=1.25) == "12.345 50\xa0% 1,2"
        assert say("{time:.0f} {strength:g}", time=12345.6, strength=0.5) == "12346 0.5"
        assert say("{sure:.1%}", sure=0.9731) == "97,3\xa0%"


def test_a_plural_is_chosen_by_its_number() -> None:
    assert [say_many("{count} fox", "{count} foxes", count) for count in (0, 1, 2)] == ["0 foxes", "1 fox", "2 foxes"]
    assert str(sentence_many("one {what}", "{count} {what}s", 3, what="owl")) == "3 owls"


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        (Language.GERMAN, "`/mod rückgängig fall:{number}`"),
        (Language.JAPANESE, "`/mod undo ケース:{number}`"),
    ],
)
def test_a_command_in_a_sentence_has_the_name_that_the_reader_sees(spoken: Language, expected: str) -> None:
    assert catalogues.translation(spoken, "`/mod undo case:{number}`") == expected
    assert catalogues.translation(spoken, "`/unknown` or /mod undo") == "`/unknown` or /mod undo"


def test_an_option_alone_in_a_sentence_has_the_name_that_the_reader_sees() -> None:
    own = catalogues.name(Language.GERMAN, catalogues.OPTION, "channel")
    assert own != "channel"
    assert catalogues.translation(Language.GERMAN, "Name one as `channel:`.") == f"Name one as `{own}:`."
    all_of_it = catalogues.name(Language.GERMAN, catalogues.OPTION, "everything")
    assert catalogues.translation(Language.GERMAN, "Or `everything:True`.") == f"Or `{all_of_it}:True`."
    assert catalogues.translation(Language.GERMAN, "Like `by:me` or `12:`.") == "Like `by:me` or `12:`."


def test_words_of_a_person_stand_in_the_quotation_marks_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {Language.GERMAN: "„{text}“", Language.JAPANESE: "「{text}」"}
    monkeypatch.setattr(catalogues, "translation", lambda spoken, text: marks[spoken] if text == "“{text}”" else text)
    error = UserError("There is no wildcard {name}.", name=quoted("{cat}"))
    assert str(error) == "There is no wildcard “{cat}”."
    with speaking(Language.GERMAN):
        assert str(error) == "There is no wildcard „{cat}“."
    with speaking(Language.JAPANESE):
        assert f"{quoted('x' * 61)}" == f"「{'x' * 59}…」"
    assert str(quoted("{time {time 5}} and {a, b}")) == "“(time (time 5)) and {a, b}”", "it refers to nothing"


async def test_an_error_is_put_into_words_where_it_is_explained() -> None:
    error = UserError("The option {option} takes {kind}, and “{value}” is not that. Nothing was done.", **_FIELDS)
    refusal = Rejected("{depth} requests wait.", rule="depth", origin="host", depth=3)
    assert (str(refusal), refusal.rule, refusal.origin) == ("3 requests wait.", "depth", "host")
    with speaking(Language.FRENCH):
        french = str(error)
        assert await asyncio.create_task(_said(error)) == french
    assert "takes a number" in str(error)
    assert "takes" not in french
    assert "seed" in french


_FIELDS = {"option": "seed", "kind": "a number", "value": "x"}


async def _said(error: UserError) -> str:
    return str(error)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.3, ("0.3 s", "0.3 s")),
        (4.46, ("4.5 s", "4.4 s")),
        (9.94, ("10 s", "9.9 s")),
        (600.4, ("10 min 1 s", "10 min")),
        (3599.7, ("1 h", "59 min 59 s")),
        (5400.5, ("1 h 31 min", "1 h 30 min")),
        (-3.0, ("0 s", "0 s")),
    ],
)
def test_what_is_asked_is_rounded_up_and_what_is_left_down(seconds: float, said: tuple[str, str]) -> None:
    assert (str(lasting(seconds, math.ceil)), str(lasting(seconds, math.floor))) == said
