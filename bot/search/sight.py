"""The pictures that are to be looked at, some at a time, in a process beside the one that searches."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from bot.errors import StorageError
from bot.search.viewer import Viewer, ViewerFailed
from bot.storage.picture_folder import PictureFolder

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Pictures that are looked at in one go."""

WAIT_SECONDS = 0.02
"""How long a part of the work waits for pictures: a search comes after it."""

RETRY_SECONDS = 600.0
"""After the pictures could not be looked at."""

Wanted = tuple[int, int, str]
"""A picture: its result, its number and the name of its file."""

Seen = tuple[int, int, str, bytes | None]
"""The same with its vector; None if it cannot be looked at."""


class Sight:
    """Looks at what is wanted; searches by picture find by hash what has not been looked at yet."""

    def __init__(self, folder: PictureFolder, model_folder: str) -> None:
        """`folder` has the picture files, as they are or encrypted; `model_folder` the host's model, or is empty."""
        self._folder = folder
        self._viewer = Viewer(model_folder)
        self._thread = ThreadPoolExecutor(1)
        self._looking: Future[list[Seen]] | None = None
        self._again_at = 0.0
        self._wanted: dict[int, list[Wanted]] = {}
        self._left = 0

    @property
    def model(self) -> str:
        """What tells vectors of one model from those of another."""
        return self._viewer.model

    @property
    def left(self) -> int:
        """How many pictures have not been looked at."""
        return self._left

    @property
    def is_busy(self) -> bool:
        """Whether there is something to look at now."""
        return bool(self._wanted) and time.monotonic() >= self._again_at

    def want(self, ids: Collection[int], wanted: Iterable[Wanted]) -> None:
        """Say what is to be looked at of these results now."""
        for name in ids:
            self._left -= len(self._wanted.pop(name, ()))
        for each in wanted:
            self._wanted.setdefault(each[0], []).append(each)
            self._left += 1

    def want_only(self, wanted: Iterable[Wanted]) -> None:
        """Say what is to be looked at of all results."""
        self.want(list(self._wanted), wanted)

    def look(self) -> list[Seen]:
        """Look at some pictures, or see what became of those; nothing if they take longer than WAIT_SECONDS."""
        if self._looking is None:
            self._looking = self._thread.submit(self._seen, self._next())
        try:
            found = self._looking.result(WAIT_SECONDS)
        except TimeoutError:
            return []
        except ViewerFailed as error:
            log.warning("pictures are found by their hashes only: %s", error)
            self._looking, self._again_at = None, time.monotonic() + RETRY_SECONDS
            return []
        self._looking = None
        # What changed meanwhile is looked at again.
        found = [each for each in found if each[:3] in self._wanted.get(each[0], ())]
        for each in found:
            self._done(each[:3])
        if not self._wanted:
            self._viewer.close()
        return found

    def close(self) -> None:
        """End the process that looks."""
        self._viewer.close()
        self._thread.shutdown()

    def _next(self) -> list[Wanted]:
        """Some of what is wanted, the newest results first."""
        newest = islice(reversed(self._wanted.values()), AT_ONCE)
        return [each for of_job in newest for each in of_job][:AT_ONCE]

    def _done(self, wanted: Wanted) -> None:
        left = self._wanted[wanted[0]]
        left.remove(wanted)
        self._left -= 1
        if not left:
            del self._wanted[wanted[0]]

    def _seen(self, wanted: list[Wanted]) -> list[Seen]:
        files = {}
        for each in wanted:
            try:
                files[each] = self._folder.read(each[2])
            except StorageError:
                log.info("a picture is gone or damaged before it was looked at")
        vectors = dict(zip(files, self._viewer.look(list(files.values())) if files else [], strict=True))
        return [(*each, vectors.get(each)) for each in wanted]
