"""The stage of the sweep: a local Discord, a data folder, and a bot that is started again after each kill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.faults.invariants import GALLERY, LOG
from tests.local_discord import ADA, CHANNEL, DIRECT, Interaction, LocalDiscord, Message, Person, local_discord

ROOT = Path(__file__).parents[2]
TOKEN = "canary.of.the.token"

PATIENCE_SECONDS = 60.0
"""How long to wait for an event that must happen, with time for restarts and a busy machine."""

CONFIG = """
log_level = "debug"

[discord]
ping_after_seconds = 1
posts_per_channel = 50

[limits]
pace = 10000
depth = 1000
quota = 100000
"""

Row = dict[str, Any]


class Stuck(Exception):  # noqa: N818
    """An event that must happen did not."""


class Reaction(NamedTuple):
    """A reaction, and the life of the bot in which it was told about it; None means never."""

    message: str
    person: str
    emoji: str
    stands: bool
    life: int | None


class Stage:
    """People who use the bot, and the bot process."""

    def __init__(self, discord: LocalDiscord, folder: Path, crash_at: int = 0, speed: float = 1.0) -> None:
        self.discord = discord
        self.folder = folder
        self.speed = speed
        """How many of the bot's seconds pass in one of ours."""
        self.deaths = 0
        self.reactions: list[Reaction] = []
        self.forgotten: list[str] = []
        """Words from prompts that are to be deleted."""
        self.process: asyncio.subprocess.Process | None = None
        self._crash_at = crash_at
        self._stopping = False
        self._restarting = False

    @property
    def data(self) -> Path:
        """The bot's data folder."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything the bot logged."""
        return (self.folder / "log").read_text(encoding="utf-8")

    async def live(self) -> None:
        """Run the bot, and start it again after each kill. Raises Stuck when it ends by itself."""
        (self.folder / "config.toml").write_text(CONFIG)
        arguments = ["run", "--config", str(self.folder / "config.toml"), "--data", str(self.data)]
        while True:
            with (self.folder / "log").open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.faults.victim", *self.discord.addresses(), str(self.folder)),
                    *arguments,
                    stderr=log,
                    cwd=ROOT,
                    env={
                        **os.environ,
                        # The invariants read the rows and search the bytes of the files.
                        "ATELIER_ENCRYPT": "false",
                        "DISCORD_TOKEN": TOKEN,
                        "CRASH_AT": str(self._crash_at),
                        "SPEED": str(self.speed),
                    },
                )
            try:
                code = await self.process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
                raise
            if code == -signal.SIGKILL:
                self.deaths += 1
                self._crash_at = 0
            elif code == 0 and self._restarting:
                self._restarting = False
            elif code == 0 and self._stopping:
                return
            else:
                raise Stuck(f"the bot ended with {code}: {self.log[-2000:]}")

    def kill(self) -> None:
        """Kill the bot now."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def restart(self) -> None:
        """Stop the bot as a host does; it is started again once it has ended."""
        process = self.process
        assert process is not None
        self._restarting = True
        process.terminate()
        await process.wait()

    async def until(self, condition: Callable[[], Any], words: str) -> None:
        """Wait until the condition is true; raises Stuck with `words`."""
        try:
            await self.discord.until(condition, PATIENCE_SECONDS)
        except TimeoutError:
            raise Stuck(f"{words}; Discord shows {[m.content for m in self.discord.public()]}") from None

    async def ask(self, person: Person, prompt: str, channel: str = CHANNEL, **options: Any) -> Message:
        """Let a person ask, again and again, until the bot answers. Returns the answer."""

        async def type_() -> Interaction:
            return await self.discord.type("imagine", person, channel, prompt=prompt, **options)

        answer = await self._insist(type_, lambda: False)
        assert answer is not None
        if not answer.public:
            raise Stuck(f"{prompt!r} was refused: {answer.content}")
        return answer

    async def accept(self, ask: Callable[[], Awaitable[Interaction]]) -> Message:
        """Let Ada ask for several pictures and accept their bill, again and again, until she sees that it was taken."""
        while True:
            bill = await self._insist(ask, lambda: False)
            assert bill is not None
            if not bill.buttons():
                raise Stuck(f"no bill: {bill.content}")
            pressed = await self.discord.press(bill, bill.buttons()[0], ADA)

            def settled(pressed: Interaction = pressed) -> bool:
                return pressed.answer is not None or self.discord.identified > pressed.life

            await self.until(settled, "a bill was not answered")
            if pressed.answer is not None and pressed.answer.public:
                return pressed.answer

    async def cancel(self, person: Person, message: Message) -> Message | None:
        """Let a person press a message's button until the bot answers or the button is gone. Returns the answer."""
        return await self._insist(
            lambda: self.discord.press(message, message.cancels()[0], person), lambda: not message.cancels()
        )

    async def forget(self, person: Person, *words: str) -> None:
        """Let a person, who asked with these words, delete everything about them, until the bot says that it is done.

        If the bot does not answer, or a restart made it forget its question, the person starts again.
        """
        while True:

            async def type_() -> Interaction:
                return await self.discord.type("privacy delete", person)

            question = await self._insist(type_, lambda: False)
            assert question is not None
            pressed = await self.discord.press(question, question.buttons()[0], person)

            def settled(pressed: Interaction = pressed) -> bool:
                return pressed.answer is not None or self.discord.identified > pressed.life

            await self.until(settled, "a deletion was not answered")
            if pressed.answer is question:
                self.forgotten += words
                return

    async def report(self, person: Person, message: Message, reason: str) -> None:
        """Let a person report a result until the bot has taken it; a message just posted may not be noted yet."""

        async def type_() -> Interaction:
            return await self.discord.type("report", person, message.channel, message=message.id, reason=reason)

        for _ in range(20):
            answer = await self._insist(type_, lambda: False)
            assert answer is not None
            if answer.content.startswith(("Reported", "You have reported")):
                return
            await asyncio.sleep(0.1)
        raise Stuck(f"a report was not taken: {answer.content}")

    async def dismiss(self, person: Person) -> None:
        """Let a moderator look at the oldest report and dismiss it, until the bot answers."""

        async def type_() -> Interaction:
            return await self.discord.type("mod reports", person)

        while True:
            shown, life = await self._insist(type_, lambda: False), self.discord.identified
            assert shown is not None

            # The bot first says that it will show one.
            def settled(shown: Message = shown, life: int = life) -> bool:
                return bool(shown.buttons()) or self.discord.identified > life

            await self.until(settled, "no report was shown")
            if shown.buttons():
                break
        button = next(name for name in shown.buttons() if "reportdismiss" in name)
        await self._insist(lambda: self.discord.press(shown, button, person), lambda: not shown.buttons())

    async def react(self, person: Person, message: Message, emoji: str, *, stands: bool = True) -> None:
        """Let a person react, or take a reaction back; if the bot is not running, the event is lost."""
        act = self.discord.react if stands else self.discord.take_back
        told = await act(message, emoji, person)
        life = self.discord.identified if told else None
        self.reactions.append(Reaction(message.id, person.id, emoji, stands, life))

    async def ended(self, word: str) -> list[Message]:
        """Wait until requests with `word` have messages and none of them waits; returns the messages."""

        def over() -> bool:
            about = self.about(word)
            return bool(about) and not any(message.cancels() for message in about)

        await self.until(over, f"{word} did not end")
        return self.about(word)

    def about(self, word: str) -> list[Message]:
        """The public messages about requests with `word`, where people ask."""
        aside = (GALLERY, LOG, DIRECT)
        return [
            message
            for message in self.discord.public()
            if word in message.content and not message.channel.startswith(aside)
        ]

    def aside(self, channel: str) -> list[str]:
        """The first words of the prompts that are shown in the gallery or in direct messages."""
        shown = [message.content for message in self.discord.public() if message.channel == channel]
        return [re.split(r"\W+", content.strip("*"), maxsplit=1)[0] for content in shown]

    async def idle(self) -> None:
        """Wait until every job has ended and its message says so."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self._is_idle():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Stuck(f"never idle: {self.rows('SELECT * FROM jobs WHERE posted_at IS NULL')}") from None

    async def close(self) -> None:
        """Let everything end, then stop the bot as a host does; if it is killed meanwhile, repeat this."""
        while True:
            await self.idle()
            process = self.process
            assert process is not None
            self._stopping = True
            with suppress(ProcessLookupError):
                process.terminate()
            async with asyncio.timeout(PATIENCE_SECONDS):
                if await process.wait() == 0:
                    return

    def _is_idle(self) -> bool:
        alive = self.process is not None and self.process.returncode is None
        if not (alive and self.discord.connected and (self.data / "atelier.db").exists()):
            return False
        return not self.rows(
            "SELECT 1 FROM jobs WHERE posted_at IS NULL OR forgotten_at IS NOT NULL AND removed_at IS NULL "
            "UNION ALL SELECT 1 FROM posts WHERE changed > shown "
            "UNION ALL SELECT 1 FROM contests WHERE changed > shown "
            "UNION ALL SELECT 1 FROM deletion_requests WHERE done_at IS NULL "
            "UNION ALL SELECT 1 FROM removals WHERE noted_at IS NULL "
            "UNION ALL SELECT 1 FROM cases WHERE logged_at IS NULL "
            "UNION ALL SELECT 1 FROM member_reports WHERE logged_at IS NULL "
            "UNION ALL SELECT 1 FROM member_reports JOIN reporters ON report_id = id "
            "WHERE ended_at IS NOT NULL AND told_at IS NULL "
            "UNION ALL SELECT 1 FROM side_messages WHERE over_at IS NULL AND (message_id IS NULL OR is_leaving)"
        )

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Read the database beside the bot, without changing a file."""
        with closing(sqlite3.connect(f"file:{self.data / 'atelier.db'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]

    async def until_rows(self, sql: str, count: int) -> None:
        """Wait until a query returns `count` rows."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self.rows(sql)) != count:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Stuck(f"{sql}: {self.rows(sql)}") from None

    def engines(self) -> list[psutil.Process]:
        """The engine processes of this stage."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = process.cmdline()
                if line[1:2] and line[1].endswith("light_engine.py") and line[2:] == [str(self.folder)]:
                    found.append(process)
        return found

    async def _insist(self, act: Callable[[], Any], needless: Callable[[], bool]) -> Message | None:
        """Repeat an action until the bot answers, or until the action is needless, because its effect is seen."""
        while True:
            await self.until(lambda: self.discord.connected, "the bot did not come back")
            if needless():
                return None
            interaction = await act()

            def settled(interaction: Interaction = interaction) -> bool:
                return interaction.answer is not None or self.discord.identified > interaction.life or needless()

            await self.until(settled, f"interaction {interaction.event['data']} was not answered")
            if interaction.answer is not None:
                return interaction.answer


@asynccontextmanager
async def open_stage(folder: Path, crash_at: int = 0, *, speed: float = 1.0) -> AsyncIterator[Stage]:
    """A stage with a running bot, which is stopped at the end; if the bot ends by itself, the body ends with Stuck."""
    async with local_discord() as discord:
        stage = Stage(discord, folder, crash_at, speed)
        body = asyncio.current_task()
        assert body is not None
        life = asyncio.create_task(stage.live())

        def ended(life: asyncio.Task[None]) -> None:
            if not life.cancelled() and life.exception() is not None:
                body.cancel()

        life.add_done_callback(ended)
        try:
            yield stage
        except asyncio.CancelledError:
            if life.done():
                life.result()
            raise
        finally:
            life.cancel()
            await asyncio.wait([life])
