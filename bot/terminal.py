"""`atelier imagine`: one picture at the command line, through the same admission, queue, engine and usage log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bot.app import App, open_app
from bot.config import Config, LimitsConfig
from bot.delivery.poster import Repost, Shown
from bot.errors import Reference, UserError, format_references
from bot.jobs import (
    NO_GUILD,
    Cancelled,
    ChannelId,
    Destination,
    Failed,
    Image,
    Job,
    MessageId,
    News,
    Painted,
    Painting,
    Requester,
    Retrying,
    Surface,
    Upload,
    UserId,
)
from bot.money import roughly
from bot.policy.limits import Origin
from bot.requests.admission import Quote
from bot.requests.improver import NOTHING_KNOWN
from bot.requests.options import Options
from bot.requests.uploads import MOST_BYTES, UPLOAD_NAMES, inspect

HOST = Requester(UserId(0), NO_GUILD)
"""The person at the terminal, who is a member of no server."""

# The host needs no limits on their own engine; what all together may spend holds here, too.
_UNLIMITED = LimitsConfig(
    pace=10_000, depth=10_000, quota=1_000_000, money=1_000_000, server_money=1_000_000, pixels=2**26
)

_LOOK_SECONDS = 1.0
"""The longest time between two checks whether the engine can start."""


def _origin(text: str) -> str:
    decided = Origin.parse(text)
    return "this bot's default" if decided.scope is None else f"the rule for {_subject(text)}"


def _subject(text: str) -> str:
    about = Origin.parse(text)
    return f"{about.scope} {about.subject_id}" if about.subject_id else f"the {about.scope or 'host'}"


_FORMATTERS: Mapping[Reference, Callable[[str], str]] = {
    Reference.ORIGIN: _origin,
    Reference.SUBJECT: _subject,
    Reference.TIME: lambda text: f"at {datetime.fromisoformat(text).astimezone():%H:%M}",
    Reference.COMMAND: lambda text: f"/{text}",
    Reference.OPTION: lambda text: text,
    Reference.WILDCARD: lambda text: f"__{text}__",
}


def said(sentence: str) -> str:
    """A sentence in English, with its references in plain words."""
    return format_references(sentence, _FORMATTERS)


class TerminalPoster:
    """Shows a job as a progress bar; `ending` is how the job ended, or None until then."""

    def __init__(self, console: Console) -> None:
        self.ending: News | None = None
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self.progress.add_task("Starting the engine", total=None)

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:  # noqa: ARG002 - one job, one bar
        """Move the bar, or store how the job ended."""
        match news:
            case Painting(step=step, of=of):
                self.progress.update(self._task, description=f"Painting, step {step} of {of}", completed=step, total=of)
            case Retrying():
                provider = job.request.provider
                why = f"{provider} did not finish" if provider else "The engine was restarted"
                self.progress.update(self._task, description=f"{why}; trying again", completed=0)
            case Painted():
                self.ending = news
                self.progress.update(self._task, description="Done", total=1, completed=1)
            case Failed() | Cancelled():
                self.ending = news
                self.progress.update(self._task, description="Not painted", total=1, completed=0)
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing to a picture."""

    async def remove(self, job: Job) -> None:
        """Do nothing: a terminal has no message to delete."""


async def imagine(
    config: Config,
    options: Options,
    files: Mapping[str, Path],
    output: Path | None,
    console: Console,
    *,
    asks: bool = True,
) -> list[Path]:
    """Paint what `options` ask for and write it to `output`; returns the files written, in the order of the seeds.

    `files` are the pictures that the request starts from, by the names of their options: image, mask and control.
    With `asks`, what costs more than `bill.money` is painted only after a yes on standard input.
    Raises UserError if no picture was painted or the files cannot be read or written.
    """
    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"The picture cannot be written to {output}: name a PNG file, like apple.png.")
    options = options.with_uploads({role: _opened(UPLOAD_NAMES[role], path) for role, path in files.items()})
    limits = _UNLIMITED.model_copy(update={"host_money": config.limits.host_money})
    config = config.model_copy(update={"limits": limits})
    async with open_app(config, Surface.TERMINAL) as app:
        poster = TerminalPoster(console)
        app.delivery.attach(poster)
        try:
            quote = await app.admission.quote(HOST, options, Destination(ChannelId(0), MessageId(0)))
            if asks and quote.micros and quote.is_big:
                await _ask(quote, console)
            admitted = await app.admission.admit(quote)
        except UserError as error:
            raise UserError(said(str(error))) from error
        assert admitted is not None  # noqa: S101 - only interactions can repeat
        notes = (*admitted.notes, *([NOTHING_KNOWN] if quote.enhance else ()))
        if quote.micros and quote.is_big and not asks:
            notes = (*notes, f"about {roughly(quote.micros)}, an estimate")
        for note in notes:
            console.print(f"note: {said(note)}")
        with poster.progress:
            job = await _ended(app, admitted.job)
        if not isinstance(poster.ending, Painted):
            raise UserError(said(job.reason or "The picture was cancelled."))
        return _write(poster.ending.images, output or Path(f"atelier-{job.id}.png"))


async def _ask(quote: Quote, console: Console) -> None:
    """Ask before something dear is painted. Raises UserError without a yes."""
    provider = quote.request.provider
    cost = f"{roughly(quote.micros)}. This is an estimate: {provider} says afterwards what it costs"
    console.print(f"This costs about {cost}. Paint it? [y/N] ", end="", markup=False)
    if (await _typed()).strip().lower() not in ("y", "yes"):
        raise UserError("Nothing was painted, and it costs nothing. With --yes it is painted without this question.")


async def _typed() -> str:
    """The next line of standard input; empty at its end. Ctrl-C is obeyed meanwhile."""
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        loop.add_reader(sys.stdin, ready.set)
    except PermissionError:
        # A file is always ready.
        return sys.stdin.readline()
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def _opened(what: str, path: Path) -> Upload:
    """The picture in a file. Raises UserError if it cannot be read or is no picture."""
    try:
        with path.open("rb") as file:
            # One byte over the limit is enough to see that the file is too large.
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    return inspect(what, data)


async def _ended(app: App, job: Job) -> Job:
    """Wait until the end of the job was shown, and return the job. Raises UserError if the engine cannot start."""
    changed = app.database.listen()
    while True:
        changed.clear()
        now = await app.queue.get(job.id)
        if now is not None and now.posted_at is not None:
            return now
        if words := app.engine.troubles.get(""):
            raise UserError(words)
        if app.line.is_drained(job.request.model):
            raise UserError("Every engine for this is drained. To bring one back: atelier engines --bring-back NAME")
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await changed.wait()


def _write(images: tuple[Image, ...], output: Path) -> list[Path]:
    paths = [output, *(output.with_stem(f"{output.stem}-{n}") for n in range(2, len(images) + 1))]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for path, image in zip(paths, images, strict=True):
            path.write_bytes(image.png)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written: {error.strerror}.") from error
    return paths
