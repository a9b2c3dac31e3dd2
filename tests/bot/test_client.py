"""The client: its cogs, its commands, and what people are told when something breaks."""

from __future__ import annotations

from pathlib import Path

from bot.client import EXTENSIONS
from tests.conftest import Workshop


async def test_every_cog_file_is_loaded_and_command_names_are_unique(workshop: Workshop) -> None:
    files = {path.stem for path in Path("cogs").glob("*.py") if not path.name.startswith("_")}
    assert {name.removeprefix("cogs.") for name in EXTENSIONS} == files
    names = [command.qualified_name for command in workshop.env.bot.tree.walk_commands()]
    assert sorted(names) == sorted(set(names))
    assert {"imagine", "queue", "cancel", "limits set", "limits show", "limits clear", "stats"} <= set(names)


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
    assert record.exc_info is not None
