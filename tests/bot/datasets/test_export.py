"""A data set has only what people agreed to, is whole or absent, and is the same bytes for the same state."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow.parquet as parquet
import pytest

from bot.datasets import files
from bot.datasets.export import Export, export, lock_of
from bot.datasets.files import COLUMNS
from bot.errors import StorageError, StorageFull
from bot.jobs import GuildId, Job, Operation, Requester, Scope, Surface, UserId
from bot.storage.cases import By
from bot.storage.consents import CHANNEL as RULE
from bot.storage.consents import Consents
from bot.storage.forgetting import Forgetting
from bot.storage.picture_folder import PictureFolder
from bot.storage.styles import Style, Styles
from tests.bot.storage.conftest import ADA, CHANNEL, GRACE, GUILD, Store, open_store

OTHER = 701


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()


async def joined(store: Store, *users: int) -> Consents:
    """These people joined, and moderators allowed the channel."""
    consents = Consents(store.database, store.clock)
    for user in users:
        assert await consents.join(Requester(UserId(user), GUILD))
    await store.rule(GUILD, (Scope.CHANNEL, CHANNEL), **{RULE: True})
    return consents


def written(store: Store, name: str = "out", **options: Any) -> Export:
    folder, out = PictureFolder(store.folder), store.folder.parent / name
    return export(store.folder / "atelier.db", None, folder, out, "pictures", **options)


async def made_from(store: Store, source: Job, **changes: Any) -> Job:
    """A result of Ada with the words of another one."""
    job = await store.delivered(ADA, **changes)
    await store.database.execute("INSERT INTO sources VALUES (?, ?, 0)", (job.id, source.id))
    return job


def rows(done: Export) -> list[dict[str, Any]]:
    found = [
        row
        for split in files.SPLITS
        for row in parquet.read_table(done.folder / "data" / f"{split}.parquet").to_pylist()
    ]
    return sorted(found, key=lambda row: row["seed"])


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_only_results_of_people_who_joined_before_in_channels_that_are_allowed(store: Store) -> None:
    await store.delivered(ADA, seed=1)
    store.clock.forward(1)
    consents = await joined(store, ADA)
    await store.delivered(ADA, seed=2, prompt="a <@123> fox", num_images_per_prompt=2)
    await store.delivered(ADA, seed=10, channel=OTHER)
    await store.delivered(ADA, seed=11, guild=901)
    await store.delivered(GRACE, seed=12)
    await store.delivered(ADA, seed=13, image="a" * 64, operation=Operation.IMAGE2IMAGE)
    await store.delivered(ADA, seed=14, control_image="a" * 64, controlnet="canny")
    await store.delivered(ADA, seed=17, operation=Operation.MORPH, frames=4, end_prompt="an owl")
    await store.delivered(ADA, seed=18, provider="openai")
    await store.rendered(ADA, seed=15)
    await store.failed(ADA, seed=16)
    assert await consents.leave(Requester(GRACE, GUILD)) is False
    done = written(store)
    assert [row["seed"] for row in rows(done)] == [2, 3]
    counts = done.chosen.counts
    assert (counts.found, counts.from_pictures, counts.kept, counts.people) == (6, 2, 2, 1)
    assert (counts.moving, counts.remote) == (1, 1)
    row = rows(done)[0]
    assert row["prompt"] == "a @… fox"
    assert row["synthetic"] is True
    assert (row["likes"], row["asked_on"]) == (None, "2026-05-01")
    assert re.fullmatch("[0-9a-f]{20}", row["person"])
    assert not {str(ADA), str(GUILD)} & {str(value) for value in row.values()}


async def test_words_of_a_request_of_somebody_who_did_not_join_are_left_out_and_counted(store: Store) -> None:
    consents = await joined(store, ADA)
    hers = await store.delivered(GRACE, seed=1, prompt="her words")
    again = await made_from(store, hers, seed=2, prompt="her words")
    await made_from(store, again, seed=3, prompt="her words")
    own = await store.delivered(ADA, seed=4)
    await made_from(store, own, seed=5)
    styles = Styles(store.database, store.rules, store.cases)
    by = By(GuildId(GUILD), UserId(ADA))
    from_hers, _ = await styles.put(by, "style add", Style("ink", "{prompt}, her words"), hers.id)
    from_own, _ = await styles.put(by, "style add", Style("oil", "{prompt}, oil"), own.id)
    for seed, style in ((6, from_hers), (7, from_own)):
        await store.delivered(ADA, seed=seed, style=style.name, style_number=style.number, style_version=style.version)
    done = written(store)
    assert [row["seed"] for row in rows(done)] == [4, 5, 7]
    assert (done.chosen.counts.found, done.chosen.counts.borrowed) == (6, 3)
    assert "words of a request of somebody who did not join | 3 |" in (done.folder / "README.md").read_text("utf-8")
    # What she asked for before she joins stays hers; what she asks for then may be painted again, until she leaves.
    store.clock.forward(1)
    assert await consents.join(Requester(GRACE, GUILD))
    agreed = await store.delivered(GRACE, seed=8)
    await made_from(store, agreed, seed=9)
    assert [row["seed"] for row in rows(written(store))] == [4, 5, 7, 8, 9]
    assert await consents.leave(Requester(GRACE, GUILD))
    assert [row["seed"] for row in rows(written(store))] == [4, 5, 7]


async def test_the_pictures_are_as_painted_without_the_texts_of_their_files(store: Store) -> None:
    await joined(store, ADA)
    await store.delivered(ADA, seed=5)
    (row,) = rows(written(store))
    assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
    picture = PIL.Image.open(io.BytesIO(row["image"]["bytes"]))
    assert picture.size == (8, 8)
    assert picture.info == {}
    assert row["image"]["path"] == f"{row['id']}.png"


async def test_two_exports_of_a_state_are_equal_to_the_byte_and_an_unchanged_state_makes_no_version(
    store: Store,
) -> None:
    await joined(store, ADA, GRACE)
    for seed in range(30):
        await store.delivered(GRACE if seed % 3 else ADA, seed=seed, prompt=f"fox {seed}")
    one, other = written(store), written(store, "other")
    assert tree(one.folder) == tree(other.folder)
    assert len(tree(one.folder)) == 6
    again = written(store)
    assert (again.version, again.is_new, again.folder) == (1, False, one.folder)
    assert sorted(path.name for path in one.folder.parent.iterdir()) == ["v1"]
    await store.delivered(ADA, seed=99)
    assert written(store).version == 2
    sizes = [parquet.read_metadata(one.folder / "data" / f"{split}.parquet").num_rows for split in files.SPLITS]
    assert sum(sizes) == 30
    assert all(sizes)


async def test_after_a_withdrawal_or_a_deletion_the_next_version_names_what_to_delete(store: Store) -> None:
    consents = await joined(store, ADA, GRACE, 3)
    for user, seed in ((ADA, 1), (GRACE, 2), (3, 3)):
        await store.delivered(user, seed=seed)
    before = rows(written(store))
    assert await consents.leave(Requester(GRACE, GUILD))
    path = store.folder / "atelier.db"
    await Forgetting(store.database, store.pictures, path, None, Surface.DISCORD, store.clock).forget(UserId(3))
    done = written(store)
    (kept,) = rows(done)
    assert kept == before[0], "names stay the same"
    changes = (done.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "2 rows are gone" in changes
    assert all(f"`{row['id']}`" in changes for row in before[1:])
    assert f"`{kept['id']}`" not in changes
    assert "3 rows, the first version." in changes, "the list goes back to the first version"
    store.clock.forward(1)
    assert await consents.join(Requester(GRACE, GUILD))
    assert len(rows(written(store, "fresh"))) == 1, "who joins again joins from then on"


async def test_after_the_last_person_leaves_the_next_version_is_empty_and_names_what_to_delete(store: Store) -> None:
    consents = await joined(store, ADA)
    await store.delivered(ADA, seed=1)
    (before,) = rows(written(store))
    assert await consents.leave(Requester(ADA, GUILD))
    done = written(store)
    assert (done.version, done.is_new, rows(done)) == (2, True, [])
    changes = (done.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "1 rows are gone" in changes
    assert f"`{before['id']}`" in changes
    assert "This version has no pictures" in (done.folder / "README.md").read_text(encoding="utf-8")
    assert parquet.read_schema(done.folder / "data" / "train.parquet").names == ["image", *COLUMNS]
    described = json.loads((done.folder / "croissant.json").read_text(encoding="utf-8"))
    assert described["datePublished"] == before["asked_on"]
    assert (written(store).version, written(store).is_new) == (2, False), "once is enough"
    store.clock.forward(1)
    assert await consents.join(Requester(ADA, GUILD))
    await store.delivered(ADA, seed=2)
    (after,) = rows(written(store))
    assert after["seed"] == 2


async def test_duplicates_are_left_out_and_counted(store: Store) -> None:
    await joined(store, ADA)
    same = [await store.delivered(ADA, seed=1) for _ in range(3)]
    near = [await store.delivered(ADA, seed=seed) for seed in (20, 21, 22)]
    await store.database.execute("DELETE FROM picture_hashes")
    for job, phash in zip((same[0], *near), (-1, -8, 0x0F, -1 ^ 0xF), strict=True):
        await store.database.execute("INSERT INTO picture_hashes VALUES (?, 1, ?)", (job.id, phash))
    done = written(store)
    counts = done.chosen.counts
    assert (counts.found, counts.equal, counts.near, counts.kept) == (6, 2, 1, 3)
    assert [row["seed"] for row in rows(done)] == [1, 21, 22], "-8 differs from -1 in three bits, the last one in four"
    assert "| left out: equal to another one | 2 |" in (done.folder / "README.md").read_text(encoding="utf-8")


async def test_without_a_person_who_joined_nothing_is_written_and_a_sentence_says_so(store: Store) -> None:
    await store.delivered(ADA)
    with pytest.raises(StorageError, match="There is nothing to export"):
        written(store)
    assert not (store.folder.parent / "out").exists()


async def test_a_disk_that_fills_up_leaves_nothing_half_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await joined(store, ADA)
    for seed in range(5):
        await store.delivered(ADA, seed=seed, prompt=f"fox {seed}")
    written(store)
    await store.delivered(ADA, seed=9)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for target, name in ((parquet.ParquetWriter, "write_table"), (Path, "write_text"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            with pytest.raises(StorageFull, match="The disk is full"):
                written(store)
        assert [path.name for path in (store.folder.parent / "out").iterdir()] == ["v1"]
    # What a kill left goes with the next export.
    (store.folder.parent / "out" / ".partial-v2").mkdir()
    assert written(store).version == 2
    assert sorted(path.name for path in (store.folder.parent / "out").iterdir()) == ["v1", "v2"]


async def test_the_files_describe_themselves(store: Store) -> None:
    await joined(store, ADA)
    await store.delivered(ADA, seed=1)
    done = written(store)
    schema = parquet.read_schema(done.folder / "data" / "train.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == ["image", *COLUMNS] == schema.names
    assert features["image"] == {"_type": "Image"}
    described = json.loads((done.folder / "croissant.json").read_text(encoding="utf-8"))
    for file in described["distribution"]:
        data = (done.folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
    names = [field["source"]["extract"]["column"] for field in described["recordSet"][0]["field"]]
    assert names == schema.names
    sums = dict(line.split("  ")[::-1] for line in (done.folder / "SHA256SUMS").read_text().splitlines())
    found = {name: hashlib.sha256(data).hexdigest() for name, data in tree(done.folder).items() if name != "SHA256SUMS"}
    assert sums == found
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "all of them synthetic" in card
    assert "| emoji | hash | 1 |" in card
    assert all(len(line) <= 200 for line in card.splitlines())


async def test_what_people_like_is_told_of_ten_and_more(store: Store) -> None:
    await joined(store, ADA)
    jobs = [await store.delivered(ADA, seed=seed) for seed in (1, 2)]
    for number in range(10):
        await store.ratings.add(jobs[0].destination.message_id, UserId(number), "👍" if number else "👎")
        if number:
            await store.ratings.add(jobs[1].destination.message_id, UserId(number), "👍")
    assert [(row["likes"], row["dislikes"]) for row in rows(written(store))] == [(9, 1), (None, None)]


async def test_a_data_set_of_one_server_has_nothing_of_another(store: Store) -> None:
    await joined(store, ADA)
    elsewhere = GuildId(901)
    assert await Consents(store.database, store.clock).join(Requester(ADA, elsewhere))
    await store.rule(elsewhere, (Scope.CHANNEL, OTHER), **{RULE: True})
    await store.delivered(ADA, seed=1)
    await store.delivered(ADA, seed=2, guild=elsewhere, channel=OTHER)
    assert [row["seed"] for row in rows(written(store))] == [1, 2]
    assert [row["seed"] for row in rows(written(store, "one", server=901))] == [2]


async def test_a_second_export_into_a_folder_at_the_same_time_gets_a_sentence_and_disturbs_nothing(
    store: Store,
) -> None:
    await joined(store, ADA)
    await store.delivered(seed=1)
    out = written(store).folder.parent
    await store.delivered(seed=2)
    before = tree(out)
    (out / ".partial-v2").mkdir()
    with lock_of(store.folder / "atelier.db", out), pytest.raises(StorageError, match="Another export writes to"):
        written(store)
    assert (out / ".partial-v2").is_dir(), "it is of the export that runs"
    assert tree(out) == before
    assert written(store).version == 2


async def test_what_belongs_together_is_in_one_split(store: Store) -> None:
    await joined(store, ADA)
    series, other = [], []
    for seed in range(40):
        series.append(await store.delivered(seed=seed, prompt=f"a fox number {seed}"))
        other.append(await store.delivered(seed=100 + seed, prompt=f"an owl number {seed}"))
    await store.database.execute(
        "INSERT INTO series (id, kind, guild_id, user_id, title) VALUES (1, '', ?, 0, '')", (GUILD,)
    )
    for job in series:
        await store.database.execute("UPDATE jobs SET series_id = 1 WHERE id = ?", (job.id,))
    for earlier, later in itertools.pairwise(other[:20]):
        await store.database.execute("INSERT INTO sources VALUES (?, ?, 0)", (later.id, earlier.id))
    done = written(store)
    splits: dict[str, set[str]] = {}
    for split in files.SPLITS:
        for row in parquet.read_table(done.folder / "data" / f"{split}.parquet").to_pylist():
            splits.setdefault(row["prompt"], set()).add(split)
    assert len(set().union(*(splits[job.request.prompt] for job in series))) == 1
    assert len(set().union(*(splits[job.request.prompt] for job in other[:20]))) == 1
    assert len(set().union(*splits.values())) == 2, "others are in both"
