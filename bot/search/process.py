"""The process that searches: `python -m bot.search.process`, started by `bot/search/client.py`.

It owns the index. Between two orders it builds what is missing, a part at a time, so that a search waits for some
hundredths of a second at most. It ends with the pipe.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from bot.engine import framing
from bot.errors import StorageError
from bot.search.finding import Known, find
from bot.search.index import Index
from bot.search.index_files import delete
from bot.search.looks import Look, Looks
from bot.search.queries import Query
from bot.search.sight import Sight
from bot.search.vectors import Embedder, Vectors, Vocabulary
from bot.search.visibility import Seer
from bot.search.wire import query_from_data
from bot.storage import sqlite
from bot.storage.picture_folder import PictureFolder
from bot.storage.sealing import seal_of

log = logging.getLogger(__name__)

EMBEDDED = 256
"""Prompts that are made vectors at a time."""

MOST_GROUPS = 200
"""Groups of pictures that are the same, in one answer."""

GROWTH = 1.1
"""The words of the index are looked at again when there are so many times as many results."""

NICENESS = 5
"""Building the index waits for everything else on the machine; a search does not, because a person waits for it."""


class SearchProcess:
    """The index, its vectors and the work that is left; one order after the other."""

    def __init__(self, path: Path, database: Path, key: str | None, surface: str, likeness: str = "") -> None:
        """`likeness` is the folder of the host's model that compares pictures, if there is one."""
        self._where = path, database, key, surface
        self._sight = Sight(PictureFolder(database.parent, seal_of(key)), likeness)
        self._embedder: Embedder | None = None
        self.has_meaning = Embedder.is_installed()
        self._start()

    def _start(self) -> None:
        self._index = Index(*self._where)
        self._vectors = Vectors()
        self._vectors.put(self._index.vectors())
        self._looks = Looks()
        self._looks.put(self._index.looks(self._sight.model))
        self._sight.want_only(self._index.unseen(self._sight.model))
        self._vocabulary, self._learned = Vocabulary(), 0
        self._is_rebuilt = self._index.is_new
        self._work: Iterator[None] | None = self._build()
        self._progress = 0.0

    def close(self) -> None:
        """Close the files."""
        self._sight.close()
        self._index.close()

    def _build(self) -> Iterator[None]:
        """Bring the whole index up to date, a part at a time."""
        ranges, changed = list(self._index.chunks()), 0
        for at, (after, to) in enumerate(ranges, start=1):
            changed += self._index.compare(after, to)
            self._progress = at / len(ranges) / 2
            yield
        if changed:
            # Entries that are gone took their vectors with them.
            self._vectors = Vectors()
            self._vectors.put(self._index.vectors())
            self._looks = Looks()
            self._looks.put(self._index.looks(self._sight.model))
        self._sight.want_only(self._index.unseen(self._sight.model))
        if self.has_meaning:
            total = max(len(self._index.entries), 1)
            while self._embed():
                self._progress = 0.5 + len(self._vectors) / total / 2
                yield
            yield from self._learn_words()

    def _learn_words(self) -> Iterator[None]:
        """Make the vectors of the words of the index."""
        vocabulary = Vocabulary()
        words = self._index.frequent_words(Vocabulary.MOST)
        for at in range(0, len(words), EMBEDDED):
            some = words[at : at + EMBEDDED]
            vocabulary.put(some, self._embedded().embed(some))
            yield
        self._vocabulary, self._learned = vocabulary, len(self._vectors)

    def _embed(self) -> bool:
        """Make the vectors of some entries that have none; False if there are none left."""
        some = self._index.without_vector(EMBEDDED)
        if not some:
            return False
        rows = self._embedded().embed([prompt for _, prompt in some])
        made = [(name, row.tobytes()) for (name, _), row in zip(some, rows, strict=True)]
        self._index.add_vectors(made)
        self._vectors.put(made)
        return True

    def _embedded(self) -> Embedder:
        if self._embedder is None:
            self._embedder = Embedder()
        return self._embedder

    @property
    def is_busy(self) -> bool:
        """Whether there is work left that no order asks for."""
        return self._work is not None or self._sight.is_busy

    def work(self) -> None:
        """Do a part of the work that is left: what searches by words need first."""
        if self._work is None:
            if seen := self._sight.look():
                self._index.add_looks(self._sight.model, seen)
                self._looks.put(self._index.looks(self._sight.model, {name for name, *_ in seen}))
            return
        try:
            next(self._work)
        except StopIteration:
            self._work, self._is_rebuilt, self._progress = None, False, 1.0
        except sqlite.Error as error:
            self._repair(error)

    def _repair(self, error: Exception) -> None:
        """Build the index anew if it is damaged. Raises any other error."""
        if not sqlite.is_damage(error):
            raise error
        log.warning("the search index is damaged (%s): it is built anew", error)
        self._index.close()
        delete(self._where[0])
        self._start()
        self._is_rebuilt = True

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order. An index that is found damaged is built anew, and the order gets what there is."""
        for is_last in (False, True):
            try:
                self._catch_up(order.get("patience", 0.0))
                return {"kind": "done", **getattr(self, f"_do_{order['kind']}")(order), **self._state()}
            except sqlite.Error as error:
                if is_last:
                    raise
                self._repair(error)
        raise AssertionError

    def _catch_up(self, seconds: float) -> None:
        """Do work that is left for at most so many seconds, so that a search finds what is new."""
        end = time.monotonic() + seconds
        while self._work is not None and time.monotonic() < end:
            self.work()

    def _state(self) -> dict[str, Any]:
        return {
            "is_building": self._work is not None and self._is_rebuilt,
            "progress": self._progress,
            "has_meaning": self.has_meaning,
            "unseen": self._sight.left,
        }

    def _do_find(self, order: dict[str, Any]) -> dict[str, Any]:
        query, seer = query_from_data(order["query"]), Seer.from_data(order["seer"])
        embedder = self._embedded() if self.has_meaning and query.has_words else None
        known = Known(self._index, self._vectors, self._vocabulary, self._looks, embedder)
        look = None
        if (sent := order["look"]) is not None:
            look = Look(sent["phash"], bytes.fromhex(sent["vector"]))
        elif (picture := order["picture"]) is not None:
            look = self._looks.of(*picture) or Look(None, None)
        hits = find(known, query, seer, order["without"], look)
        return {"hits": [hit.as_data() for hit in hits]}

    def _do_same(self, order: dict[str, Any]) -> dict[str, Any]:
        """Groups of pictures that are the same."""
        allowed = self._index.entries.allowed(Query(), Seer.from_data(order["seer"]))
        return {"groups": self._looks.groups(allowed, MOST_GROUPS)}

    def _do_channels(self, order: dict[str, Any]) -> dict[str, Any]:
        return {"channels": self._index.channels(order["guild_id"])}

    def _do_update(self, order: dict[str, Any]) -> dict[str, Any]:
        self._update(order["ids"])
        return {}

    def _update(self, ids: Collection[int]) -> None:
        self._index.update(ids)
        self._vectors.drop(ids)
        self._vectors.put(self._index.vectors(ids))
        self._looks.drop(ids)
        self._looks.put(self._index.looks(self._sight.model, ids))
        self._sight.want(ids, self._index.unseen(self._sight.model, ids))
        if self.has_meaning and self._work is None:
            self._work = self._build_vectors()

    def _build_vectors(self) -> Iterator[None]:
        while self._embed():
            yield
        if len(self._vectors) > self._learned * GROWTH:
            yield from self._learn_words()

    def _do_finish(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do all the work that is left; looking at pictures only if the order asks for it."""
        while self._work is not None or (order.get("looks") and self._sight.is_busy):
            self.work()
        return {"count": len(self._index.entries)}

    def _do_erase(self, order: dict[str, Any]) -> dict[str, Any]:
        """Bring the whole index up to date, and leave no byte of what was deleted."""
        self._work = self._build()
        self._do_finish(order)
        self._index.scrub()
        return {}

    def _do_rebuild(self, order: dict[str, Any]) -> dict[str, Any]:
        """Build the index anew from the database."""
        self._index.close()
        delete(self._where[0])
        self._start()
        return self._do_finish(order)

    def _do_dump(self, _: dict[str, Any]) -> dict[str, Any]:
        found = self._index.dump()
        found["vectors"] = [(name, bytes(vector).hex()) for name, vector in found["vectors"]]
        found["looks"] = [(*row, None if vector is None else bytes(vector).hex()) for *row, vector in found["looks"]]
        return {"dump": found}


def serve(source: Any, output: BinaryIO) -> None:
    """Answer orders until the pipe ends; the first message says where everything is."""
    first = framing.read(source)
    if first is None:
        return
    head = first[0]
    path = Path(head["index"])
    try:
        process = SearchProcess(path, Path(head["database"]), head["key"], head["surface"], head["likeness"])
    except (sqlite.Error, StorageError, OSError) as error:
        output.write(framing.pack({"kind": "failed", "words": str(error)}))
        output.flush()
        return
    output.write(framing.pack({"kind": "ready"}))
    output.flush()
    builder = ThreadPoolExecutor(1, initializer=_give_way)
    try:
        while True:
            while process.is_busy and not select.select([source], [], [], 0)[0]:
                builder.submit(process.work).result()
            message = framing.read(source)
            if message is None:
                return
            try:
                # A body and no header: an answer may be longer than a header may be.
                answer = process.answer(message[0])
            except (sqlite.Error, StorageError, OSError) as error:
                answer = {"kind": "failed", "words": str(error)}
            try:
                output.write(framing.pack({"kind": answer["kind"]}, _packed(answer)))
                output.flush()
            except BrokenPipeError:
                # The bot was killed while it waited; there is nobody to answer.
                log.info("the bot is gone")
                return
    finally:
        builder.shutdown()
        process.close()


def _give_way() -> None:
    """Lower the priority of this thread; only Linux has one for each thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _packed(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, ensure_ascii=False).encode()


def main() -> None:
    """Serve standard input and output; what libraries print goes to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Unbuffered: `select` would not see what a buffer holds.
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    serve(_Whole(source), output)


class _Whole:
    """A raw stream whose `read` returns as much as is asked for, unless the stream ends."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def fileno(self) -> int:
        """The descriptor, for `select`."""
        return int(self._raw.fileno())

    def read(self, count: int) -> bytes:
        """Read `count` bytes; fewer at the end of the stream."""
        found = bytearray()
        while len(found) < count and (more := self._raw.read(count - len(found))):
            found += more
        return bytes(found)


if __name__ == "__main__":
    main()
