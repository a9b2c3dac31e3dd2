"""How models change over time, for /stats: how their results are liked, waits, failures, and seconds for a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from bot.jobs import Row
from bot.storage.presets import GROUP
from bot.storage.reactions import DISLIKE, FAVOURITES, LIKE, LIKES_A_PICTURE, quoted

# One row for each model and step of the span. The index jobs_by_guild serves it. The seconds for a step are those of
# the engine, which it divides among requests that share it, by the steps of all pictures. Only pictures from words
# count, in the size that people ask this model for most often, because a step of others takes another time. A person
# counts once for a model in a step, and of fewer than ten people nothing is told.
DRIFT = f"""
WITH
  asked AS (
    SELECT (unixepoch(asked_at) - unixepoch(:since)) / :step AS step, id, post_id, model, status, used_seconds,
      num_images_per_prompt AS images, request ->> '$.width' || 'x' || (request ->> '$.height') AS size,
      status = 'delivered' AND request ->> '$.operation' = 'text2image'
        AND request ->> '$.num_inference_steps' > 0 AS is_plain, request ->> '$.num_inference_steps' AS steps,
      iif(status = 'delivered' AND posted_at >= asked_at,
        (julianday(posted_at) - julianday(asked_at)) * 86400, NULL) AS wait
    FROM jobs WHERE jobs.guild_id IN (SELECT value FROM json_each(:servers))
      AND jobs.asked_at >= :since AND jobs.asked_at < :until),
  placed AS (
    SELECT *, count(wait) OVER (PARTITION BY step, model) AS waits,
      row_number() OVER (PARTITION BY step, model, wait IS NULL ORDER BY wait) AS place FROM asked),
  sizes AS (
    SELECT model, size, row_number() OVER (PARTITION BY model ORDER BY count(*) DESC, size) AS rank
    FROM asked WHERE is_plain GROUP BY model, size),
  opinions AS (
    SELECT step, model, ratings.user_id,
      max(emoji = '{LIKE}' OR emoji IN ({quoted(FAVOURITES)})
        OR {LIKES_A_PICTURE}) AS up,
      max(emoji = '{DISLIKE}') AS down
    FROM asked JOIN ratings ON ratings.post_id = asked.post_id WHERE status = 'delivered'
    GROUP BY asked.id, ratings.user_id),
  people AS (SELECT step, model, user_id, avg(up) AS share FROM opinions WHERE up != down GROUP BY 1, 2, 3),
  liked AS (SELECT step, model, avg(share) AS share FROM people GROUP BY 1, 2 HAVING count(*) >= {GROUP})
SELECT placed.step, placed.model, count(*) AS asked,
  coalesce(sum(status = 'failed'), 0) AS failed, coalesce(sum(status IN ('delivered', 'failed')), 0) AS ended,
  max(wait) FILTER (WHERE place = (waits + 1) / 2) AS wait_median,
  sum(used_seconds) FILTER (WHERE is_plain AND placed.size = sizes.size)
    / sum(steps * images) FILTER (WHERE is_plain AND placed.size = sizes.size) AS step_seconds,
  liked.share
FROM placed LEFT JOIN sizes ON sizes.model = placed.model AND sizes.rank = 1
LEFT JOIN liked ON liked.step = placed.step AND liked.model = placed.model
GROUP BY placed.step, placed.model ORDER BY placed.step, placed.model
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class ModelStep:
    """What one model did in one step of a report; None where there is nothing to tell."""

    step: int
    model: str
    asked: int
    failed: int
    ended: int
    """Requests that were delivered or failed."""
    wait_median: float | None
    """Seconds from asking to the pictures, of what was delivered."""
    step_seconds: float | None
    """GPU seconds of one denoising step of one picture from words, in the size most often asked for."""
    share: float | None
    """How many people like its results, as a share of those who said so; None of fewer than ten people."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build it from a row of DRIFT."""
        return cls(**{key: row[key] for key in row.keys()})  # noqa: SIM118 - a Row iterates over values

    @property
    def failed_share(self) -> float | None:
        """The share of requests that failed, of those that were delivered or failed."""
        return self.failed / self.ended if self.ended else None
