"""`atelier reindex` builds everything that is derived anew, and it is what it was."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from bot.__main__ import cli
from bot.jobs import Requester, UserId
from bot.search.hashes import fill_hashes
from bot.search.index_files import index_of
from bot.storage.lineage import Lineage
from bot.storage.picture_folder import PictureFolder
from bot.storage.sittings import Sittings
from bot.worker.likeness import phash
from tests.bot.search.conftest import Library, open_library
from tests.bot.storage.conftest import ADA, GRACE, GUILD
from tests.picture_cases import quarters, saved


async def derived(library: Library) -> dict[str, Any]:
    """The index with its scores, and what is computed and never stored: sittings and families."""
    await library.search.finish()
    database = library.store.database
    family = await Lineage(database).family((await library.store.queue.get(1)).id, GUILD)  # type: ignore[union-attr]
    return {
        "index": await library.search.dump(),
        "sittings": await Sittings(database, "discord").of_person(Requester(ADA, GUILD)),
        "links": (family.links, [job.id for job in family.jobs]),
    }


async def filled(folder: Path) -> dict[str, Any]:
    async with open_library(folder) as library:
        store = library.store
        ids = await library.paint("a fox", "an owl", "a boat", num_images_per_prompt=2)
        store.clock.forward(3600)
        ids += await library.paint("a fox at night")
        assert await fill_hashes(store.database, PictureFolder(folder)) == 7
        await store.database.execute("INSERT INTO sources VALUES (?, ?, 1)", (ids[3], ids[0]))
        await store.database.execute("INSERT INTO tags VALUES (?, 'red', ?, '')", (ids[1], ADA))
        message = (await store.queue.get(ids[0])).destination.message_id  # type: ignore[arg-type, union-attr]
        for user, emoji in ((ADA, "👍"), (GRACE, "2⃣"), (UserId(3), "👎")):
            await store.ratings.add(message, user, emoji)
        return await derived(library)


async def read(folder: Path) -> dict[str, Any]:
    async with open_library(folder) as library:
        return await derived(library)


def test_one_command_builds_everything_derived_anew_and_it_equals_what_it_was(tmp_path: Path) -> None:
    before = asyncio.run(filled(tmp_path))
    score = next(row for row in before["index"]["pictures"] if row[:2] == [1, 2])
    assert tuple(score[4:6]) == (2, 1), "the scores of pictures are part of it"
    assert len(before["sittings"]) == 2
    assert before["links"][1] == [1, 4]
    index_of(tmp_path).write_bytes(b"damaged")
    done = CliRunner().invoke(cli, ["reindex", "--data", str(tmp_path)], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert (done.exit_code, done.output) == (0, "The search index has 4 results now.\n")
    assert asyncio.run(read(tmp_path)) == before


def test_pictures_from_before_there_were_hashes_get_theirs(tmp_path: Path) -> None:
    shown = [quarters(), quarters().rotate(90), quarters().rotate(180)]

    async def without_hashes() -> list[Any]:
        async with open_library(tmp_path) as library:
            await library.paint("a fox", "an owl", num_images_per_prompt=2)
            rows = await library.store.database.fetch_all("SELECT job_id, number FROM images ORDER BY job_id, number")
            for row, file in zip(rows[:3], map(saved, shown), strict=True):
                name = hashlib.sha256(file).hexdigest()
                async with library.store.pictures.kept({name: file}):
                    await library.store.database.execute(
                        "UPDATE images SET sha256 = ? WHERE job_id = ? AND number = ?", (name, *row)
                    )
            gone = ("f" * 64, *rows[3])
            await library.store.database.execute("UPDATE images SET sha256 = ? WHERE job_id = ? AND number = ?", gone)
            await library.store.database.execute("DELETE FROM picture_hashes")
            return [tuple(row) for row in rows]

    async def hashes() -> list[Any]:
        async with open_library(tmp_path) as library:
            return [tuple(row) for row in await library.store.database.fetch_all("SELECT * FROM picture_hashes")]

    pictures = asyncio.run(without_hashes())
    # The file of the last picture is gone, so it stays without a hash.
    for _ in range(2):
        done = CliRunner().invoke(cli, ["reindex", "--data", str(tmp_path)])
        assert done.exit_code == 0, done.output
        found = asyncio.run(hashes())
        assert [row[:2] for row in found] == pictures[:3]
        assert [row[2] for row in found] == [phash(each) for each in shown]
