"""The bot's side of the process that searches: starts it, tells it what changed, and asks it.

Everything that takes time happens there, so that the event loop waits for a pipe and for nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.errors import StorageError, UserError
from bot.jobs import GuildId, JobId, PictureRef, Surface
from bot.language import sentence
from bot.search.index_files import delete
from bot.search.queries import Query
from bot.search.sent import SentLook
from bot.search.visibility import Seer
from bot.search.wire import Hit, query_as_data
from bot.storage import search_changes
from bot.storage.database import Database

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""When the process is started if nobody searches: the first minute of a bot is busy enough."""

GATHERED_SECONDS = 0.5
"""How long changes are gathered before they are told."""

RETRY_SECONDS = 30.0

FIND_SECONDS = 20.0
"""How long a search may take on a small machine that also paints."""

END_SECONDS = 2.0
"""How long the process may take to end; the index is good whenever it is killed."""

PATIENCE_SECONDS = 3.0
"""How long a search waits for an index that is being built: a small one is built by then."""

MOST_WAITING = 16
"""Searches that wait at once; each takes some hundredths of a second."""

_TOLD = 5000
"""Jobs in one message."""

_ENDED = sentence("The process that searches ended.")

BUSY = "Many people search right now. Try again in a moment."
BROKEN = "Search does not work at the moment. The log of the host says why; your results are still there."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found, the best first, and what people should know about the index."""

    hits: tuple[Hit, ...]
    is_building: bool
    """Whether the index is being built anew, so that results may be missing."""
    progress: float
    """How much of it is built, in 0…1."""
    has_meaning: bool
    """Whether results are also found by their meaning."""
    unseen: int = 0
    """Pictures that have not been looked at yet, so that others do not find them by how they look."""


class Search:
    """Searches over the results of one surface; `run` is the task that keeps the index up to date."""

    def __init__(
        self, database: Database, index: Path, file: Path, key: str | None, surface: Surface, likeness: str = ""
    ) -> None:
        """`likeness` is the folder of the host's model that compares pictures, if there is one."""
        self._database = database
        self._index = index
        self._head = {
            "kind": "start",
            "index": str(index),
            "database": str(file),
            "key": key,
            "surface": surface,
            "likeness": likeness,
        }
        self._process: Process | None = None
        self._asking = asyncio.Lock()
        self._exchanges: set[asyncio.Task[dict[str, Any]]] = set()
        self._is_closed = False
        self._waiting = 0
        self._wanted = asyncio.Event()
        self._touched: set[int] = set()

    async def run(self) -> None:
        """Tell the process what changed, for ever. It is started by the first search, or a while after the start."""
        await search_changes.watch(self._database, self._touched.add)
        changed = self._database.listen()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await self._wanted.wait()
            while True:
                try:
                    await self._tell()
                except (ChildFailed, StorageError) as error:
                    log.warning("the search index is not up to date: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                await changed.wait()
                await asyncio.sleep(GATHERED_SECONDS)
                changed.clear()
        finally:
            await self.close()

    async def _tell(self) -> None:
        # A process that starts compares everything by itself.
        told = set(self._touched)
        wanted = sorted(told)
        for some in [wanted[at : at + _TOLD] for at in range(0, len(wanted), _TOLD)] or [[]]:
            await self._ask({"kind": "update", "ids": some}, None)
        self._touched -= told

    async def find(
        self,
        query: Query,
        seer: Seer,
        without: JobId | None = None,
        *,
        look: SentLook | None = None,
        picture: PictureRef | None = None,
    ) -> Answer:
        """Search; also for results that look like a picture that was sent, or like a picture of a result.

        Raises UserError if too many people search, or if search does not work.
        """
        await self._tell_what_is_new()
        order = {
            "kind": "find",
            "query": query_as_data(query),
            "seer": seer.as_data(),
            "without": without or 0,
            "look": None if look is None else asdict(look),
            # What is about a whole result is about its first picture.
            "picture": None if picture is None else [picture.job_id, max(picture.number, 1)],
        }
        answer = await self._asked(order)
        hits = tuple(Hit.from_data(hit) for hit in answer["hits"])
        return Answer(hits, answer["is_building"], answer["progress"], answer["has_meaning"], answer["unseen"])

    async def same(self, seer: Seer) -> list[list[PictureRef]]:
        """Groups of pictures that are the same but for compression and size, the largest groups first.

        In a group the oldest picture is first. Raises UserError as `find` does.
        """
        await self._tell_what_is_new()
        answer = await self._asked({"kind": "same", "seer": seer.as_data()})
        return [[PictureRef(JobId(name), number) for name, number in group] for group in answer["groups"]]

    async def _tell_what_is_new(self) -> None:
        if self._touched:
            with suppress(ChildFailed, StorageError):
                await self._tell()

    async def channels(self, guild_id: GuildId | None) -> list[tuple[int, int | None]]:
        """The channels of a server, or of all, that have results; a thread with its parent channel.

        Raises UserError as `find` does.
        """
        answer = await self._asked({"kind": "channels", "guild_id": guild_id})
        return [(channel_id, parent_id) for channel_id, parent_id in answer["channels"]]

    async def _asked(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._waiting >= MOST_WAITING:
            raise UserError(BUSY)
        self._waiting += 1
        self._wanted.set()
        try:
            return await self._ask(order | {"patience": PATIENCE_SECONDS}, FIND_SECONDS)
        except (ChildFailed, StorageError) as error:
            log.error("a search failed: %s", error)  # noqa: TRY400
            raise UserError(BROKEN) from error
        finally:
            self._waiting -= 1

    async def finish(self, *, looks: bool = False) -> int:
        """Wait until the index is up to date; returns how many results it has. Raises ChildFailed or StorageError.

        With `looks`, also until every picture has been looked at.
        """
        await self._tell()
        return int((await self._ask({"kind": "finish", "looks": looks}, None))["count"])

    async def rebuild(self) -> int:
        """Build the index anew; returns how many results it has. Raises ChildFailed or StorageError."""
        return int((await self._ask({"kind": "rebuild"}, None))["count"])

    async def dump(self) -> dict[str, Sequence[Sequence[Any]]]:
        """Everything in the index, for comparisons."""
        found: dict[str, Sequence[Sequence[Any]]] = (await self._ask({"kind": "dump"}, None))["dump"]
        return found

    async def erase(self) -> None:
        """Leave nothing in the index of what was deleted from the database. Raises StorageError."""
        if self._process is not None:
            try:
                await self._ask({"kind": "erase"}, None)
            except (ChildFailed, StorageError) as error:
                log.warning("the search index is deleted, because it cannot be cleaned: %s", error)
            else:
                return
            await self.end_process()
        try:
            await asyncio.to_thread(delete, self._index)
        except OSError as error:
            raise StorageError(f"{self._index} cannot be deleted: {error.strerror}.") from error

    @property
    def process_id(self) -> int | None:
        """The process that searches, while there is one."""
        return None if self._process is None else self._process.pid

    async def close(self) -> None:
        """End the process, and refuse what is asked of it now and later."""
        self._is_closed = True
        # The caller of an exchange may be gone, and what goes on could start a process.
        exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()
        try:
            await asyncio.gather(*exchanges, return_exceptions=True)
        finally:
            await self.end_process()

    async def end_process(self) -> None:
        """End the process; the next question starts another."""
        process, self._process = self._process, None
        if process is not None:
            await child.end(process, END_SECONDS)

    async def _ask(self, order: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        if self._is_closed:
            raise ChildFailed(_ENDED)
        # A caller that is cancelled must not leave an answer in the pipe for the next one.
        exchange = asyncio.create_task(self._exchanged(order, seconds))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if exchange.cancelled() and not (caller and caller.cancelling()):
                raise ChildFailed(_ENDED) from error
            raise

    async def _exchanged(self, order: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        async with self._asking:
            try:
                async with asyncio.timeout(seconds):
                    process = await self._started()
                    return await self._exchange(process, order)
            except TimeoutError as error:
                await self.end_process()
                raise ChildFailed(
                    sentence("The search did not end within {seconds:.0f} s.", seconds=seconds)
                ) from error
            except (OSError, BadFrame) as error:
                await self.end_process()
                raise ChildFailed(_ENDED) from error

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            process = await child.start("bot.search.process")
            try:
                ready = await self._message(process, self._head)
            except BaseException:
                await child.end(process)
                raise
            if ready["kind"] != "ready":
                await child.end(process)
                raise StorageError(f"The search index cannot be opened: {ready['words']}")
            self._process = process
        return self._process

    async def _exchange(self, process: Process, order: dict[str, Any]) -> dict[str, Any]:
        answer = await self._message(process, order)
        if answer["kind"] == "failed":
            raise StorageError(answer["words"])
        return answer

    async def _message(self, process: Process, order: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101 - as well
        process.stdin.write(framing.pack(order))
        await process.stdin.drain()
        message = await framing.read_async(process.stdout)
        if message is None:
            raise BadFrame("the pipe ended")
        header, body = message
        answer: dict[str, Any] = json.loads(body) if body else header
        return answer
