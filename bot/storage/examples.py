"""Results with their prompts, their settings and what people think of them, for `bot/requests/improving.py`.

Who asked and who likes them leaves this module only to be counted.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from bot.jobs import GenerationRequest, GuildId
from bot.storage.database import Database
from bot.storage.reactions import DISLIKE, FAVOURITES, LIKE, LIKES_A_PICTURE, quoted

# A person who likes and dislikes a result has said nothing.
OPINIONS = f"""
WITH results AS (
  SELECT id, user_id, request, post_id, num_images_per_prompt AS images FROM jobs
  WHERE id IN (SELECT value FROM json_each(?1)) AND guild_id = ?2 AND status = 'delivered' AND forgotten_at IS NULL
    AND NOT withheld)
SELECT results.id, results.user_id, request, ratings.user_id AS rater,
  max(emoji = '{LIKE}' OR emoji IN ({quoted(FAVOURITES)})
    OR {LIKES_A_PICTURE}) AS up,
  max(emoji = '{DISLIKE}') AS down
FROM results LEFT JOIN ratings ON ratings.post_id = results.post_id
GROUP BY results.id, ratings.user_id ORDER BY results.id
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class RatedResult:
    """A result, and whether each person who said so likes it."""

    job_id: int
    user_id: int
    request: GenerationRequest
    opinions: dict[int, bool]


class Examples:
    """Reads results with their ratings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, guild_id: GuildId, job_ids: Collection[int]) -> list[RatedResult]:
        """The results among `job_ids` that a server has and whose words are there, by their number."""
        found: dict[int, RatedResult] = {}
        for row in await self._database.fetch_all(OPINIONS, (json.dumps(sorted(job_ids)), guild_id)):
            result = found.get(row["id"])
            if result is None:
                request = GenerationRequest.from_fields(json.loads(row["request"]))
                result = found[row["id"]] = RatedResult(row["id"], row["user_id"], request, {})
            if row["rater"] is not None and row["up"] != row["down"]:
                result.opinions[row["rater"]] = bool(row["up"])
        return list(found.values())
