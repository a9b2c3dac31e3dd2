"""A person's wish to have everything deleted: no byte is left in a file, no quota is reset, and no kill stops it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import aiosqlite
import pytest

from bot.config import Config
from bot.errors import PaintFailed, Rejected, StorageError
from bot.jobs import (
    GenerationRequest,
    GuildId,
    Image,
    Job,
    JobStatus,
    Operation,
    PictureRef,
    Requester,
    Scope,
    Surface,
    UserId,
)
from bot.offline import forget_person
from bot.policy.limits import QUOTA_WINDOW
from bot.storage import sqlite
from bot.storage.backups import back_up, backups_of
from bot.storage.cases import By
from bot.storage.comparisons import Comparisons
from bot.storage.consents import Consents
from bot.storage.forgetting import NAMED_FOR, REMEMBERED_FOR, Forgetting
from bot.storage.member_reports import MemberReports
from bot.storage.preferences import Preferences, PreferenceStore
from bot.storage.recovery import STAGED, heal, restore
from bot.storage.styles import Style, Styles
from tests.bot.storage.conftest import ADA, GRACE, GUILD, MODERATOR, NOON, Store, a_request, open_store
from tests.bot.storage.test_recovery import kill_everywhere, make_schema_1
from tests.faults.invariants import left_of
from tests.picture_cases import SIZE, chunk, in_png, quarters, saved

WORD = "xylophone"
UPLOAD = hashlib.sha256(WORD.encode()).hexdigest()

GONE = {
    "jobs": {"request", "reason", "roles", "value_sources", "label"},
    "images": {"sha256", "delivered_sha256"},
    "ratings": {"emoji", "added_at"},
    "cases": {"reason"},
    "preferences": {"aspect", "model"},
    "tags": {"tag", "added_at"},
    "styles": {"content"},
    "reporters": {"reason"},
    "consents": {"joined_at", "left_at"},
    "comparisons": {"prompt", "first", "second", "ended_at"},
    "series": {"kind", "title", "look"},
    "panels": {"words", "refusal"},
}
"""Columns of text that hold a person's words, or what they chose."""

STAYS = {
    "jobs": {
        *("surface", "model_hash", "status"),  # sums and turns are made of these
        *(
            "asked_at",
            "sent_at",
            "started_at",
            "painted_at",
            "posted_at",
            "promised_at",
            "stated_at",
            "forgotten_at",
            "removed_at",
        ),
    },
    "rules": {"scope", "name", "value"},  # what moderators decided: a deletion lifts no limit and no block
    "cases": {"at", "action", "scope", "before", "after", "logged_at"},  # numbers and rules
    "styles": {"name"},  # moderators chose it, and rules and cases name it
    "reporters": {"at", "told_at"},
    # What moderators chose for their server.
    "contests": {"theme", "shuffle", "begun_at", "entries_until", "votes_until", "state"},
    "member_reports": {"opened_at", "ended_at", "outcome", "logged_at"},  # that a result was reported
    "refusals": {"at", "rule", "origin", "retry_at"},  # numbers of nobody
    "removals": {"noted_at"},
    "lanes": {"name", "drained_at"},
    "memory": {"name", "value"},  # the house's own
    "dataset_secret": {"value"},  # as well
    "deletion_requests": {"at", "done_at"},
    "posts": {"reposted_at"},
    "side_messages": {"kind", "begun_at", "over_at"},  # numbers, until the message is deleted
}


def forgetting_of(store: Store) -> Forgetting:
    return Forgetting(store.database, store.pictures, store.folder / "atelier.db", None, Surface.DISCORD, store.clock)


async def one_of_each(store: Store, user: int = ADA, word: str = WORD) -> list[Job]:
    """A job in every state, asked for with a word."""
    ways = (store.asked, store.running, store.rendered, store.delivered, store.failed, store.cancelled)
    return [await way(user, prompt=f"a {word}", negative_prompt=word) for way in ways]


def wordy(words: str) -> GenerationRequest:
    """A request that says something in every field that a person fills in."""
    return a_request(
        prompt=words,
        negative_prompt=words,
        seed=123_456_789,
        operation=Operation.INPAINT,
        loras=((words, 0.123456),),
        image=UPLOAD,
        blended=(UPLOAD, UPLOAD, UPLOAD),
        mask_image=UPLOAD,
        strength=0.123456,
        controlnet=words,
        control_image=UPLOAD,
        controlnet_conditioning_scale=0.123456,
    )


async def set_all(store: Store, table: str, column: str, value: str, where: str) -> None:
    async def work(connection: aiosqlite.Connection) -> None:
        await connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))

    await store.database.write(work)


async def forgotten(store: Store, user: int = ADA) -> Forgetting:
    """Carry out a wish to the end."""
    forgetting = forgetting_of(store)
    await forgetting.forget(UserId(user))
    assert await forgetting.finish()
    return forgetting


async def test_every_column_of_text_is_known_and_what_a_person_wrote_leaves_no_byte(store: Store) -> None:
    await one_of_each(store)
    (_, _, _, delivered, *_) = await store.database.fetch_all("SELECT id FROM jobs")
    await store.ratings.add((await store.queue.get(delivered["id"])).destination.message_id, ADA, WORD)
    await store.cases.change(By(GUILD, MODERATOR, WORD), "limits set", (Scope.PERSON, ADA), {"pace": 1})
    await store.cases.change(By(GUILD, MODERATOR, f"who wants A {WORD}?"), "pause", (Scope.SERVER, 0), {"paused": True})
    await store.refusals.add(Requester(ADA, GUILD), Rejected("no", rule="pace", origin=f"person:{ADA}"))
    await PreferenceStore(store.database).change(ADA, {"model": WORD})
    await store.database.execute("INSERT INTO tags VALUES (?, ?, ?, ?)", (delivered["id"], WORD, ADA, WORD))
    comparisons = Comparisons(store.database, store.clock)
    ids = [row["id"] for row in await store.database.fetch_all("SELECT id FROM jobs ORDER BY id LIMIT 4")]
    for user, jobs in ((ADA, (ids[0], ids[1])), (GRACE, (ids[2], ids[3]))):
        words = WORD if user == ADA else "walrus"
        made = await comparisons.add(Requester(user, GUILD), words, (words, words), jobs, 0)
        await comparisons.vote(made.id, ADA, 1, for_second=True)
        await comparisons.vote(made.id, GRACE, 1, for_second=True)
    await comparisons.end(made.id)
    await Consents(store.database, store.clock).join(Requester(ADA, GUILD))
    await store.database.execute("INSERT INTO series VALUES (1, ?, ?, ?, ?, ?, 0, 1.0)", (WORD, GUILD, ADA, WORD, WORD))
    await store.database.execute("INSERT INTO panels VALUES (1, 1, 1, ?, ?, ?)", (WORD, delivered["id"], WORD))
    await store.database.execute("UPDATE jobs SET series_id = 1, label = ? WHERE id = ?", (WORD, delivered["id"]))
    styles = Styles(store.database, store.rules, store.cases)
    await styles.put(By(GUILD, MODERATOR), "style add", Style("ink", f"{{prompt}}, {WORD}", WORD), delivered["id"])
    reports = MemberReports(store.database, store.clock)
    await reports.add(GUILD, await store.queue.get(delivered["id"]), GRACE, WORD)
    await store.database.execute("INSERT INTO reporters VALUES (1, ?, ?, ?, NULL)", (ADA, WORD, WORD))
    texts: dict[str, set[str]] = {}
    for row in await store.database.fetch_all(
        'SELECT t.name AS "table", c.name AS "column" FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c '
        "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND c.type NOT IN ('INTEGER', 'REAL')"
    ):
        texts.setdefault(row["table"], set()).add(row["column"])
    known = {table: GONE.get(table, set()) | STAYS.get(table, set()) for table in GONE | STAYS}
    assert texts == known, "say here what a deletion does with each column of text"

    which = {
        "jobs": "id != 4",
        "cases": "scope = 'person'",
        "comparisons": f"user_id = {ADA}",
    }  # what quotes a prompt of hers stays as it is
    for table, columns in GONE.items():
        # A longer value than before, so that it moves to another page.
        for column in columns - {"path"}:
            value = f"{WORD} {column} " + "x" * 3000
            if column == "roles":
                value = json.dumps([value])
            if column == "content":
                value = json.dumps({"prompt": value, "negative_prompt": value, "description": value, "steps": 7})
            if column == "request":
                value = json.dumps(asdict(wordy(value)))
            await set_all(store, table, column, value, which.get(table, "true"))
    assert left_of([WORD], store.folder) != []
    await forgotten(store)
    assert left_of([WORD, UPLOAD, "123456"], store.folder) == []
    (refusal,) = await store.database.fetch_all("SELECT user_id, origin FROM refusals")
    assert tuple(refusal) == (0, "person:0")
    assert store.files() == []
    assert await store.database.fetch_all("SELECT * FROM series") == []
    assert await store.database.fetch_all("SELECT * FROM panels") == []
    votes = await store.database.fetch_all("SELECT comparison_id, user_id FROM votes")
    assert [tuple(row) for row in votes] == [(made.id, GRACE)], "those of others on her comparison go with it"
    assert await styles.of(GUILD) == {"ink": Style("ink", steps=7, number=1, version=1)}, "settings are no words"
    jobs = [await store.queue.get(row["id"]) for row in await store.database.fetch_all("SELECT id FROM jobs")]
    assert {job.request for job in jobs} == {a_request(prompt="", seed=0)}, "what sums and turns are made of stays"
    assert {job.status for job in jobs} == {JobStatus.CANCELLED, JobStatus.DELIVERED, JobStatus.FAILED}
    assert await store.refusals.of_person(Requester(ADA, GUILD), 9) == []


async def test_the_settings_of_one_person_go_and_those_of_others_stay(store: Store) -> None:
    preferences = PreferenceStore(store.database)
    for user in (ADA, GRACE):
        await preferences.change(user, {"images": 2, "ping": False})
    forgetting = await forgotten(store)
    assert await preferences.of(ADA) == Preferences()
    assert (await forgetting.export(ADA))["settings"] == []
    (kept,) = (await forgetting.export(GRACE))["settings"]
    assert (kept["images"], kept["ping"]) == (2, 0)


async def test_the_reason_of_a_failed_request_is_exported_in_words(store: Store) -> None:
    job = await store.running(ADA)
    reason = PaintFailed("No engine has the model {model} now. Choose another one.", model="owl").reason
    assert await store.queue.fail(job, reason, 1.0)
    await store.running(ADA)
    failed, other = (await forgetting_of(store).export(ADA))["requests"]
    assert failed["reason"] == "No engine has the model owl now. Choose another one."
    assert other["reason"] is None


async def test_words_that_are_written_into_pictures_go_with_the_pictures(store: Store) -> None:
    """Also where somebody else's request started from the picture."""
    text = chunk(b"tEXt", b"parameters\0" + f"a {WORD}\nSteps: 4, Seed: 7".encode("latin-1"))
    png = in_png(saved(quarters()), text)
    sha256 = hashlib.sha256(png).hexdigest()
    job = await store.running(ADA, prompt=f"a {WORD}")
    async with store.pictures.kept({sha256: png}):
        assert await store.queue.render(job, [Image(png, 7, *SIZE, sha256)], "hash")
    await store.queue.enqueue(
        Requester(GRACE, GUILD),
        job.destination,
        a_request(image=sha256, operation=Operation.IMAGE2IMAGE),
        interaction_id=None,
        admit=lambda _: asyncio.sleep(0),
        sources=(PictureRef(job.id, 1),),
    )
    assert any(sha256 in where for where in left_of([WORD], store.folder))
    await forgotten(store)
    assert left_of([WORD], store.folder) == []
    assert store.files() == []


async def test_a_prompt_of_a_letter_blanks_no_reason_and_a_long_one_none_of_another_server(store: Store) -> None:
    for prompt in ("e", " ", f"a {WORD}"):
        await store.asked(ADA, prompt=prompt)
    elsewhere, why = GuildId(901), "a xylophone was asked for again and again"
    await store.cases.change(By(GUILD, MODERATOR, "he spams"), "pause", (Scope.SERVER, 0), {"paused": True})
    await store.cases.change(By(elsewhere, MODERATOR, why), "pause", (Scope.SERVER, 0), {"paused": True})
    await forgetting_of(store).forget(ADA)
    assert [case.reason for case in await store.cases.latest(GUILD, 9)] == ["he spams"]
    assert [case.reason for case in await store.cases.latest(elsewhere, 9)] == [why]


async def test_other_people_keep_what_is_theirs(store: Store) -> None:
    await one_of_each(store, GRACE, "walrus")
    await one_of_each(store)
    before = [tuple(row) for row in await store.database.fetch_all("SELECT * FROM jobs WHERE user_id = ?", (GRACE,))]
    files = store.files()
    await forgotten(store)
    after = [tuple(row) for row in await store.database.fetch_all("SELECT * FROM jobs WHERE user_id = ?", (GRACE,))]
    assert after == before
    assert store.files() == files, "both have painted the same, and each file is kept once"


async def test_a_deletion_gives_back_no_quota_but_what_had_not_begun(store: Store) -> None:
    since, ada = NOON - timedelta(days=1), Requester(ADA, GUILD)
    _, running, *_ = await one_of_each(store)
    before = await store.usage.spent(ada, since)
    held = 0.32768
    assert [seconds for _, seconds in before] == pytest.approx([held] * 4)
    await forgetting_of(store).forget(ADA, lambda job_id: 0.125 * (job_id == running.id))
    assert [seconds for _, seconds in await store.usage.spent(ada, since)] == pytest.approx([0.125, held, held])
    assert await store.queue.of_person(ada) == []


async def test_late_answers_of_what_was_forgotten_bring_nothing_back(store: Store) -> None:
    waiting, running, rendered, delivered, failed, cancelled = await one_of_each(store)
    await forgotten(store)
    assert not await store.queue.render(running, (), "hash")
    assert not await store.queue.fail(running, f"The model refuses {WORD!r}.")
    assert not await store.queue.requeue(running)
    assert await store.queue.claim(waiting.id) is None
    await store.queue.give_up(failed, f"Discord answered 400: What is {WORD!r}?")
    await store.queue.posted(rendered, UserId(77))
    rows = await store.database.fetch_all("SELECT * FROM jobs")
    assert {row["reason"] for row in rows} == {None}
    assert (await store.now(rendered)).destination.message_id == 77, "a new message must be found, to be deleted"
    assert await store.queue.unposted() == []
    assert [job_id for job_id, _ in await store.queue.to_remove()] == [
        job.id for job in (waiting, running, rendered, delivered, failed, cancelled)
    ]
    await store.queue.removed(await store.now(rendered))
    assert len(await store.queue.to_remove()) == 5
    assert left_of([WORD], store.folder) == []


async def test_whose_numbers_they_were_is_forgotten_later_and_so_is_the_wish(store: Store) -> None:
    assert QUOTA_WINDOW + timedelta(days=1) < NAMED_FOR, "also with a clock that goes wrong by a day"
    (job, *_) = await one_of_each(store)
    forgetting = await forgotten(store)
    for one in await store.database.fetch_all("SELECT id FROM jobs WHERE id != ?", (job.id,)):
        await store.queue.removed(await store.queue.get(one["id"]))

    async def named() -> list[int]:
        return [row["id"] for row in await store.database.fetch_all("SELECT id FROM jobs WHERE user_id = ?", (ADA,))]

    await forgetting.tidy()
    assert len(await named()) == 6
    store.clock.forward(NAMED_FOR.total_seconds() + 1)
    await forgetting.tidy()
    assert await named() == [job.id], "its message is still there, and is found by whom it is about"
    await store.queue.removed(await store.now(job))
    await forgetting.tidy()
    assert await named() == []
    assert len(await store.database.fetch_all("SELECT 1 FROM deletion_requests")) == 1
    store.clock.forward(REMEMBERED_FOR.total_seconds())
    await forgetting.tidy()
    assert await store.database.fetch_all("SELECT 1 FROM deletion_requests") == []
    kept = await store.database.fetch_all("SELECT count(*) AS asked, sum(held_seconds) AS held FROM jobs")
    assert (kept[0]["asked"], kept[0]["held"]) == (6, pytest.approx(6 * 0.32768)), "sums stay what they were"


async def test_backups_and_former_databases_lose_the_words_and_nothing_else(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path, folder = store.folder / "atelier.db", store.folder
    await one_of_each(store, GRACE, "walrus")
    await one_of_each(store)
    backups = [back_up(path, None, now=NOON - timedelta(days=days)) for days in range(3)]
    make_schema_1(old := folder / "old.db")
    with closing(sqlite.connect(old)) as connection:
        connection.execute("UPDATE jobs SET prompt = ? WHERE user_id = 1", (WORD,))
    back_up(old, None, now=NOON - timedelta(days=9)).rename(folder / "backups" / "20260420T120000-0123456789abcdef.db")
    old.unlink()
    shutil.copy(path, folder / "atelier-aside-20260401T120000.db")
    shutil.copy(f"{path}-wal", folder / "atelier-aside-20260401T120000.db-wal")
    (folder / "atelier-aside-20260402T120000.db-wal").write_bytes(WORD.encode())
    (backups[2].with_name("20260419T120000-0123456789abcdef.db")).write_bytes(b"no database of ours")
    assert len(left_of([WORD], folder)) > 5
    await forgotten(store)

    assert left_of([WORD], folder) == []
    assert len(left_of(["walrus"], folder)) == 5
    assert [backup.made_at for backup in backups_of(path)[:3]] == [NOON - timedelta(days=days) for days in range(3)]
    assert [backup.is_unchanged() for backup in backups_of(path)] == [True] * 3 + [False] * 2
    assert "only you can delete: " + str(folder / "backups" / "20260419T120000-0123456789abcdef.db") in caplog.text
    later = [backup.path for backup in backups_of(path)]
    await store.asked(GRACE, prompt="a zebra")
    await forgotten(store)
    assert [backup.path for backup in backups_of(path)] == later, "what a wish is known in is as it should be"


async def test_a_backup_that_is_put_back_later_brings_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "data" / "atelier.db"
    path.parent.mkdir()
    async with open_store(path.parent) as store:
        await one_of_each(store)
        shutil.copy(back_up(path, None), elsewhere := tmp_path / "elsewhere.db")
        await forgotten(store)
    assert left_of([WORD], tmp_path) == [f"{WORD!r} is in elsewhere.db"]
    assert restore(elsewhere, path).jobs == 6
    elsewhere.unlink()
    assert left_of([WORD], tmp_path) == []
    async with open_store(path.parent) as store:
        assert await store.waiting() == []
        assert await forgetting_of(store).finish()
        # It is known for the next time, too.
        assert len(await store.database.fetch_all("SELECT 1 FROM deletion_requests")) == 1


@pytest.mark.parametrize("cut", ["before the former database is moved", "after it"])
async def test_a_restore_after_one_that_was_killed_brings_nothing_back(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "data" / "atelier.db"
    path.parent.mkdir()
    async with open_store(path.parent) as store:
        await one_of_each(store)
        shutil.copy(back_up(path, None), elsewhere := tmp_path / "elsewhere.db")
        await forgotten(store)
    restore(elsewhere, path)
    path.rename(path.with_suffix(f".{STAGED}"))
    if cut.startswith("before"):
        (former,) = path.parent.glob("atelier-aside-*.db")
        former.rename(path)
    restore(elsewhere, path)
    elsewhere.unlink()
    assert left_of([WORD], tmp_path) == []


async def test_a_deletion_by_the_host_is_not_undone_by_a_restore_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "data" / "atelier.db"
    path.parent.mkdir()
    async with open_store(path.parent) as store:
        await one_of_each(store)
    shutil.copy(path, path.with_suffix(f".{STAGED}"))
    assert (await forget_person(Config(data=path.parent), UserId(ADA))).requests == 6
    assert heal(path) is None
    assert left_of([WORD], tmp_path) == []


async def test_an_upload_goes_unless_somebody_else_needs_it(store: Store) -> None:
    files = {hashlib.sha256(data).hexdigest(): data for data in (b"0", b"1", b"2")}
    mine, ours, coming = files
    forgetting = forgetting_of(store)
    async with store.pictures.kept(files):
        await store.asked(ADA, image=mine, mask_image=ours)
        await store.asked(GRACE, image=ours)
        await forgetting.forget(ADA)
        # Another person sends the same picture in this moment.
        async with store.pictures.kept({mine: b"0"}):
            assert await forgetting.finish()
            assert await store.pictures.read([mine]), "somebody is about to name it"
        await store.asked(GRACE, image=coming)
    assert sorted(Path(path).name for path in store.files()) == sorted([ours, coming])


async def test_pictures_that_a_former_database_names_stay_until_it_is_deleted(store: Store) -> None:
    await store.delivered()
    (picture,) = await store.names(await store.delivered(GRACE, seed=8))
    await store.asked(GRACE, image=picture)
    former = store.folder / "atelier-aside-20260501T120000.db"
    sqlite.copy(store.folder / "atelier.db", former, None)
    await store.database.execute("DELETE FROM images")
    await store.database.execute("DELETE FROM jobs")
    forgetting = forgetting_of(store)
    await forgetting.sweep()
    assert len(store.files()) == 2
    former.write_bytes(b"damaged")
    await forgetting.sweep()
    assert len(store.files()) == 2, "it cannot be known what it names"
    former.unlink()
    await forgetting.sweep()
    assert store.files() == []


async def test_a_deletion_reaches_the_pictures_that_former_databases_name(store: Store) -> None:
    mine, graces = await store.delivered(ADA), await store.delivered(GRACE, seed=8)
    kept = await store.names(graces)
    sqlite.copy(store.folder / "atelier.db", store.folder / "atelier-aside-20260501T120000.db", None)
    (store.folder / "atelier-aside-20260502T120000.db").write_bytes(b"damaged")
    await store.database.execute("DELETE FROM images WHERE job_id = ?", (graces.id,))
    await forgotten(store, ADA)
    assert [Path(path).name for path in store.files()] == kept
    assert (await store.now(mine)).request.prompt == ""


async def test_a_backup_that_is_being_made_is_waited_for_and_what_a_killed_one_left_is_removed(store: Store) -> None:
    await one_of_each(store)
    backups = store.folder / "backups"
    backups.mkdir()
    killed, alive = backups / "20260501T120000.4194304.new", backups / f"20260501T120000.{os.getpid()}.new.1.part"
    for path in (killed, alive):
        path.write_bytes(WORD.encode())
    forgetting = forgetting_of(store)
    await forgetting.forget(ADA)
    assert not await forgetting.finish()
    assert left_of([WORD], store.folder) == [f"{WORD!r} is in {alive.name}"]
    alive.unlink()
    assert await forgetting.finish()


async def test_a_reader_of_the_file_keeps_the_words_there_no_longer_than_it_reads(store: Store) -> None:
    await one_of_each(store)
    forgetting = forgetting_of(store)
    with closing(sqlite.connect(store.folder / "atelier.db", readonly=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchall()
        await forgetting.forget(ADA)
        begun = time.monotonic()
        with pytest.raises(StorageError, match="read by another program"):
            await forgetting.finish()
        assert time.monotonic() - begun < 2, "nobody else waits for it"
        reader.execute("COMMIT")
    assert await forgetting.finish()
    assert left_of([WORD], store.folder) == []


async def test_a_deletion_killed_anywhere_was_not_begun_or_is_finished_by_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    async with open_store(tmp_path / "start") as store:
        await store.delivered(ADA, prompt=WORD)
        await store.delivered(GRACE, prompt="a walrus")
        back_up(tmp_path / "start" / "atelier.db", None, now=NOON)
    left = kill_everywhere("forget", tmp_path)
    assert len(left) > 40, "it was killed at many steps"
    finished = []
    for path in left:
        heal(path)
        async with open_store(path.parent) as store:
            begun = bool(await store.database.fetch_all("SELECT 1 FROM deletion_requests"))
            await forgetting_of(store).finish()
        finished.append(begun)
        remains = left_of([WORD], path.parent)
        assert not remains if begun else f"{WORD!r} is in atelier.db" in remains
        assert len(left_of(["walrus"], path.parent)) == 2
        assert [backup.is_unchanged() for backup in backups_of(path)] == [True]
    assert finished == sorted(finished), "once begun, always finished"
    assert (finished[0], finished[-1]) == (False, True)
