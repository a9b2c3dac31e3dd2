"""/mod wildcards: lists that moderators keep, with cases and undo, and that hold after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from bot.policy.wildcards import LONGEST_ENTRY, MOST_ENTRIES, MOST_LISTS
from tests.cogs.test_moderation import said
from tests.conftest import Workshop


async def test_lists_are_kept_with_cases_and_undone(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    assert "has no wildcards" in await said(moderator, workshop, "wildcards list")
    first = await said(moderator, workshop, "wildcards add", name="__Animal__", words="cat, red  fox\ncat")
    assert "Case 1: wildcards add for this server: the wildcard `__animal__` no → cat, red fox (2)." in first
    assert "(3)" in await said(moderator, workshop, "wildcards add", name="animal", words="dog")
    assert "already" in await said(moderator, workshop, "wildcards add", name="animal", words="dog")
    await workshop.restart()
    assert await said(moderator, workshop, "wildcards list", name="animal") == "`__animal__`: cat, red fox, dog"
    await said(moderator, workshop, "wildcards remove", name="animal", words="CAT")
    assert "red fox, dog" in await said(moderator, workshop, "wildcards list")
    assert "none of these" in await said(moderator, workshop, "wildcards remove", name="animal", words="cat")
    await said(moderator, workshop, "wildcards remove", name="animal")
    assert "has no wildcards" in await said(moderator, workshop, "wildcards list")
    await said(moderator, workshop, "undo", case=4)
    assert await said(moderator, workshop, "wildcards list") == "`__animal__`: red fox, dog"


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("add", {"name": "a b", "words": "x"}, "letters a to z"),
        ("add", {"name": "a__b", "words": "x"}, "letters a to z"),
        ("add", {"name": "a", "words": " , "}, "Name the entries"),
        ("add", {"name": "a", "words": "x, " + "y" * (LONGEST_ENTRY + 1)}, "Entry 2 has 201 characters"),
        ("add", {"name": "a", "words": "{x}"}, "Entry 1 has a brace or a flag"),
        ("add", {"name": "a", "words": "x --seed 7"}, "Entry 1 has a brace or a flag"),
        ("add", {"name": "a", "words": ", ".join(map(str, range(MOST_ENTRIES + 1)))}, "at most 200 are possible"),
        ("remove", {"name": "anmal"}, "There is no wildcard `__anmal__` here"),
        ("list", {"name": "zebra"}, "There is no wildcard `__zebra__` here; `/mod wildcards list` lists them."),
    ],
)
async def test_what_cannot_be_a_list_gets_one_sentence_and_changes_nothing(
    workshop: Workshop, command: str, options: dict[str, Any], words: str
) -> None:
    moderator = workshop.member("mod", moderator=True)
    await said(moderator, workshop, "wildcards add", name="animal", words="cat")
    assert words in await said(moderator, workshop, f"wildcards {command}", **options)
    assert await said(moderator, workshop, "wildcards list") == "`__animal__`: cat"


async def test_a_server_has_so_many_lists_and_long_ones_come_as_a_file(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    for number in range(MOST_LISTS):
        await said(moderator, workshop, "wildcards add", name=f"n{number}", words="a word, another word")
    assert "the most that are possible" in await said(moderator, workshop, "wildcards add", name="x", words="y")
    shown = await moderator.slash(workshop.channel, "mod wildcards list")
    assert shown.response.attachments[0].filename == "wildcards.txt"
