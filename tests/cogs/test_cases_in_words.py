"""What cases, limits and permissions say: dates after "until", one and many, and names as the reader sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import discord
import pytest

from bot.client import PERMISSIONS
from bot.jobs import GuildId, Scope, Subject, UserId
from bot.language import Language, catalogues, speaking
from bot.policy.limits import BLOCKED, GALLERY, QUOTA_FROM, SERVER, LimitName
from bot.storage.cases import Case
from cogs import _cases, _permissions, _words

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
DATE = f"<t:{int(AT.timestamp())}:f> (<t:{int(AT.timestamp())}:R>)"
ADA: Subject = (Scope.PERSON, 7)


def case(action: str, subject: Subject, before: dict[str, Any], after: dict[str, Any]) -> Case:
    return Case(GuildId(1), 3, AT, UserId(2), action, subject, before, after, "", None)


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (case("block", ADA, {}, {BLOCKED: AT.isoformat()}), f"blocked <@7> until {DATE}"),
        (
            case("quota reset", ADA, {}, {QUOTA_FROM: AT.isoformat()}),
            f"quota reset for <@7>: painting time that counts all of it → since {DATE}",
        ),
        (
            case("limits set", SERVER, {}, {"images": 1, "pixels": 2048**2}),
            "at most 1 picture per prompt (before: no rule); pictures of at most 2048×2048 pixels (before: no rule), "
            "for everyone here",
        ),
        (
            case("limits clear", ADA, {"quota": 90, "server_money": 5}, {}),
            "the limit quota is removed (it was: 1 min 30 s); the limit server_money is removed (it was: $0.05), "
            "for <@7>",
        ),
        (
            case("delete", ADA, {"pictures": 1, "message": 9, "requests": 1}, {}),
            "delete for <@7>: 1 picture of message 9; 1 open request of this message was cancelled",
        ),
        (
            case("delete", ADA, {"pictures": 2, "message": 9, "requests": 3}, {}),
            "delete for <@7>: 2 pictures of message 9; 3 open requests of this message were cancelled",
        ),
        (
            case("terms add", SERVER, {}, {"term:a": "aaa", "term:b": "bbb"}),
            "terms add for this server: added the terms ||aaa||, ||bbb||",
        ),
        (case("terms remove", SERVER, {"term:a": "aaa"}, {}), "terms remove for this server: removed the term ||aaa||"),
        (
            case("gallery", SERVER, {}, {GALLERY: (5, 1)}),
            "gallery for this server: <#5>, for results with 1 favourite or more",
        ),
    ],
)
def test_a_case_says_dates_and_numbers_as_people_do(done: Case, words: str) -> None:
    assert _cases.change(done) == words


def test_a_limit_has_the_name_that_the_reader_types() -> None:
    done = case("limits clear", ADA, {LimitName.SERVER_MONEY.value: 5}, {})
    with speaking(Language.GERMAN):
        own = catalogues.name(Language.GERMAN, catalogues.OPTION, "server_money")
        assert own != "server_money"
        assert f"{own} " in _cases.change(done)
        assert _words.said("{option server_money}") == f"`{own}`"
    assert _words.said("{option server_money}") == "`server_money`"


def test_every_permission_that_is_needed_has_discords_name() -> None:
    names = [name for name, needed in PERMISSIONS if needed]
    said = str(_permissions.listed(sorted(names)))
    assert said == (
        "Add Reactions, Attach Files, Read Message History, View Channel, Send Messages and Send Messages in Threads"
    )
    given = discord.Permissions(view_channel=True, send_messages=True)
    assert _permissions.missing_to_post(given, None) == ["attach_files", "read_message_history"]
