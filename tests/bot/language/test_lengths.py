"""What stands on buttons, in menus and in forms keeps Discord's limits in every language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from translating import ROOT, name_of

from bot.language import TRANSLATED, Language, catalogues

# https://docs.discord.com/developers/components/reference: where a text is given to each of these, by the position or
# the name of the argument, and how many characters Discord takes.
_LIMITS: dict[str, dict[int | str, int]] = {
    "button": {2: 80},
    "select": {2: 150},
    "form": {1: 45},
    "text_field": {1: 45, "hint": 100, "example": 100},
    "file_field": {1: 45, 2: 100},
    "SelectOption": {"label": 100, "description": 100},
    "Choice": {"name": 100},
}
_FIELD = re.compile(r"\{[^{}]*\}")
_FILLED = "x" * 12
"""What a field is taken to be filled with: numbers and short names."""


def placed(path: Path) -> Iterator[tuple[str, int]]:
    """Every message of a file that stands in a place with a limit, with the limit."""
    tree = ast.parse(path.read_text())
    marked = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    lists = [node for node in ast.walk(tree) if isinstance(node, ast.comprehension)]
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else name_of(call)
        for place, limit in _LIMITS.get(name, {}).items():
            values = [each.value for each in call.keywords if each.arg == place]
            if isinstance(place, int) and len(call.args) > place:
                values.append(call.args[place])
            for value in values:
                if isinstance(value, ast.Subscript):
                    # It is cut to what Discord takes.
                    continue
                yield from ((text, limit) for text in _said(value, marked, lists))


def _said(value: ast.expr, marked: dict[str, ast.expr], lists: list[ast.comprehension]) -> Iterator[str]:
    """The messages that an argument says: texts, constants, and all of a table from which one is taken."""
    for call in ast.walk(value):
        if not isinstance(call, ast.Call) or name_of(call) != "say":
            continue
        first = call.args[0]
        if isinstance(first, ast.Constant):
            yield str(first.value)
            continue
        names = {node.id for node in ast.walk(first) if isinstance(node, ast.Name)}
        around = [
            each.iter for each in lists if names & {n.id for n in ast.walk(each.target) if isinstance(n, ast.Name)}
        ]
        names |= {node.id for each in around for node in ast.walk(each) if isinstance(node, ast.Name)}
        tables = [marked[name] for name in sorted(names) if name in marked]
        texts = [mark.args[0] for table in tables for mark in ast.walk(table) if _is_mark(mark)]
        assert texts, f"what {ast.unparse(call)} says is not known"
        yield from (str(text.value) for text in texts if isinstance(text, ast.Constant))


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node) == "mark"


def length(text: str) -> int:
    """The characters of a message with its fields filled in, as Discord counts them."""
    return len(_FIELD.sub(_FILLED, text).encode("utf-16-le")) // 2


ALL = [found for path in sorted((ROOT / "cogs").glob("*.py")) for found in placed(path)]


def test_messages_of_buttons_menus_and_forms_are_found(tmp_path: Path) -> None:
    assert len(ALL) > 80
    assert {limit for _, limit in ALL} == {45, 80, 100, 150}
    path = tmp_path / "owls.py"
    path.write_text('_OWLS = {1: mark("An owl")}\nbutton("owl", about, say(_OWLS[number]), row=1)\n')
    assert list(placed(path)) == [("An owl", 80)]


@pytest.mark.parametrize("language", [Language.ENGLISH, *TRANSLATED])
def test_no_translation_is_longer_than_its_place(language: Language) -> None:
    texts = {
        (text, limit): text if language is Language.ENGLISH else catalogues.translation(language, text)
        for text, limit in ALL
    }
    assert [said for (_, limit), said in texts.items() if length(said) > limit] == []
