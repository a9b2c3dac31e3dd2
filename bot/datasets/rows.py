"""Which pictures go into a data set, and what their rows say."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.errors import StorageError
from bot.jobs import GenerationRequest, Row
from bot.picture_files import without_metadata
from bot.search import quality
from bot.storage import sqlite
from bot.storage.consents import CHANNEL, NAMES_KEY
from bot.storage.database import schema_scripts
from bot.storage.picture_folder import PictureFolder
from bot.storage.reports import GROUP

NEAR_BITS = 3
"""Two pictures count as the same if at most this many of the 64 bits of their perceptual hashes differ."""
_BANDS = NEAR_BITS + 1
"""If a hash is cut into more parts than bits differ, one part is equal."""
_NAME = 20
"""Characters of a pseudonym: 80 bits."""

# The results of people whose consent holds now and held when they asked, in channels that the server allows. A result
# is borrowed if its words are of a request of somebody else who did not agree so: what it starts from, what that starts
# from and so on, and the result that its style was made from.
CANDIDATES = f"""
SELECT jobs.id, jobs.series_id, jobs.user_id, jobs.guild_id, jobs.asked_at, jobs.model_hash, jobs.request, jobs.post_id,
  (SELECT count(*) FROM jobs AS beside WHERE beside.post_id = jobs.post_id) = 1 AS is_alone,
  images.number, images.seed, images.width, images.height, images.sha256, images.nsfw, picture_hashes.phash,
  EXISTS (
    WITH RECURSIVE origins (id) AS (
      SELECT source_id FROM sources WHERE job_id = jobs.id
      UNION SELECT source_id FROM styles WHERE styles.guild_id = jobs.guild_id AND source_id IS NOT NULL
        AND name = jobs.request ->> '$.style' AND version = jobs.request ->> '$.style_version'
      UNION SELECT source_id FROM sources JOIN origins ON sources.job_id = origins.id)
    SELECT 1 FROM origins JOIN jobs AS origin ON origin.id = origins.id
    WHERE origin.user_id != jobs.user_id AND NOT EXISTS (
      SELECT 1 FROM consents AS theirs
      WHERE theirs.user_id = origin.user_id AND theirs.guild_id = origin.guild_id AND theirs.left_at IS NULL
        AND theirs.joined_at <= origin.asked_at)) AS is_borrowed
FROM consents CROSS JOIN jobs_with_post AS jobs
  ON jobs.user_id = consents.user_id AND jobs.guild_id = consents.guild_id AND jobs.asked_at >= consents.joined_at
CROSS JOIN images ON images.job_id = jobs.id
LEFT JOIN picture_hashes ON picture_hashes.job_id = jobs.id AND picture_hashes.number = images.number
WHERE consents.left_at IS NULL AND (?1 IS NULL OR consents.guild_id = ?1)
  AND jobs.surface = 'discord' AND jobs.status = 'delivered' AND jobs.forgotten_at IS NULL
  AND EXISTS (SELECT 1 FROM rules WHERE rules.guild_id = jobs.guild_id AND scope = 'channel'
    AND subject_id = jobs.channel_id AND name = '{CHANNEL}' AND value = 'true')
ORDER BY jobs.id, images.number
"""  # noqa: S608 - a constant

LINKS = "SELECT job_id, source_id FROM sources"
REACTIONS = "SELECT user_id, emoji FROM ratings WHERE post_id = ?"

_MENTION = re.compile(r"<(@[!&]?|#)\d+>")


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of a data set, and where its picture is."""

    values: dict[str, Any]
    sha256: str
    folder: PictureFolder
    job_id: int
    series_id: int | None
    family: str = ""
    """The prompt of the first picture of those that belong together: by a prompt, a series, or what they come from."""

    def plain(self) -> bytes:
        """The picture without the texts in its file, which repeat the prompt. Raises StorageError."""
        return without_metadata(self.folder.read(self.sha256))


@dataclass(slots=True)
class Counts:
    """How many pictures there are, and why others were left out."""

    found: int = 0
    """Pictures of people who joined, in channels that are allowed."""
    from_pictures: int = 0
    """Left out, because a picture was sent or another result was changed: it may show what nobody consented to."""
    moving: int = 0
    """Left out, because it is an animation or a film: a row has one picture and one prompt."""
    remote: int = 0
    """Left out, because a provider painted it: with values that nobody knows, and under its terms."""
    borrowed: int = 0
    """Left out, because the words, or those of the style, come from a request of somebody who did not join."""
    missing: int = 0
    """Left out, because the file is gone or damaged."""
    equal: int = 0
    """Left out, because every pixel is as in another one."""
    near: int = 0
    """Left out, because it looks like another one."""
    kept: int = 0
    people: int = 0


@dataclass(slots=True)
class Selection:
    """What goes into a data set."""

    pictures: list[Picture] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


def select(database: Path, key: str | None, folder: PictureFolder, server: int | None = None) -> Selection:
    """The pictures of a data set in a fixed order. `folder` has the picture files. Raises StorageError."""
    found = Selection()
    counts, people, seen, looks = found.counts, set(), set(), _Looks()
    try:
        with closing(sqlite.connect(database, key, readonly=True)) as connection:
            connection.execute("BEGIN")
            if connection.execute("PRAGMA user_version").fetchone()[0] < len(schema_scripts()):
                raise StorageError(f"{database} is of an earlier version. Start Atelier once, then export.")
            secret = bytes.fromhex(connection.execute(NAMES_KEY).fetchone()["value"])
            for row in connection.execute(CANDIDATES, (server,)).fetchall():
                counts.found += 1
                request = GenerationRequest.from_fields(json.loads(row["request"]))
                if request.uploads:
                    counts.from_pictures += 1
                elif request.frames:
                    counts.moving += 1
                elif request.provider:
                    counts.remote += 1
                elif row["is_borrowed"]:
                    counts.borrowed += 1
                elif (sha256 := _pixels_of(folder, row["sha256"])) is None:
                    counts.missing += 1
                elif sha256 in seen:
                    counts.equal += 1
                elif row["phash"] is not None and looks.has_near(row["phash"]):
                    counts.near += 1
                else:
                    seen.add(sha256)
                    looks.add(row["phash"])
                    people.add(row["user_id"])
                    rated = connection.execute(REACTIONS, (row["post_id"],)).fetchall()
                    reactions = [(each["user_id"], each["emoji"]) for each in rated]
                    values = _values(row, request, secret, sha256, reactions)
                    found.pictures.append(Picture(values, row["sha256"], folder, row["id"], row["series_id"]))
            links = [(row["job_id"], row["source_id"]) for row in connection.execute(LINKS)]
    except sqlite.Error as error:
        raise sqlite.in_words(error) or StorageError(f"{database} cannot be read: {error}.") from error
    found.pictures = in_families(found.pictures, links)
    counts.kept, counts.people = len(found.pictures), len(people)
    return found


def _pixels_of(folder: PictureFolder, name: str) -> str | None:
    """The sha256 of a picture without the texts in its file; None if it cannot be read."""
    try:
        return hashlib.sha256(without_metadata(folder.read(name))).hexdigest()
    except StorageError:
        return None


def in_families(pictures: Sequence[Picture], links: Iterable[tuple[int, int]]) -> list[Picture]:
    """The same pictures, which are in the order of their requests, each with its family.

    `links` are the requests that come from each other. What is not in the data set links others, too.
    """
    above: dict[object, object] = {}

    def root(node: object) -> object:
        while (parent := above.get(node, node)) != node:
            above[node] = node = above.get(parent, parent)
        return node

    for one, other in links:
        above[root(one)] = root(other)
    for each in pictures:
        for group in (("prompt", _prompt_of(each)), *([("series", each.series_id)] if each.series_id else [])):
            above[root(each.job_id)] = root(group)
    first: dict[object, str] = {}
    for each in pictures:
        first.setdefault(root(each.job_id), _prompt_of(each))
    return [replace(each, family=first[root(each.job_id)]) for each in pictures]


def _prompt_of(picture: Picture) -> str:
    return str(picture.values["prompt"]).casefold()


def pseudonym(secret: bytes, kind: str, *what: int) -> str:
    """A name that stays the same in every version, and from which nobody can find out what it stands for."""
    text = ":".join([kind, *map(str, what)])
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:_NAME]


def _values(
    row: Row, request: GenerationRequest, secret: bytes, sha256: str, reactions: Iterable[tuple[int, str]]
) -> dict[str, Any]:
    """What a row says besides its picture."""
    score = quality.scores(reactions, request.num_images_per_prompt, is_alone=row["is_alone"])[row["number"] - 1]
    # Of fewer people, nothing is told.
    is_rated = score.likes + score.dislikes >= GROUP
    return {
        "id": pseudonym(secret, "row", row["id"], row["number"]),
        "sha256": sha256,
        "synthetic": True,
        "prompt": _without_mentions(request.prompt),
        "negative_prompt": _without_mentions(request.negative_prompt),
        "model": request.model,
        "model_sha256": row["model_hash"] or "",
        "sampler": request.sampler,
        "steps": request.num_inference_steps,
        "guidance_scale": float(request.guidance_scale),
        "seed": row["seed"],
        "width": row["width"],
        "height": row["height"],
        "loras": ", ".join(f"{name}:{weight:g}" for name, weight in request.loras),
        "style": request.style,
        "style_version": request.style_version,
        "draft": request.draft,
        "person": pseudonym(secret, "person", row["user_id"]),
        "server": pseudonym(secret, "server", row["guild_id"]),
        "asked_on": row["asked_at"][:10],
        "nsfw": row["nsfw"],
        "likes": score.likes if is_rated else None,
        "dislikes": score.dislikes if is_rated else None,
    }


def _without_mentions(text: str) -> str:
    return _MENTION.sub(r"\1…", text)


class _Looks:
    """The perceptual hashes so far, found by any part that is equal."""

    def __init__(self) -> None:
        self._known: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]

    def add(self, phash: int | None) -> None:
        """Remember a hash, which is a signed number."""
        if phash is not None:
            for known, part in zip(self._known, _parts(phash), strict=True):
                known[part].append(phash)

    def has_near(self, phash: int) -> bool:
        """Whether a hash that is remembered differs in at most NEAR_BITS bits."""
        return any(
            ((other ^ phash) & 2**64 - 1).bit_count() <= NEAR_BITS
            for known, part in zip(self._known, _parts(phash), strict=True)
            for other in known.get(part, ())
        )


def _parts(phash: int) -> list[int]:
    width = 64 // _BANDS
    return [phash >> at * width & 2**width - 1 for at in range(_BANDS)]
