"""The fixture `workshop` of most tests: the real client on an in-process Discord, a real database, any engine.

The app is opened outside simcord's bot scope, as in the sandbox: its background tasks then run in real time, and
simcord waits only for Discord callbacks.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import hypothesis
import psutil
import pytest
import simcord

from bot import logs
from bot.app import App, open_app
from bot.client import PERMISSIONS, Client
from bot.config import EMBEDDED_MODEL, Config
from bot.engine import Engine
from bot.engine.catalog import folder_of
from bot.engine.fake import FakeEngine
from bot.engine.model_files import recognise
from bot.engine.model_files.folder import Folder
from bot.errors import AtelierError
from bot.jobs import GuildId, Job, JobId, JobStatus, Requester, Surface, UserId, utcnow
from bot.worker import reveal
from cogs import feedback

PATIENCE_SECONDS = 60

# CI uses fixed examples, so that the same change gives the same result every time; random ones run elsewhere.
# No example has a deadline, because a busy machine may stand still for a moment.
hypothesis.settings.register_profile("anywhere", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


class Workshop:
    """A server with a channel, members and the bot; the bot can be restarted."""

    def __init__(self, config: Config, engine: Engine | None) -> None:
        self._config = config
        self._engine = engine
        self._opened = AsyncExitStack()
        self.foreseen: tuple[type[Exception], ...] = (AtelierError,)
        """The errors that callbacks may raise: messages for people, and those that a test adds."""
        self.interaction_age = 0.0
        """How old interactions are when they come, in seconds."""
        self.ahead = timedelta()
        """How far the clock of the app is ahead of the real one."""
        self.app: App
        self.env: simcord.Env
        self.guild: simcord.GuildHandle
        self.channel: simcord.ChannelHandle

    async def open(self) -> None:
        """Open the app, connect the client and set up the server."""
        self.app = await self._opened.enter_async_context(self._new_app(self._engine))
        self.env = simcord.Env(self._client(), settle_timeout=PATIENCE_SECONDS)
        await self.env.start()
        self.guild = self.env.create_guild("Workshop")
        self.members = self.guild.create_role(
            "members",
            permissions=discord.Permissions(PERMISSIONS.value) | discord.Permissions(use_application_commands=True),
        )
        self.moderators = self.guild.create_role(
            "moderators", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
        )
        self.channel = self.guild.create_text_channel("easel")

    async def close(self) -> None:
        """Disconnect and close everything."""
        await self.env.shutdown()
        await self._opened.aclose()
        bugs = [error for error in self.env.errors if not isinstance(getattr(error, "original", error), self.foreseen)]
        if bugs:
            raise ExceptionGroup("the bot raised what no test foresaw", bugs)

    async def restart(self, engine: Engine | None = None) -> None:
        """Stop the bot and start another on the same data folder; the server and its messages stay."""
        await self._opened.aclose()
        self._opened = AsyncExitStack()
        self.app = await self._opened.enter_async_context(self._new_app(engine or self._engine))
        await self.env.restart_bot(self._client())

    def _new_app(self, engine: Engine | None) -> AbstractAsyncContextManager[App]:
        return open_app(self._config, Surface.DISCORD, engine=engine, clock=lambda: utcnow() + self.ahead)

    def _client(self) -> Client:
        """A client; simcord's clock stands still while no test moves it, so its interactions seem older and older."""
        client = Client(self.app)
        client.age_of = lambda _: self.interaction_age  # type: ignore[method-assign]
        return client

    def member(self, name: str, *, moderator: bool = False) -> simcord.MemberActor:
        """A new member of the server."""
        roles = [self.members, self.moderators] if moderator else [self.members]
        return self.guild.add_member(self.env.create_user(name), roles=roles)

    def elsewhere(self) -> tuple[simcord.MemberActor, simcord.ChannelHandle]:
        """A moderator of another server, and a channel there."""
        guild = self.env.create_guild("Elsewhere")
        keys = guild.create_role("keys", permissions=discord.Permissions(manage_guild=True))
        return guild.add_member(self.env.create_user("other"), roles=[keys]), guild.create_text_channel("easel")

    async def open_group(self, name: str, actor: simcord.MemberActor) -> None:
        """Let an administrator open a group of commands to a member."""
        with self.env.time_context():
            group = next(c for c in await self.env.bot.tree.fetch_commands() if c.name == name)
        self.guild.set_command_permissions(group, {actor: True})

    def requester(self, actor: simcord.MemberActor) -> Requester:
        """The member as a Requester."""
        return Requester(UserId(actor.id), GuildId(self.guild.id))

    async def seen(self, condition: Callable[[], Any]) -> Any:
        """Wait until people see what makes the condition true, such as what follows a result; returns its value."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := condition()):  # noqa: ASYNC110 - the simulated Discord tells of no change
                await asyncio.sleep(0.01)
        return found

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until a change of the database makes the condition true; returns its value."""
        changed = self.app.database.listen()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                changed.clear()
                if found := await condition():
                    return found
                await changed.wait()

    async def jobs(self) -> list[Job]:
        """Every job, oldest first."""
        rows = await self.app.database.fetch_all("SELECT * FROM jobs_with_post ORDER BY id")
        return [Job.from_row(row) for row in rows]

    async def ended(self, count: int = 1) -> list[Job]:
        """Wait until `count` jobs have ended and their messages say so; returns them in the order of asking."""

        async def all_posted() -> list[Job]:
            posted = [job for job in await self.jobs() if job.posted_at is not None]
            return posted if len(posted) >= count else []

        return await self.until(all_posted)

    async def reached(self, job_id: JobId, status: JobStatus) -> Job:
        """Wait until a job is in a state."""

        async def there() -> Job | None:
            job = await self.app.queue.get(job_id)
            return job if job is not None and job.status is status else None

        return await self.until(there)

    def message(self, message_id: int) -> discord.Message:
        """The message as the channel shows it."""
        return next(message for message in self.channel.history() if message.id == message_id)

    def edits(self, message_id: int) -> list[str]:
        """The contents of a message, edit by edit."""
        return [
            entry.json["content"]
            for entry in self.env.http_requests
            if entry.method == "PATCH" and entry.path.endswith(f"/messages/{message_id}")
        ]


# Each workshop loads all cogs, and some tests start processes: to compile them anew would take half of the time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Some tests keep models in fewer bits in this process, so that what this needs must be found before diffusers comes.
reveal(("torchao", "bitsandbytes"))
# After a restart simcord waits until the reactions of all results were read again, which takes a second for each.
feedback.READ_SECONDS = 0.0


_BOX = Path(folder_of(EMBEDDED_MODEL))
_recognise_folder = recognise.recognise_folder
_recognise_box = functools.cache(_recognise_folder)


def _recognise(source: Path, gguf: Path | None = None) -> Folder:
    return _recognise_box(source) if source == _BOX and gguf is None else _recognise_folder(source, gguf)


# Every app looks at the model in the box as it opens, and it is always the same.
recognise.recognise_folder = _recognise

LONG = (
    "tests/faults/",
    "tests/training/",
    "tests/test_",
    "tests/bot/engine/",
    "tests/bot/worker/",
    "tests/bot/try_page/",
)
"""Where the files are that take longest: they start processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_collection_finish() -> None:
    """Keep the modules, torch among them, out of every collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def no_process_left() -> Iterator[None]:
    """The tests of a file end the processes that they start: one that is left disturbs tests of other files."""
    own = psutil.Process()
    before = set(own.children())
    yield
    # This one keeps what processes share, and lives as long as the one that started it.
    left = {
        child: words
        for child in own.children()
        if child not in before and "resource_tracker" not in (words := _command(child))
    }
    _, alive = psutil.wait_procs(left, timeout=PATIENCE_SECONDS)
    for child in alive:
        child.kill()
    psutil.wait_procs(alive)
    assert [left[child] for child in alive] == []


def _command(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the people of another test wrote is not cut out of this one's log."""
    monkeypatch.setattr(logs, "_hidden", logs.HiddenTexts())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The built-in defaults, with a data folder for this test."""
    return Config(data=tmp_path / "data")


@pytest.fixture
def engine() -> FakeEngine:
    """An engine without weights."""
    return FakeEngine()


@pytest.fixture
async def workshop(config: Config, engine: FakeEngine) -> AsyncIterator[Workshop]:
    """A workshop that paints flat colours."""
    workshop = Workshop(config, engine)
    await workshop.open()
    yield workshop
    await workshop.close()


@pytest.fixture
async def real_workshop(config: Config) -> AsyncIterator[Workshop]:
    """A workshop with the real engine process and the built-in model."""
    workshop = Workshop(config, None)
    await workshop.open()
    yield workshop
    await workshop.close()
