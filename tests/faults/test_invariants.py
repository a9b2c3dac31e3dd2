"""The invariants themselves: each broken promise is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from tests.faults.invariants import GALLERY, Remains, violations
from tests.faults.light_engine import picture
from tests.local_discord import ADA, CHANNEL, Interaction, LocalDiscord, Message

PNG = picture("a red apple", 7)
SHA256 = hashlib.sha256(PNG).hexdigest()


def file_of(data: Path) -> Path:
    """Where the picture is kept."""
    return data / "pictures" / SHA256[:2] / SHA256


@pytest.fixture
def remains(tmp_path: Path) -> Remains:
    """Ada asked for one picture, and it was delivered."""
    file_of(tmp_path).parent.mkdir(parents=True)
    file_of(tmp_path).write_bytes(PNG)
    file = {"id": "9", "filename": "atelier-1-1.png", "sha256": SHA256}
    asked = Interaction("5", 2, ADA, CHANNEL, {}, 1)
    asked.response = Message("6", CHANNEL, asked, "**a red apple** — <@200>\n-# seed `7`", [file], pinged={"200"})
    discord = LocalDiscord(messages={"6": asked.response}, interactions={"5": asked})
    job = {
        "id": 1,
        "interaction_id": 5,
        "message_id": 6,
        "user_id": 200,
        "status": "delivered",
        "started_at": "2026-01-01",
        "used_seconds": 1.0,
        "posted_at": "2026-01-01",
        "attempt": 2,
        "deaths": 0,
        "num_images_per_prompt": 1,
    }
    return Remains(discord, tmp_path, [job], [{"job_id": 1, "sha256": SHA256}], deaths=1)


def test_a_kept_promise_is_no_violation(remains: Remains) -> None:
    assert violations(remains) == []


def forgotten(remains: Remains) -> None:
    remains.jobs = []


def not_posted(remains: Remains) -> None:
    remains.jobs[0]["posted_at"] = None


def cancelled_in_silence(remains: Remains) -> None:
    remains.jobs[0]["status"] = "cancelled"


def without_a_message(remains: Remains) -> None:
    remains.discord.messages["6"].deleted = True


def still_open(remains: Remains) -> None:
    remains.discord.messages["6"].components = [{"components": [{"custom_id": "a1:cancel:1"}]}]


def told_twice(remains: Remains) -> None:
    remains.discord.messages["7"] = Message("7", CHANNEL, content="❌ a red apple")


def shown_twice(remains: Remains) -> None:
    again = deepcopy(remains.discord.messages["6"])
    remains.discord.messages["7"] = again
    again.id = "7"


def another_picture(remains: Remains) -> None:
    remains.discord.messages["6"].attachments[0]["sha256"] = "0" * 64


def a_damaged_file(remains: Remains) -> None:
    file_of(remains.data).write_bytes(PNG[:-1])


def a_picture_short(remains: Remains) -> None:
    remains.jobs[0]["num_images_per_prompt"] = 2


def a_stranger_is_pinged(remains: Remains) -> None:
    remains.discord.messages["6"].pinged = {"201"}


def anybody_might_be_pinged(remains: Remains) -> None:
    remains.discord.messages["6"].loose = True


def pinged_twice(remains: Remains) -> None:
    for number in ("7", "8"):
        words = "<@200> your picture is ready: https://discord.com/channels/300/400/6"
        remains.discord.messages[number] = Message(number, CHANNEL, content=words, pinged={"200"})


def a_word_is_left(remains: Remains) -> None:
    (remains.data / "atelier.db-wal").write_bytes(b"... a red xylophone ...")
    remains.forgotten = ["xylophone"]


def a_word_is_logged(remains: Remains) -> None:
    remains.forgotten, remains.log = ["xylophone"], "job 1 failed: xylophone"


def forgotten_and_still_shown(remains: Remains) -> None:
    remains.jobs[0]["forgotten_at"] = "2026-01-01"


def forgotten_and_its_picture_is_left(remains: Remains) -> None:
    remains.jobs[0]["forgotten_at"] = "2026-01-01"
    remains.discord.messages["6"].deleted = True
    remains.images = []


def copied_once(remains: Remains) -> None:
    copy = deepcopy(remains.discord.messages["6"])
    copy.id, copy.channel, copy.pinged = "7", GALLERY, set()
    remains.discord.messages["7"] = copy
    remains.side_messages = [{"id": 1, "kind": "gallery", "message_id": 7}]


def copied_twice(remains: Remains) -> None:
    copied_once(remains)
    again = deepcopy(remains.discord.messages["7"])
    again.id = "8"
    remains.discord.messages["8"] = again


def a_copy_is_lost(remains: Remains) -> None:
    copied_once(remains)
    remains.discord.messages["7"].deleted = True


def a_copy_outlives_its_result(remains: Remains) -> None:
    copied_once(remains)
    remains.removed = [1]
    remains.discord.messages["6"].content = "🗑️ Removed."
    remains.discord.messages["6"].attachments = []


def too_many_attempts(remains: Remains) -> None:
    remains.jobs[0]["attempt"] = 3


@pytest.mark.parametrize(
    ("harm", "promises"),
    [
        (forgotten, {"I1", "I2", "I4", "I6"}),
        (not_posted, {"I1"}),
        (cancelled_in_silence, {"I2", "I3", "I4"}),
        (without_a_message, {"I2", "I3", "I4"}),
        (still_open, {"I2"}),
        (told_twice, {"I2"}),
        (shown_twice, {"I2", "I3", "I4", "I6"}),
        (another_picture, {"I3"}),
        (a_damaged_file, {"I3"}),
        (a_picture_short, {"I3", "I4"}),
        (a_stranger_is_pinged, {"I6"}),
        (anybody_might_be_pinged, {"I6"}),
        (pinged_twice, {"I6"}),
        (a_word_is_left, {"I5"}),
        (a_word_is_logged, {"I5"}),
        (forgotten_and_still_shown, {"I2", "I3", "I4"}),
        (forgotten_and_its_picture_is_left, {"I5"}),
        (too_many_attempts, {"attempts"}),
        (copied_once, set()),
        (copied_twice, {"I7"}),
        (a_copy_is_lost, {"I7"}),
        (a_copy_outlives_its_result, {"I7"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_broken_promise_is_seen(remains: Remains, harm: Callable[[Remains], None], promises: set[str]) -> None:
    harm(remains)
    assert {broken.partition(":")[0] for broken in violations(remains)} == promises
