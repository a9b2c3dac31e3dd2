"""Reports of what was asked for, painted, waited for, refused and liked, over a span of time: for /stats.

They are read through a connection of their own, in a thread: a year of a busy server delays no write. Nothing in
a report names a person, and what people like is only told of groups of ten and more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from bot.jobs import Clock, GuildId, Row, to_text
from bot.storage import presets, sqlite
from bot.storage.drift import DRIFT, ModelStep
from bot.storage.reactions import DELETE, DISLIKE, FAVOURITES, HEART, HEART_BUTTON, LIKE, LIKES_A_PICTURE, SENDS, quoted
from bot.storage.spending import BILLED

KEPT_SHARE = 0.5
KEPT_SECONDS = 2.0
"""A start that was told came true if it was off by no more than half of the wait, or by two seconds."""

GROUP = 10
"""What fewer people like is not shown: Discord's policy allows taste in aggregate only."""

# Servers with requests or refusals, by one step along an index for each: there is none on the time alone.
SERVERS = """
WITH RECURSIVE
  asking(id) AS (SELECT min(guild_id) FROM jobs UNION ALL
    SELECT (SELECT min(guild_id) FROM jobs WHERE guild_id > asking.id) FROM asking WHERE asking.id IS NOT NULL),
  refused(id) AS (SELECT min(guild_id) FROM refusals UNION ALL
    SELECT (SELECT min(guild_id) FROM refusals WHERE guild_id > refused.id) FROM refused WHERE refused.id IS NOT NULL)
SELECT id FROM asking WHERE id IS NOT NULL UNION SELECT id FROM refused WHERE id IS NOT NULL
"""

# The indexes jobs_by_guild and refusals_by_guild serve these; a test asserts it.
_ASKED = """
FROM jobs WHERE jobs.guild_id IN (SELECT value FROM json_each(:servers))
  AND jobs.asked_at >= :since AND jobs.asked_at < :until
"""

# One row for every step of the span in which anything was asked for. A wait that ended before it began is unknown: the
# clock was set back meanwhile. A percentile is the value of the row that this
# part of the rows does not exceed.
FIGURES = f"""
WITH
  asked AS (
    SELECT (unixepoch(asked_at) - unixepoch(:since)) / :step AS step, user_id, status,
      num_images_per_prompt AS images, used_seconds, {BILLED} AS micros,
      iif(started_at >= asked_at, (julianday(started_at) - julianday(asked_at)) * 86400, NULL) AS start,
      iif(status = 'delivered' AND posted_at >= asked_at,
        (julianday(posted_at) - julianday(asked_at)) * 86400, NULL) AS wait
    {_ASKED}),
  placed AS (
    SELECT *, count(start) OVER (PARTITION BY step) AS starts, count(wait) OVER (PARTITION BY step) AS waits,
      row_number() OVER (PARTITION BY step, start IS NULL ORDER BY start) AS start_place,
      row_number() OVER (PARTITION BY step, wait IS NULL ORDER BY wait) AS wait_place
    FROM asked)
SELECT step, count(*) AS asked, count(DISTINCT user_id) AS people,
  sum(status = 'delivered') AS delivered, sum(status = 'failed') AS failed, sum(status = 'cancelled') AS cancelled,
  coalesce(sum(images) FILTER (WHERE status = 'delivered'), 0) AS pictures,
  coalesce(sum(used_seconds), 0.0) AS gpu_seconds, coalesce(sum(micros), 0) AS micros,
  max(start) FILTER (WHERE start_place = (starts + 1) / 2) AS start_median,
  max(start) FILTER (WHERE start_place = (starts * 95 + 99) / 100) AS start_p95,
  max(wait) FILTER (WHERE wait_place = (waits + 1) / 2) AS wait_median,
  max(wait) FILTER (WHERE wait_place = (waits * 95 + 99) / 100) AS wait_p95
FROM placed GROUP BY step
"""  # noqa: S608 - constants

# Only of jobs that started at the first attempt: a restart delays the jobs it cuts off, and no forecast knows of it.
PROMISES = f"""
WITH
  promised AS (
    SELECT abs(julianday(promised_at) - julianday(started_at)) * 86400 AS error,
      (julianday(started_at) - julianday(asked_at)) * 86400 AS waited
    {_ASKED} AND promised_at IS NOT NULL AND started_at >= asked_at AND attempt = 1),
  placed AS (SELECT *, row_number() OVER (ORDER BY error) AS place, count(*) OVER () AS count FROM promised)
SELECT count(*) AS told, coalesce(sum(error <= max({KEPT_SHARE} * waited, {KEPT_SECONDS})), 0) AS kept,
  max(error) FILTER (WHERE place = (count + 1) / 2) AS error_median
FROM placed
"""  # noqa: S608 - constants

# A person who likes some pictures of a post likes each model of it once. What asks for a message or a deletion is no
# opinion.
MODELS = f"""
WITH
  results AS (SELECT id, post_id, model, num_images_per_prompt AS images {_ASKED} AND status = 'delivered'),
  opinions AS (
    SELECT results.model, ratings.post_id, ratings.user_id, CASE
        WHEN emoji = '{LIKE}' OR {LIKES_A_PICTURE}
          THEN '{LIKE}'
        WHEN emoji = '{HEART_BUTTON}' THEN '{HEART}'
        ELSE emoji END AS opinion
    FROM results JOIN ratings ON ratings.post_id = results.post_id
    WHERE emoji NOT IN ({quoted(SENDS)}, '{DELETE}')
    GROUP BY 1, 2, 3, 4),
  received AS (
    SELECT model, count(DISTINCT user_id) AS raters, sum(opinion = '{LIKE}') AS up,
      sum(opinion = '{DISLIKE}') AS down, count(*) AS reactions
    FROM opinions GROUP BY model)
SELECT results.model, count(*) AS results, coalesce(raters, 0) AS raters, coalesce(up, 0) AS up,
  coalesce(down, 0) AS down, coalesce(reactions, 0) AS reactions
FROM results LEFT JOIN received ON received.model = results.model
GROUP BY results.model ORDER BY results DESC, results.model
"""  # noqa: S608 - constants

# What each person thinks of what a model, a style or a sampler made: a person counts once for each of them, with the
# share of likes among their likes and dislikes. Otherwise the few people who rate a lot would decide.
LIKED = f"""
WITH
  results AS (SELECT id, post_id, num_images_per_prompt AS images, model,
      request ->> '$.sampler' AS sampler, request ->> '$.style' AS style
    {_ASKED} AND status = 'delivered'),
  opinions AS (
    SELECT results.id, model, sampler, style, ratings.user_id,
      max(emoji = '{LIKE}' OR {LIKES_A_PICTURE}
        OR emoji IN ({quoted(FAVOURITES)})) AS up,
      max(emoji = '{DISLIKE}') AS down
    FROM results JOIN ratings ON ratings.post_id = results.post_id GROUP BY results.id, ratings.user_id),
  clear AS (SELECT * FROM opinions WHERE up != down),
  named AS (
    SELECT 'model' AS kind, model AS name, user_id, up FROM clear
    UNION ALL SELECT 'style', style, user_id, up FROM clear WHERE style != ''
    UNION ALL SELECT 'sampler', sampler, user_id, up FROM clear),
  people AS (SELECT kind, name, user_id, avg(up) AS share FROM named GROUP BY kind, name, user_id)
SELECT kind, name, count(*) AS people, avg(share) AS share FROM people GROUP BY kind, name HAVING count(*) >= {GROUP}
ORDER BY kind, name
"""  # noqa: S608 - constants

# Whether presets that ratings choose help: how results are liked whose settings they chose, and how those that got the
# usual settings by lot. A person counts once in each.
CHOSEN = f"""
WITH
  results AS (SELECT id, post_id, num_images_per_prompt AS images, value_sources ->> '$.style' AS source
    {_ASKED} AND status = 'delivered' AND value_sources ->> '$.style' IN ({quoted(presets.CHOSEN)})),
  opinions AS (
    SELECT results.id, source, ratings.user_id,
      max(emoji = '{LIKE}' OR {LIKES_A_PICTURE}
        OR emoji IN ({quoted(FAVOURITES)})) AS up,
      max(emoji = '{DISLIKE}') AS down
    FROM results JOIN ratings ON ratings.post_id = results.post_id GROUP BY results.id, ratings.user_id),
  people AS (SELECT source, user_id, avg(up) AS share FROM opinions WHERE up != down GROUP BY source, user_id)
SELECT source, (SELECT count(*) FROM results WHERE results.source = counted.source) AS results,
  (SELECT count(*) FROM people WHERE people.source = counted.source) AS people,
  (SELECT avg(share) FROM people WHERE people.source = counted.source) AS share
FROM (SELECT DISTINCT source FROM results) AS counted ORDER BY source
"""  # noqa: S608 - constants

USE_OF_SERVERS = f"""
SELECT guild_id, coalesce(sum(num_images_per_prompt) FILTER (WHERE status = 'delivered'), 0) AS pictures,
  coalesce(sum(used_seconds), 0.0) AS gpu_seconds
{_ASKED} GROUP BY guild_id ORDER BY gpu_seconds DESC, guild_id
"""

REFUSALS = """
SELECT (unixepoch(at) - unixepoch(:since)) / :step AS step, rule, count(*) AS count
FROM refusals WHERE guild_id IN (SELECT value FROM json_each(:servers)) AND at >= :since AND at < :until
GROUP BY 1, 2 ORDER BY 1, 2
"""


class Period(StrEnum):
    """How far back a report goes."""

    DAY = "24 hours"
    WEEK = "7 days"
    MONTH = "30 days"
    QUARTER = "90 days"
    YEAR = "12 months"


_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_STEPS = {
    Period.DAY: (_HOUR, 24),
    Period.WEEK: (_DAY, 7),
    Period.MONTH: (_DAY, 30),
    Period.QUARTER: (7 * _DAY, 13),
    Period.YEAR: (7 * _DAY, 52),
}


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time in equal steps. They begin on the hour, or at midnight UTC; the last one is not over yet."""

    since: datetime
    step: timedelta
    count: int

    @classmethod
    def of(cls, period: Period, now: datetime) -> Self:
        """The steps of a period that ends now."""
        step, count = _STEPS[period]
        begun = now.replace(minute=0, second=0, microsecond=0)
        end = begun + _HOUR if step == _HOUR else begun.replace(hour=0) + _DAY
        return cls(end - count * step, step, count)

    @property
    def until(self) -> datetime:
        """The end of the last step."""
        return self.since + self.count * self.step

    @property
    def starts(self) -> list[datetime]:
        """When each step begins."""
        return [self.since + number * self.step for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the requests of some time; seconds are None where there are none."""

    asked: int = 0
    people: int = 0
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    pictures: int = 0
    gpu_seconds: float = 0.0
    micros: int = 0
    """Money that providers billed, or may have billed."""
    start_median: float | None = None
    """From asking to the start, of what was started."""
    start_p95: float | None = None
    wait_median: float | None = None
    """From asking to the pictures, of what was delivered."""
    wait_p95: float | None = None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build figures from a row of FIGURES."""
        return cls(**{key: row[key] for key in row.keys() if key != "step"})  # noqa: SIM118 - a Row iterates over values

    @property
    def open(self) -> int:
        """Requests that have not ended, or whose message does not show the pictures yet."""
        return self.asked - self.delivered - self.failed - self.cancelled


@dataclass(frozen=True, slots=True)
class Reception:
    """How a model's results were received."""

    up: int
    down: int
    others: int


@dataclass(frozen=True, slots=True)
class ModelReport:
    """How often a model's results were delivered, and how they were received where enough people said so."""

    model: str
    results: int
    reception: Reception | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build it from a row of MODELS."""
        up, down = row["up"], row["down"]
        told = Reception(up, down, row["reactions"] - up - down) if row["raters"] >= GROUP else None
        return cls(row["model"], row["results"], told)


@dataclass(frozen=True, slots=True)
class Liked:
    """How the results of a model, a style or a sampler are liked: the mean of the shares of likes of some people."""

    kind: str
    name: str
    people: int
    share: float


@dataclass(frozen=True, slots=True)
class ChosenPresets:
    """How results are liked whose settings ratings chose, or the lot; the share is None of fewer than GROUP people."""

    source: str
    results: int
    people: int
    share: float | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build it from a row of CHOSEN."""
        return cls(row["source"], row["results"], row["people"], row["share"] if row["people"] >= GROUP else None)


@dataclass(frozen=True, slots=True)
class Promises:
    """How many start times were told, how many of them came true, and by how much half of them were off at most."""

    told: int
    kept: int
    error_median: float | None


@dataclass(frozen=True, slots=True)
class Use:
    """What a server used."""

    guild_id: GuildId
    pictures: int
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one server, or about all of them: only then `servers` says what each of them used."""

    period: Period
    span: Span
    total: Figures
    steps: tuple[Figures, ...]
    models: tuple[ModelReport, ...]
    promises: Promises
    refusals: tuple[Mapping[str, int], ...]
    """How many requests each rule refused, step by step."""
    liked: tuple[Liked, ...] = ()
    """What enough people said something about; in no order of merit."""
    servers: tuple[Use, ...] | None = None
    chosen: tuple[ChosenPresets, ...] = ()
    """What ratings and the lot chose; nothing if no server lets them choose."""
    drift: tuple[ModelStep, ...] = ()
    """What each model did in each step."""

    @property
    def refused(self) -> dict[str, int]:
        """How many requests each rule refused, the one that refused the most first."""
        rules = {rule for step in self.refusals for rule in step}
        sums = {rule: sum(step.get(rule, 0) for step in self.refusals) for rule in rules}
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


class Reports:
    """Reads reports from the database file."""

    def __init__(self, path: Path, key: str | None, clock: Clock) -> None:
        self._path = path
        self._key = key
        self._clock = clock

    async def report(self, guild_id: GuildId | None, period: Period) -> Report:
        """Report on a server, or with None on all of them. Raises StorageError when the storage refuses."""
        span = Span.of(period, self._clock())
        return await sqlite.in_thread(lambda stop: self._read(guild_id, period, span, stop))

    def _read(self, guild_id: GuildId | None, period: Period, span: Span, stop: sqlite.Stop) -> Report:
        try:
            with closing(sqlite.connect(self._path, self._key, readonly=True, stop=stop)) as connection:
                # One snapshot, so that the parts add up.
                connection.execute("BEGIN")
                servers = [guild_id] if guild_id is not None else [row["id"] for row in connection.execute(SERVERS)]
                values = {
                    "servers": json.dumps(servers),
                    "since": to_text(span.since),
                    "until": to_text(span.until),
                    "step": int(span.step.total_seconds()),
                }
                return _report(connection, period, span, values, whole=guild_id is None)
        except sqlite.Error as error:
            raise sqlite.in_words(error) or error from error


def _report(connection: Any, period: Period, span: Span, values: Mapping[str, Any], *, whole: bool) -> Report:
    all_of_it = {**values, "step": values["step"] * span.count}
    total = connection.execute(FIGURES, all_of_it).fetchone()
    steps = {row["step"]: Figures.from_row(row) for row in connection.execute(FIGURES, values)}
    refusals: list[dict[str, int]] = [{} for _ in range(span.count)]
    for row in connection.execute(REFUSALS, values):
        refusals[row["step"]][row["rule"]] = row["count"]
    promises = connection.execute(PROMISES, values).fetchone()
    servers = tuple(
        Use(row["guild_id"], row["pictures"], row["gpu_seconds"]) for row in connection.execute(USE_OF_SERVERS, values)
    )
    return Report(
        period,
        span,
        Figures() if total is None else Figures.from_row(total),
        tuple(steps.get(number, Figures()) for number in range(span.count)),
        tuple(map(ModelReport.from_row, connection.execute(MODELS, values))),
        Promises(promises["told"], promises["kept"], promises["error_median"]),
        tuple(refusals),
        tuple(
            Liked(row["kind"], row["name"], row["people"], row["share"]) for row in connection.execute(LIKED, values)
        ),
        servers if whole else None,
        tuple(map(ChosenPresets.from_row, connection.execute(CHOSEN, values))),
        tuple(map(ModelStep.from_row, connection.execute(DRIFT, values))),
    )
