"""Every message of the code and the commands is in every catalogue, whole: no field lost, all plural forms there."""

from __future__ import annotations

import ast
import gettext
import re
import string
from collections.abc import Iterable
from pathlib import Path

import pytest
from translating import ROOT, SINGLE, Message, calls_of, messages_of_code, read, texts_of_commands

from bot.language import TRANSLATED, Language, catalogues

_COMMAND = re.compile(r"`/[^`]*`|`[a-z_]+:(?:True)?`")


@pytest.fixture(scope="module")
def wanted() -> list[Message]:
    return list(messages_of_code())


def fields(text: str) -> set[tuple[str, str]]:
    """The fields of a message with their formats."""
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


def forms(translation: str | Iterable[str]) -> list[str]:
    return [translation] if isinstance(translation, str) else list(translation)


def faults(language: Language, wanted: Iterable[Message]) -> list[str]:
    """What is wrong with the translations of messages."""
    catalogue = read(language)
    found = []
    for text, context in wanted:
        english = forms(text)
        message = catalogue.get(english[0], context)
        if message is None or not message.string or not all(forms(message.string)):
            found.append(f"not translated: {text!r}")
            continue
        if message.fuzzy:
            found.append(f"fuzzy: {text!r}")
        if message.pluralizable and len(forms(message.string)) != catalogue.num_plurals:
            found.append(f"not {catalogue.num_plurals} forms: {text!r}")
        try:
            theirs = list(map(fields, english))
            ours = list(map(fields, forms(message.string)))
        except ValueError:
            # Without fields, braces are what they are.
            continue
        # A form for one thing may leave the number out, as the English one does, unless nothing has the same form.
        least, most = set.intersection(*theirs), set.union(*theirs)
        if message.pluralizable and not gettext.c2py(catalogue.plural_expr)(0):
            least = most
        for form, has in zip(forms(message.string), ours, strict=True):
            if not least <= has <= most:
                found.append(f"fields {sorted(has)} instead of {sorted(most)}: {form!r}")
            if sorted(_COMMAND.findall(form)) not in [sorted(_COMMAND.findall(each)) for each in english]:
                found.append(f"other commands than {english[-1]!r}: {form!r}")
            if english[0][:1].isspace() != form[:1].isspace() or english[0].count("\n") != form.count("\n"):
                found.append(f"other spaces or lines than {english[0]!r}: {form!r}")
    return found


@pytest.mark.parametrize("language", TRANSLATED)
async def test_every_message_is_translated_whole(language: Language, wanted: list[Message]) -> None:
    assert faults(language, wanted) == []


async def test_every_text_of_a_command_is_translated_and_nothing_else_is_in_a_catalogue(wanted: list[Message]) -> None:
    texts = await texts_of_commands()
    known = {(text if isinstance(text, str) else text[0], context) for text, context in (*wanted, *texts)}
    for language in TRANSLATED:
        assert faults(language, texts) == []
        assert {(forms(each.id)[0], each.context) for each in read(language) if each.id} == known


def test_a_lost_field_a_missing_form_and_a_missing_message_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = read(Language.POLISH)
    catalogue.add("{count} foxes in {place}", "lisy w {place}")
    catalogue.add(("{count} fox", "{count} foxes"), ("{count} lis", "{count} lisy"))
    catalogue.add("An owl.", "Sowa.", flags=["fuzzy"])
    catalogue.add("`/queue` shows it.", "`/kolejka` to pokazuje.")
    monkeypatch.setattr("tests.bot.language.test_catalogues.read", lambda _: catalogue)
    wanted: list[Message] = [
        ("{count} foxes in {place}", None),
        (("{count} fox", "{count} foxes"), None),
        ("An owl.", None),
        ("`/queue` shows it.", None),
        ("A bear.", None),
    ]
    found = [fault.partition(" ")[0] for fault in faults(Language.POLISH, wanted)]
    assert found == ["fields", "not", "fuzzy:", "other", "not"]


def test_the_catalogues_can_be_read_and_have_the_plural_rules_of_their_languages() -> None:
    catalogues.preload()
    assert {language: read(language).num_plurals for language in TRANSLATED} == {
        Language.GERMAN: 2,
        Language.FRENCH: 3,
        Language.SPANISH: 3,
        Language.PORTUGUESE: 3,
        Language.JAPANESE: 1,
        Language.POLISH: 3,
    }


OF_THE_HOST = ("bot/terminal.py", "bot/try_page/actions.py", "bot/try_page/commands.py")
"""The files whose readers have no other language than English."""


def glued(path: Path) -> list[int]:
    """The lines of a file where a sentence is put together before it is looked up."""
    return [
        call.lineno
        for call in calls_of(path)
        if any(isinstance(argument, ast.JoinedStr | ast.BinOp) for argument in call.args[:2])
    ]


def is_silent(path: Path) -> bool:
    """Whether a cog answers people without a message."""
    text = path.read_text()
    return (
        path.parent.name == "cogs"
        and re.search(r"responses\.(send|edit|ask)\(", text) is not None
        and "from bot.language import" not in text
    )


def test_a_sentence_is_never_put_together_before_it_is_looked_up() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for top in ("bot", "cogs") for path in (ROOT / top).rglob("*.py")}
    unready = {name for name, path in files.items() if glued(path) or is_silent(path)}
    assert unready - set(OF_THE_HOST) == set()


QUOTES_NOT_YET = ("bot/requests/vocabulary.py", "cogs/_comparing.py", "cogs/_searching.py")
"""The files that still put English quotation marks round words in every language."""


def english_quotes(path: Path) -> list[int]:
    """The lines of a file where English quotation marks are put round words outside of a message."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        and any("“" in part.value for part in node.values if isinstance(part, ast.Constant))
    ]


def test_quotation_marks_are_those_of_the_language() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for top in ("bot", "cogs") for path in (ROOT / top).rglob("*.py")}
    assert {name for name, path in files.items() if english_quotes(path)} - {*QUOTES_NOT_YET, *OF_THE_HOST} == set()


def test_every_error_that_says_a_sentence_is_looked_into() -> None:
    classes = [
        node
        for top in ("bot", "cogs")
        for path in (ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    said = {node.name for node in classes if {getattr(base, "id", "") for base in node.bases} & set(SINGLE)}
    assert said - set(SINGLE) == set()


def test_a_sentence_that_is_put_together_is_found(tmp_path: Path) -> None:
    path = tmp_path / "cogs" / "owls.py"
    path.parent.mkdir()
    path.write_text('raise UserError(f"{count} owls")\nawait responses.send(interaction, f"An “{owl}”.")\n')
    assert glued(path) == [1]
    assert english_quotes(path) == [2]
    assert is_silent(path)
