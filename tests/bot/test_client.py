"""The client: its cogs, its commands, and what people are told when something breaks."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import discord
import pytest
from discord.ext import commands

from bot.client import EXTENSIONS, FREE_IDENTIFIES, Client, identify_pause
from bot.errors import StorageFull
from bot.jobs import to_text, utcnow
from tests.conftest import Workshop


async def test_every_cog_file_is_loaded_and_command_names_are_unique(workshop: Workshop) -> None:
    files = {path.stem for path in Path("cogs").glob("*.py") if not path.name.startswith("_")}
    assert {name.removeprefix("cogs.") for name in EXTENSIONS} == files
    names = [command.qualified_name for command in workshop.env.bot.tree.walk_commands()]
    assert sorted(names) == sorted(set(names))
    assert {
        "imagine",
        "queue",
        "cancel",
        "limits set",
        "limits show",
        "limits clear",
        "limits explain",
        "mod undo",
        "stats",
        "history",
    } <= set(names)


async def test_commands_are_uploaded_only_when_they_changed(workshop: Workshop) -> None:
    def uploads() -> int:
        return sum(entry.method == "PUT" and entry.path.endswith("/commands") for entry in workshop.env.http_requests)

    assert uploads() == 1
    await workshop.restart()
    assert uploads() == 1
    await workshop.app.database.remember(f"commands of {workshop.env.bot.application_id}", "another tree")
    await workshop.restart()
    assert uploads() == 2


async def test_a_bug_is_told_with_a_reference_and_logged_with_its_traceback(
    workshop: Workshop, monkeypatch, caplog
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    workshop.foreseen += (ZeroDivisionError,)
    monkeypatch.setattr(workshop.app.line, "turns", broken)
    told = await workshop.member("ada").slash(workshop.channel, "queue")

    assert told.ephemeral
    reference = told.response.content.rstrip(".").split()[-1]
    (record,) = [record for record in caplog.records if reference in record.getMessage()]
    assert record.getMessage().endswith("    raise ZeroDivisionError\nZeroDivisionError")


def test_identifying_again_and_again_never_burns_the_days_budget() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now, identified = start, []
    while now < start + timedelta(days=1):
        now += timedelta(seconds=identify_pause(identified, now))
        identified.append(now)
        now += timedelta(seconds=1)  # it crashes at once
    assert len(identified) < 700, "Discord allows a thousand"
    assert identified[19] - start < timedelta(seconds=20), "twenty restarts of a host within an hour cost nothing"
    day = timedelta(days=1)
    assert identify_pause([at + day for at in identified], start) == 0, "a clock set back keeps nobody out"


async def test_a_full_disk_keeps_nobody_offline_and_identifies_count_all_the_same(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object) -> None:
        raise StorageFull("Not accepted: the storage is full.")

    async def wait(*_: object, **__: object) -> None:
        return

    client = Client(workshop.app)
    monkeypatch.setattr("bot.client.NOTE_SECONDS", 0.02)
    monkeypatch.setattr(commands.Bot, "before_identify_hook", wait)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(workshop.app.database, "remember", full)
        async with asyncio.timeout(5):
            for _ in range(FREE_IDENTIFIES):
                await client.before_identify_hook(None)
        assert "could not be noted" in caplog.text
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.before_identify_hook(None)
    # What came before takes some of the pause.
    assert re.search(r"waiting [1-5] s before the next", caplog.text)
    monkeypatch.setattr("bot.client.identify_pause", lambda *_: 0.0)
    await client.before_identify_hook(None)
    noted = json.loads(await workshop.app.database.recall("identifies") or "")
    assert len(noted) >= FREE_IDENTIFIES + 1, "what was not noted is noted with the next"


async def test_commands_are_uploaded_on_a_full_disk_too(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object) -> None:
        raise StorageFull("Not accepted: the storage is full.")

    await workshop.app.database.remember(f"commands of {workshop.env.bot.application_id}", "another tree")
    monkeypatch.setattr(workshop.app.database, "remember", full)
    with workshop.env.time_context():
        await workshop.env.bot._sync()
    assert "uploaded again at the next start" in caplog.text


async def test_closing_right_after_a_ready_leaves_nothing_that_trips(workshop: Workshop) -> None:
    async with Client(workshop.app) as client:
        client._connection.guild_ready_timeout = 0.01
        user = {"id": "1", "username": "atelier", "discriminator": "0", "avatar": None}
        client._connection.parse_ready({"user": user, "application": {"id": "1", "flags": 0}, "guilds": []})
        task = client._connection._ready_task
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_identifies_are_counted_across_restarts(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    long_ago, now = to_text(utcnow() - timedelta(hours=2)), to_text(utcnow())
    await workshop.app.database.remember("identifies", json.dumps([long_ago, *[now] * (FREE_IDENTIFIES + 2)]))
    await workshop.restart()
    client = Client(workshop.app)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.before_identify_hook(None, initial=True)
    # The restart may take some seconds of the pause, which is twenty seconds.
    assert re.search(r"waiting (1\d|20) s before the next", caplog.text)
    await workshop.app.database.remember("identifies", json.dumps([long_ago, now]))
    await client.before_identify_hook(None, initial=True)
    kept = json.loads(await workshop.app.database.recall("identifies") or "")
    assert (kept[0], len(kept)) == (now, 2), "and what is over is forgotten"


_TYPE_NUMBERS = {"steps": 4, "pace": 4, "guidance_scale": 10, "member": 6, "everything": 5}
"""The types of options that are not text: https://docs.discord.com/developers/interactions/application-commands"""


async def sent(workshop: Workshop, actor: Any, name: str, given: dict[str, Any]) -> str:
    """What a person is told who sends a command with options that Discord did not check."""
    names = name.split()
    options: list[dict[str, Any]] = [
        {"name": option, "type": _TYPE_NUMBERS.get(option, 3), "value": value} for option, value in given.items()
    ]
    for group in reversed(names[1:]):
        options = [{"name": group, "type": 1, "options": options}]
    client, told = workshop.env.bot, []

    async def answer(words: str, **_: Any) -> Any:
        told.append(words)
        return SimpleNamespace(message_id=1)

    interaction = MagicMock(spec=discord.Interaction)
    interaction.id = discord.utils.time_snowflake(discord.utils.utcnow())
    interaction.extras = {}
    interaction.type = discord.InteractionType.application_command
    interaction.data = {"id": "1", "name": names[0], "type": 1, "options": options}
    interaction.client = client
    interaction.guild_id = workshop.guild.id
    interaction.command, _ = client.tree._get_app_command_options(interaction.data)
    interaction.response.is_done = lambda: False
    interaction.response.send_message = answer
    interaction.permissions = discord.Permissions.all()
    await client.tree._call(interaction)
    (words,) = told
    return words


@pytest.mark.parametrize(("guidance", "offered"), [("7.5", True), ("", True), ("very", False), ([], False)])
async def test_what_is_typed_beside_a_number_that_is_none_offers_nothing_and_breaks_nothing(
    workshop: Workshop, guidance: Any, offered: bool
) -> None:
    answered: list[list[Any]] = []

    async def autocomplete(choices: list[Any]) -> None:
        answered.append(choices)

    interaction = MagicMock(spec=discord.Interaction)
    interaction.id = discord.utils.time_snowflake(discord.utils.utcnow())
    interaction.extras = {}
    interaction.type = discord.InteractionType.autocomplete
    interaction.data = {
        "name": "imagine",
        "options": [
            {"name": "guidance_scale", "type": 10, "value": guidance},
            {"name": "model", "type": 3, "value": "emo", "focused": True},
        ],
    }
    interaction.response.autocomplete = autocomplete
    assert await workshop.env.bot.tree.interaction_check(interaction) is offered
    assert answered == ([] if offered else [[]])


WRONG = [
    ("imagine", {"prompt": "a cat", "steps": "many"}, "The option steps takes a whole number, such as 7, and “many”"),
    ("imagine", {"prompt": "a cat", "steps": True}, "The option steps takes a whole number"),
    ("imagine", {"prompt": "a cat", "steps": 7.5}, "The option steps takes a whole number, such as 7, and “7.5”"),
    ("imagine", {"prompt": "a cat", "guidance_scale": "very"}, "The option guidance_scale takes a number, such as 0.5"),
    ("imagine", {"prompt": "a cat", "model": 7}, "The option model takes words, such as a red fox, and “7”"),
    ("imagine", {"prompt": ["a cat"]}, "The option prompt takes words, such as a red fox"),
    ("limits set", {"pace": "**slow** <@12345678901234567>"}, "The option pace takes a whole number"),
    ("limits set", {"member": "somebody", "pace": 1}, "The option member takes a person of this server"),
    ("limits clear", {"limit": "mood"}, "The option limit takes one of “pace"),
    ("mod cancel", {"everything": "yes"}, "The option everything takes True or False, and “yes”"),
    ("stats", {"last": "a while"}, "The option last takes one of “24 hours”"),
]
"""Commands, options as an outdated or another client may send them, and what is said."""


@pytest.mark.parametrize(("name", "given", "words"), WRONG, ids=lambda value: str(value)[:40])
async def test_a_value_of_the_wrong_type_is_named_with_what_would_work(
    workshop: Workshop, name: str, given: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = await sent(workshop, workshop.member("mod", moderator=True), name, given)
    assert said.startswith(words), said
    assert "is not that. Nothing was done." in said
    assert "Something broke" not in said
    assert "<@1" not in said
    assert "**" not in said
    assert ("```\na cat\n```" in said) == (given.get("prompt") == "a cat"), "the prompt is handed back"
    assert await workshop.jobs() == []
    assert not [record for record in caplog.records if record.exc_info or "a bug" in record.getMessage()]
