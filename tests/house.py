"""A workshop on a real engine process that outlives it, and people who press all that they see.

The bot is restarted on its data folder, or killed: then the next one finds the files as SIGKILL leaves them.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import av
import discord
import PIL.Image
import simcord

from bot.app import files_of_engines
from bot.config import Config
from bot.engine.local import LocalEngine
from bot.jobs import Job
from cogs._buttons import CustomId
from tests.conftest import Workshop

Forms = Mapping[str, Mapping[str, Any]]
"""What is sent with each form, by its action."""


class House(Workshop):
    """A workshop whose engine is not its own."""

    def __init__(self, config: Config, engine: LocalEngine) -> None:
        super().__init__(config, engine)
        self._process = engine
        self._lives = 1

    async def restart(self, engine: Any = None) -> None:
        """Stop the bot as a host does, and start another. Its engine would be a new one, which knows no old orders."""
        for job_id in list(self._process._open):
            self._process.cancel(job_id)
        await super().restart()

    async def kill(self, *, engine: bool = False) -> None:
        """Kill the bot, and start another one on the files as they are at this moment.

        With `engine` its process is killed, too, as it ends when the bot is gone. Without, it must have no orders.
        """
        self._lives += 1
        left = self._config.data.with_name(f"life {self._lives}")

        async def copied(_: Any) -> None:
            # Nothing is being committed now, and what the old bot still does changes only its own folder.
            await asyncio.to_thread(shutil.copytree, self._config.data, left)

        assert engine or not self._process.is_busy
        await self.app.database.write(copied)
        if engine:
            assert self._process.pid is not None
            os.kill(self._process.pid, signal.SIGKILL)
        self._config = self._config.model_copy(update={"data": left})
        await super().restart()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The engine process stands still in the body."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    async def lives(self) -> AsyncIterator[str]:
        """The life that is on, one after a restart, and one after a kill."""
        yield "first"
        await self.restart()
        yield "restarted"
        await self.kill()
        yield "killed"

    def room(self, name: str) -> simcord.ChannelHandle:
        """A new channel, where everything happens from now on."""
        self.channel = self.guild.create_text_channel(name)
        return self.channel

    async def newest(self) -> int:
        """The number of the newest job."""
        (row,) = await self.app.database.fetch_all("SELECT coalesce(max(id), 0) AS id FROM jobs")
        return int(row["id"])

    async def since(self, number: int) -> list[Job]:
        """The jobs after one, once all of them have ended and their messages say so."""

        async def over() -> list[Job]:
            jobs = [job for job in await self.jobs() if job.id > number]
            return jobs if all(job.posted_at is not None for job in jobs) else []

        return await self.until(over)

    def posts(self) -> list[discord.Message]:
        """The messages of the channel, the oldest first."""
        return sorted(self.channel.history(), key=lambda message: message.id)

    def post(self, job: Job) -> discord.Message:
        """The message that shows a job."""
        assert job.destination.message_id is not None
        return self.message(job.destination.message_id)


@asynccontextmanager
async def engine_of(config: Config) -> AsyncIterator[LocalEngine]:
    """A running engine process with the models of a configuration."""
    files = files_of_engines(config.data)
    engine = LocalEngine(config, provenance=files.provenance, known_files=files.known_files)
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True, slots=True)
class Control:
    """A button or a menu under a message."""

    custom_id: str
    label: str
    values: Sequence[str]

    @property
    def action(self) -> str:
        """What it does."""
        known = CustomId.parse(self.custom_id)
        assert known is not None, self.custom_id
        return known.action


def controls(message: Any) -> list[Control]:
    """What can be pressed under a message."""
    rows = [row if isinstance(row, dict) else row.to_dict() for row in message.components]
    return [
        Control(each["custom_id"], each.get("label") or "", [option["value"] for option in each.get("options", ())])
        for row in rows
        for each in row["components"]
    ]


@dataclass
class Answers:
    """What a person got for each action that they found, in the order of pressing."""

    words: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What the files are, as `described` says."""
    public: list[str] = field(default_factory=list)
    """The actions whose answer everybody sees."""


async def press_all(
    house: House, who: simcord.MemberActor, message: Any, forms: Forms, depth: int = 3, never: Collection[str] = ()
) -> Answers:
    """Press each control of a message once, and those of what that shows to the person, `depth` messages deep."""
    answers, seen, waiting = Answers(), set[str](), [(message, 1)]
    while waiting:
        message, level = waiting.pop(0)
        for each in controls(message):
            # What was pressed before may have changed the message.
            now = house.env.backend.get_message(house.channel.id, message.id)
            if each.custom_id in seen or each.action in never or each not in controls(now):
                continue
            seen.add(each.custom_id)
            shown = await press(house, who, message, each, forms, answers)
            if shown.ephemeral and level < depth:
                waiting.append((shown, level + 1))
    return answers


async def press(
    house: House, who: simcord.MemberActor, message: Any, control: Control, forms: Forms, answers: Answers
) -> Any:
    """Press one control, look at what that shows, and note it."""
    if control.values:
        result = await who.select(message, [control.values[0]], custom_id=control.custom_id)
    else:
        result = await who.click(message, custom_id=control.custom_id)
    if result.modal:
        known = CustomId.parse(result.modal["custom_id"])
        assert known is not None
        result = await who.submit_modal(result, dict(forms[known.action]))
    shown = last(result)
    assert result.acknowledged, control
    assert shown is not None, control
    assert shown.content or shown.attachments, control
    assert "Something broke" not in shown.content, (control, shown.content)
    answers.words[control.action].append(shown.content)
    answers.files[control.action] += await files_of(house, shown)
    if not shown.ephemeral:
        answers.public.append(control.action)
    return shown


def last(answer: Any) -> Any:
    """The last message of an answer."""
    return answer.followups[-1] if answer.followups else answer.response


async def files_of(house: House, message: Any) -> list[str]:
    """What the files of a message are; each can be decoded, and each but a text says in words what it shows."""
    found = []
    for each in message.attachments:
        with house.env.time_context():
            data = await each.read()
        found.append(described(data))
        assert each.description or each.filename.endswith(".txt"), each.filename
    return found


def described(data: bytes) -> str:
    """What a file is: its kind, its size in pixels, and how many frames or pages it has. It is decoded whole."""
    if data.startswith(b"%PDF"):
        assert data.rstrip().endswith(b"%%EOF")
        return f"PDF {data.count(b'/Type /Page') - data.count(b'/Type /Pages')}"
    if data[4:8] == b"ftyp":
        with av.open(io.BytesIO(data)) as film:
            frames = list(film.decode(video=0))
        return f"MP4 {frames[0].width}x{frames[0].height} {len(frames)}"
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            count = getattr(picture, "n_frames", 1)
            for number in range(count):
                picture.seek(number)
                picture.load()
            return f"{picture.format} {picture.width}x{picture.height} {count}"
    except PIL.UnidentifiedImageError:
        return f"text {data.decode()}"
