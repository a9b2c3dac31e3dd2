"""How results are liked whose settings were chosen by lot: `bot/requests/presets.py` decides with it.

Who likes them leaves this module only as sums of ten people and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.jobs import Clock, GuildId, to_text
from bot.storage.database import Database
from bot.storage.reactions import DISLIKE, FAVOURITES, LIKE, LIKES_A_PICTURE, quoted

GROUP = 10
"""What fewer people like has no effect: Discord's policy allows taste in aggregate only."""
WINDOW = timedelta(days=90)
"""Older ratings do not count: models, people and tastes change."""
FRESH = timedelta(minutes=5)
"""How long sums that were read are used. Then one vote changes nothing that somebody could notice."""

CHOSEN = ("learned", "control")
"""The sources of a style that was chosen by lot, as `bot/requests/defaults.py` names them."""

# A person counts once for each arm, with the share of likes among what they said. The index jobs_by_guild serves it.
RECEIVED = f"""
WITH
  results AS (
    SELECT id, post_id, num_images_per_prompt AS images, model, request ->> '$.style' AS style,
      request ->> '$.style_version' AS version
    FROM jobs WHERE guild_id = ?1 AND asked_at >= ?2 AND status = 'delivered'
      AND value_sources ->> '$.style' IN ({quoted(CHOSEN)})),
  opinions AS (
    SELECT model, coalesce(style, '') AS style, coalesce(version, 0) AS version, ratings.user_id,
      max(emoji = '{LIKE}' OR emoji IN ({quoted(FAVOURITES)})
        OR {LIKES_A_PICTURE}) AS up,
      max(emoji = '{DISLIKE}') AS down
    FROM results JOIN ratings ON ratings.post_id = results.post_id GROUP BY results.id, ratings.user_id),
  people AS (SELECT model, style, version, user_id, avg(up) AS share FROM opinions WHERE up != down GROUP BY 1, 2, 3, 4)
SELECT model, style, version, sum(share) AS likes, count(*) AS people FROM people GROUP BY 1, 2, 3
HAVING count(*) >= {GROUP}
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Arm:
    """What can be chosen: a version of a preset, or with an empty name the usual settings."""

    style: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """How an arm is liked: sums over people, each of whom counts once; zeros if fewer than GROUP people said so."""

    likes: float = 0.0
    dislikes: float = 0.0

    @property
    def people(self) -> int:
        """How many people said so."""
        return round(self.likes + self.dislikes)


class PresetRatings:
    """Reads how arms are liked, and keeps it for a few minutes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[GuildId, tuple[datetime, dict[tuple[str, Arm], Received]]] = {}

    async def of(self, guild_id: GuildId) -> dict[tuple[str, Arm], Received]:
        """How each arm is liked on a server, by the model and the arm."""
        now = self._clock()
        read_at, received = self._known.get(guild_id, (None, {}))
        if read_at is not None and read_at <= now < read_at + FRESH:
            return received
        rows = await self._database.fetch_all(RECEIVED, (guild_id, to_text(now - WINDOW)))
        received = {
            (row["model"], Arm(row["style"], row["version"])): Received(row["likes"], row["people"] - row["likes"])
            for row in rows
        }
        self._known[guild_id] = now, received
        return received
