"""The promises that hold when everything has ended, at whatever point the bot was killed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.local_discord import DIRECT, LOADING, LocalDiscord, Message

Row = dict[str, Any]

SAYS = {"delivered": "-# ", "failed": "❌", "cancelled": "🚫"}
"""A text in the message about a job, by how the job ended."""

_PING = " ready: https://discord.com/channels/"
ROLES = ("image", "blended_1", "blended_2", "blended_3", "mask_image", "control_image")
"""The columns of a job that name an upload."""
GALLERY = "390"
"""The channel of the server's gallery."""
LOG = "391"
"""The server's log channel."""
_TOLD = "Your report "
"""How a person is told what became of a report."""


@dataclass
class Remains:
    """The end of a scenario: Discord as people see it, and the rows and files of the bot."""

    discord: LocalDiscord
    data: Path
    jobs: Sequence[Row]
    images: Sequence[Row]
    deaths: int
    """How often the bot was killed."""
    forgotten: Sequence[str] = ()
    """Words from prompts that people had deleted."""
    log: str = ""
    side_messages: Sequence[Row] = ()
    removed: Collection[int] = ()
    """The jobs whose results were removed."""
    reports: Sequence[Row] = ()
    """The reports, with a row for each person who joined one."""
    cases: Sequence[Row] = ()

    def here(self) -> list[Message]:
        """The public messages where people ask."""
        return [m for m in self.discord.public() if not _is_aside(m) and not _is_notice(m)]

    def aside(self) -> list[Message]:
        """The messages in the gallery, and copies in direct messages."""
        return [m for m in self.discord.public() if _is_aside(m) and not _is_notice(m)]


def violations(remains: Remains) -> list[str]:
    """A sentence for every broken promise; the list is empty if all were kept."""
    return [
        *_acknowledged(remains),
        *_messages(remains),
        *_results(remains),
        *_usage(remains),
        *_forgotten(remains),
        *_pings(remains),
        *_attempts(remains),
        *_copies(remains),
        *_notices(remains),
    ]


def _acknowledged(remains: Remains) -> list[str]:
    """I1: a request that a person saw accepted has exactly one row, and it has ended."""
    found = []
    rows = Counter(str(job["interaction_id"]) for job in remains.jobs)
    for interaction in remains.discord.interactions.values():
        answer = interaction.answer
        if interaction.type == 2 and answer is not None and answer.public and rows[interaction.id] != 1:
            found.append(f"I1: {rows[interaction.id]} rows for what was answered with {answer.content!r}")
    return found + [
        f"I1: job {job['id']} has not ended: {job['status']}, posted at {job['posted_at']}"
        for job in remains.jobs
        if job["status"] not in SAYS or job["posted_at"] is None
    ]


def _messages(remains: Remains) -> list[str]:
    """I2: the message of a job says how it ended, and there are no other messages."""
    found = []
    public = {message.id: message for message in remains.here()}
    for job in remains.jobs:
        message = public.pop(str(job["message_id"]), None)
        if job.get("forgotten_at"):
            if message is not None:
                found.append(f"I2: job {job['id']} was deleted on request, but its message says {message.content!r}")
        elif message is None:
            found.append(f"I2: job {job['id']} ended as {job['status']}, and has no message")
        elif job["id"] in remains.removed:
            if not message.content.startswith("🗑️"):
                found.append(f"I2: job {job['id']} was removed, and its message says {message.content!r}")
        elif SAYS.get(job["status"], "…") not in message.content or message.cancels():
            found.append(f"I2: job {job['id']} ended as {job['status']}, and its message says {message.content!r}")
    # If a deferral was never answered, Discord itself says that the bot did not respond.
    return found + [
        f"I2: a message of no job says {message.content!r}"
        for message in public.values()
        if not message.flags & LOADING and _PING not in message.content
    ]


def _results(remains: Remains) -> list[str]:
    """I3: a delivered job shows its pictures once, with the same bytes; no other job shows pictures."""
    found = []
    shown = Counter(str(number) for message in remains.here() for number in _pictured(message))
    for job in remains.jobs:
        gone = job.get("forgotten_at") or job["id"] in remains.removed
        wanted = job["status"] == "delivered" and not gone
        if shown[str(job["id"])] != wanted:
            found.append(f"I3: job {job['id']} ended as {job['status']}, and {shown[str(job['id'])]} messages show it")
            continue
        images = [image for image in remains.images if image["job_id"] == job["id"]]
        if not wanted:
            continue
        if len(images) != job["num_images_per_prompt"]:
            found.append(f"I3: job {job['id']} has {len(images)} pictures")
        message = remains.discord.messages[str(job["message_id"])]
        kept = [hashlib.sha256(_file(remains, image["sha256"]).read_bytes()).hexdigest() for image in images]
        if not kept == [image["sha256"] for image in images] == [file["sha256"] for file in message.attachments]:
            found.append(f"I3: job {job['id']} shows other pictures than were kept")
    return found


def _usage(remains: Remains) -> list[str]:
    """I4: the quota counts in full the pictures that a person sees, and of cancelled jobs only what they used."""
    found = []
    counted = Counter[str]()
    seen = Counter[str]()
    for job in remains.jobs:
        # The rule of `bot.storage.usage.SPENT`.
        gone = job.get("forgotten_at") or job["id"] in remains.removed
        if job["status"] not in ("failed", "cancelled") and not gone:
            counted[str(job["user_id"])] += job["num_images_per_prompt"]
        if job["status"] == "cancelled" and job["used_seconds"] is None and job["started_at"] is not None:
            found.append(f"I4: job {job['id']} was cancelled, but its held quota is not settled")
    for message in remains.here():
        if _pictured(message) and (named := re.search(r"<@(\d+)>", message.content.splitlines()[0].rpartition("—")[2])):
            seen[named[1]] += len(message.attachments)
    if counted != seen:
        found.append(f"I4: {dict(counted)} pictures count, and people have {dict(seen)}")
    return found


def _forgotten(remains: Remains) -> list[str]:
    """I5: of deleted data no byte and no picture is left."""
    found = [f"I5: {where}" for where in left_of(remains.forgotten, remains.data)]
    found += [f"I5: {word!r} is in the log" for word in remains.forgotten if word in remains.log]
    found += [
        f"I5: {word!r} is said by a message"
        for word in remains.forgotten
        for message in remains.discord.public()
        if word in message.content
    ]
    named = {image["sha256"] for image in remains.images}
    named |= {job[role] for job in remains.jobs for role in ROLES if role in job}
    return found + [f"I5: {path.name} is left" for path in _files(remains) if path.name not in named]


def _files(remains: Remains) -> list[Path]:
    return list((remains.data / "pictures").glob("*/*"))


def _file(remains: Remains, sha256: str) -> Path:
    return remains.data / "pictures" / sha256[:2] / sha256


def left_of(words: Sequence[str], folder: Path) -> list[str]:
    """Say which files contain which of these words, byte by byte."""
    contents = [(path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [f"{word!r} is in {path.name}" for path, content in contents for word in words if word.encode() in content]


def _pings(remains: Remains) -> list[str]:
    """I6: only the person who asked is notified, and only once."""
    found = []
    asked = {str(job["message_id"]): str(job["user_id"]) for job in remains.jobs}
    pings = Counter[str]()
    for message in remains.discord.messages.values():
        about = message.id
        if _PING in message.content:
            about = message.content.rpartition("/")[2]
            pings[about] += 1
        if strangers := message.pinged - {asked.get(about)}:
            found.append(f"I6: {message.content!r} notified {sorted(strangers)}")
        if message.loose:
            found.append(f"I6: {message.content!r} was allowed to notify everyone it names")
    found += [f"I6: {count} pings about one result" for count in pings.values() if count > 1]
    return found


def _attempts(remains: Remains) -> list[str]:
    """A job ends after two attempts in which the engine died; a restart of the bot costs no attempt."""
    return [
        f"attempts: job {job['id']} has {job['attempt']} of them, {job['deaths']} deaths of the engine "
        f"and {remains.deaths} of the bot"
        for job in remains.jobs
        if job["deaths"] > 1 or job["attempt"] > 1 + job["deaths"] + remains.deaths
    ]


def _copies(remains: Remains) -> list[str]:
    """I7: each copy has its row and each row its copy, once in each place; none shows what was deleted."""
    found = []
    rows = {str(row["message_id"]): row for row in remains.side_messages if row["kind"] != "refusal"}
    gone = {str(job["id"]) for job in remains.jobs if job.get("forgotten_at") or job["id"] in remains.removed}
    places = Counter((message.channel, tuple(sorted(_pictured(message)))) for message in remains.aside())
    found += [f"I7: {count} copies of {jobs} in {channel}" for (channel, jobs), count in places.items() if count > 1]
    for message in remains.aside():
        if rows.pop(message.id, None) is None:
            found.append(f"I7: no row knows of {message.content!r} in {message.channel}")
        if _pictured(message) & gone:
            found.append(f"I7: what was deleted is still in {message.channel}")
    return found + [f"I7: the {row['kind']} copy {row['id']} is not there" for row in rows.values()]


def _notices(remains: Remains) -> list[str]:
    """I8: the log channel has each report and each case once, and each reporter hears once what became of it."""
    said = Counter(
        (message.channel, re.split(r"[:*]+ | on ", message.content.removeprefix("**"), maxsplit=1)[0])
        for message in remains.discord.public()
        if _is_notice(message)
    )
    wanted = {(LOG, f"🚩 Report {report['id']}") for report in remains.reports}
    wanted |= {(LOG, f"Case {case['number']}") for case in remains.cases}
    wanted |= {(f"{DIRECT}{row['user_id']}", f"{_TOLD}{row['id']}") for row in remains.reports if row["ended_at"]}
    return [f"I8: {what} is said {said[what]} times" for what in sorted(wanted | set(said)) if said[what] != 1]


def _is_notice(message: Message) -> bool:
    """Whether a message is about a report or a case."""
    return message.channel == LOG or message.content.startswith(_TOLD)


def _is_aside(message: Message) -> bool:
    return message.channel == GALLERY or message.channel.startswith(DIRECT)


def _pictured(message: Message) -> set[str]:
    """The jobs whose finished pictures a message shows."""
    names = (re.fullmatch(r"atelier-(\d+)-\d+\.(?:png|webp)", file["filename"]) for file in message.attachments)
    return {name[1] for name in names if name is not None}
