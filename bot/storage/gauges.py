"""What a page of metrics shows of the database: the line as it is, and what happened since this process began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aiosqlite

from bot.jobs import Clock, JobStatus, Surface, from_text
from bot.storage.database import Database

# The partial indexes jobs_waiting and jobs_running serve these.
LINE = "SELECT count(*) AS depth, min(asked_at) AS oldest FROM jobs WHERE surface = ? AND status = 'queued'"
RUNNING = "SELECT count(*) AS running FROM jobs WHERE surface = ? AND status = 'running'"

_ENDS = (JobStatus.DELIVERED, JobStatus.FAILED, JobStatus.CANCELLED)

# Every end is counted once, in the transaction that writes it; an undone one is not counted. These live with the
# connection, so they count from 0 at every start, which is what Prometheus expects of a counter.
WATCH = (
    "CREATE TEMP TABLE happened (what TEXT, of TEXT, count REAL, PRIMARY KEY (what, of)) WITHOUT ROWID",
    """
CREATE TEMP TRIGGER count_outcome AFTER UPDATE OF status ON main.jobs
WHEN NEW.status != OLD.status AND NEW.status IN ('delivered', 'failed', 'cancelled') BEGIN
  INSERT INTO happened VALUES ('outcome', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END
""",
    """
CREATE TEMP TRIGGER count_pictures AFTER UPDATE OF status ON main.jobs
WHEN NEW.status != OLD.status AND NEW.status = 'delivered' BEGIN
  INSERT INTO happened VALUES ('pictures', '', NEW.num_images_per_prompt)
    ON CONFLICT DO UPDATE SET count = count + excluded.count;
END
""",
    """
CREATE TEMP TRIGGER count_use AFTER UPDATE OF used_seconds ON main.jobs
WHEN NEW.used_seconds IS NOT OLD.used_seconds BEGIN
  INSERT INTO happened VALUES ('gpu_seconds', '', coalesce(NEW.used_seconds, 0) - coalesce(OLD.used_seconds, 0))
    ON CONFLICT DO UPDATE SET count = count + excluded.count;
END
""",
    """
CREATE TEMP TRIGGER count_refusal AFTER INSERT ON main.refusals BEGIN
  INSERT INTO happened VALUES ('refused', NEW.rule, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END
""",
)


@dataclass(frozen=True, slots=True)
class Gauge:
    """The line now, and sums since this process began."""

    depth: int
    oldest_seconds: float
    """How long the oldest waiting request has waited; 0 when none waits."""
    running: int
    outcomes: Mapping[str, int]
    pictures: int
    gpu_seconds: float
    refused: Mapping[str, int]
    """How many requests each rule refused."""


class Gauges:
    """Counts what happens in the database, from `watch` on."""

    def __init__(self, database: Database, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._surface = surface
        self._clock = clock

    async def watch(self) -> None:
        """Begin to count."""

        async def work(connection: aiosqlite.Connection) -> None:
            for statement in WATCH:
                await connection.execute(statement)

        await self._database.write(work)

    async def read(self) -> Gauge:
        """What there is to see now. Raises StorageError when the storage refuses."""
        line = await self._database.fetch_one(LINE, (self._surface,))
        running = await self._database.fetch_one(RUNNING, (self._surface,))
        assert line is not None  # noqa: S101 - an aggregate always has a row
        assert running is not None  # noqa: S101
        counted = {
            (row["what"], row["of"]): row["count"] for row in await self._database.fetch_all("SELECT * FROM happened")
        }
        oldest = from_text(line["oldest"])
        return Gauge(
            depth=line["depth"],
            oldest_seconds=0.0 if oldest is None else max((self._clock() - oldest).total_seconds(), 0.0),
            running=running["running"],
            outcomes={end: int(counted.get(("outcome", end), 0)) for end in _ENDS},
            pictures=int(counted.get(("pictures", ""), 0)),
            gpu_seconds=counted.get(("gpu_seconds", ""), 0.0),
            refused={of: int(count) for (what, of), count in counted.items() if what == "refused"},
        )
