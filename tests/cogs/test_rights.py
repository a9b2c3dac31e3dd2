"""The table of rights: it has every way to every action once, docs/rights.md prints it, and the bot keeps to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord import app_commands
from typer.main import get_command

from bot.__main__ import cli
from bot.policy.rights import NO, RIGHTS, doors, page
from tests.conftest import Workshop

OPTIONS: dict[str, dict[str, Any]] = {
    "mod delete": {"message": "1234567890123456789"},
    "mod undo": {"case": 1},
    "mod terms add": {"terms": "spam"},
    "mod terms remove": {"terms": "spam"},
    "mod wildcards add": {"name": "animal", "words": "cat"},
    "mod wildcards remove": {"name": "animal"},
    "mod cancel": {"everything": True},
    "contest start": {"theme": "foxes", "entries": "1d"},
    "contest end": {"contest": 1},
    "contest cancel": {"contest": 1},
    "limits set": {"pace": 1},
    "style add": {"name": "ink", "text": "{prompt}, ink"},
    "style edit": {"name": "ink"},
    "style remove": {"name": "ink"},
    "style import": {"line": "x"},
}
NEEDS_MEMBER = {"mod block", "mod unblock", "mod quota reset", "limits explain"}
FOR_MODERATORS = [door for right in RIGHTS if right.members == NO and right.moderators != NO for door in right.doors]


def test_the_page_is_what_the_code_says() -> None:
    assert Path("docs/rights.md").read_text(encoding="utf-8") == page(), "run: atelier rights > docs/rights.md"


async def test_every_command_menu_button_and_form_is_in_one_row(workshop: Workshop) -> None:
    bot = workshop.env.bot
    commands = [each.qualified_name for each in bot.tree.walk_commands() if isinstance(each, app_commands.Command)]
    menus = [f"menu:{each.name}" for each in bot.tree.get_commands(type=discord.AppCommandType.message)]
    host = [f"cli:{name}" for name in get_command(cli).commands]
    known = [*commands, *menus, *host, *(f"press:{name}" for name in bot.buttons), *(f"send:{n}" for n in bot.forms)]
    assert Counter(doors()) == Counter(known)


@pytest.mark.parametrize("command", [door for door in FOR_MODERATORS if ":" not in door])
async def test_what_is_for_moderators_is_refused_to_a_member_to_whom_it_was_opened(
    workshop: Workshop, command: str
) -> None:
    eve = workshop.member("eve")
    options = OPTIONS.get(command, {}) | ({"member": workshop.member("ada")} if command in NEEDS_MEMBER else {})
    options |= {"channel": workshop.channel} if command == "dataset channel" else {}
    if not command.startswith(
        ("style", "dataset", "contest")
    ):  # members see the group, which has commands for them, too
        with pytest.raises(simcord.SetupError):
            await eve.slash(workshop.channel, command, **options)
        await workshop.open_group(command.split()[0], eve)
    answer = await eve.slash(workshop.channel, command, **options)
    assert answer.ephemeral
    assert answer.response.content == "Only members with Manage Server can do this."
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases UNION SELECT 1 FROM rules") == []


async def test_the_buttons_of_moderators_do_nothing_for_members(workshop: Workshop) -> None:
    ada, eve = workshop.member("ada"), workshop.member("eve")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    await eve.slash(workshop.channel, "report", message=str(job.destination.message_id))
    message = workshop.message(job.destination.message_id)
    shown = workshop.env.backend.get_message(message.channel.id, message.id)
    for door in [door.removeprefix("press:") for door in FOR_MODERATORS if door.startswith("press:")]:
        custom_id = f"a2:{door}:1:0"
        shown.components = [
            {"type": 1, "components": [{"type": 2, "style": 2, "label": "Forged", "custom_id": custom_id}]}
        ]
        answer = await eve.click(message, custom_id=custom_id)
        assert answer.ephemeral, door
        assert answer.response.content.startswith(("Only members with Manage Server", "This button has expired")), door
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases UNION SELECT 1 FROM rules") == []
    assert len(await workshop.app.queue.pictures(job.id)) == 1
