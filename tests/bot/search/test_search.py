"""Searches by the real process: what is found and why, and an index that follows the database and can be lost."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from bot import child
from bot.errors import UserError
from bot.jobs import Requester, Surface
from bot.search import client as client_module
from bot.search.client import BUSY, Search
from bot.search.queries import Query, like, parse
from bot.search.visibility import Scope
from bot.storage.database import open_database
from bot.storage.reactions import LIKE
from tests.bot.search.conftest import READER, Library, open_library
from tests.bot.storage.conftest import ADA, CHANNEL, GRACE, GUILD, NOON
from tests.bot.storage.test_forgetting import forgetting_of
from tests.faults.invariants import left_of


async def test_results_are_found_by_words_beginnings_parts_other_scripts_and_meaning(library: Library) -> None:
    castle, kitten, sunset, cafe, tokyo = await library.paint(
        "a ruined castle above the fog",
        "a sleeping kitten on a sofa",
        "sunsetting over mountains, watercolour",
        "un café à Paris",
        "夜の東京タワー",
    )
    assert (await library.found("castle"))[0] == castle
    assert (await library.found("cast*"))[0] == castle
    assert (await library.found("unsett"))[0] == sunset, "a part of a word"
    assert (await library.found("CAFE"))[0] == cafe
    assert (await library.found("東京"))[0] == tokyo
    for phrase in ('"東京"', '"東京タワー"', '"夜の" タワー'):
        found = await library.search.find(parse(phrase, me=ADA, now=NOON), READER)
        assert [hit.job_id for hit in found.hits] == [tokyo], phrase
        assert found.hits[0].meaning < 1
        assert phrase.split('"')[1] in found.hits[0].words
    assert await library.found('"京東"') == []
    assert (await library.found('"above the" fog')) == [castle]
    assert await library.found("a -castle -kitten -café -sunsetting") == []
    answer = await library.search.find(parse("young cat", me=ADA, now=NOON), READER)
    assert answer.hits[0].job_id == kitten, "by its meaning: no word is the same"
    assert answer.hits[0].meaning > 0.3
    assert answer.hits[0].words == ()
    (hit, *_) = (await library.search.find(parse("castle fo", me=ADA, now=NOON), READER)).hits
    assert (hit.words, hit.parts) == (("castle",), ("fo",))


async def test_filters(library: Library) -> None:
    (mine,) = await library.paint("a red apple", width=64, height=128)
    (hers,) = await library.paint("a red apple", user=GRACE, model="other", seed=99)
    message = (await library.store.queue.get(mine)).destination.message_id
    await library.store.ratings.add(message, GRACE, LIKE)
    await library.store.database.execute("INSERT INTO tags VALUES (?, 'old fruit', ?, '')", (hers, GRACE))
    for typed, expected in {
        "by:me": [mine],
        "-by:me": [hers],
        f"by:<@{GRACE}>": [hers],
        "model:other apple": [hers],
        "rated:1": [mine],
        "rated:20%": [mine],
        "rated:21%": [],
        'tag:"OLD fruit"': [hers],
        "seed:99": [hers],
        "size:8x8": [hers, mine],
        "size:square": [hers, mine],
        "size:>8": [],
        "before:2026-05-01": [],
        "after:1d": [hers, mine],
        f"in:<#{CHANNEL}>": [hers, mine],
        "model:none": [],
    }.items():
        assert await library.found(typed) == expected, typed


async def test_the_index_follows_the_database_and_equals_one_that_is_built_anew(library: Library) -> None:
    await library.search.finish()
    ids = await library.paint(*(f"picture {number} of a fox" for number in range(6)), num_images_per_prompt=2)
    await library.store.asked(prompt="a fox that waits")
    failed = await library.store.failed(prompt="a fox that failed")
    message = (await library.store.queue.get(ids[0])).destination.message_id
    await library.store.ratings.add(message, GRACE, LIKE)
    await library.store.ratings.add(message, ADA, "2⃣")
    assert len(await library.found("fox")) == 6
    await library.store.removals.remove_own(Requester(ADA, GUILD), ids[1])
    await library.store.database.execute("INSERT INTO tags VALUES (?, 'red', ?, '')", (ids[2], ADA))
    await library.store.ratings.remove(message, GRACE)
    assert sorted(await library.found("fox")) == sorted({*ids} - {ids[1]})
    assert failed.id not in ids
    await library.search.finish()
    followed = await library.search.dump()
    assert await library.search.rebuild() == 5
    built = await library.search.dump()
    assert built == followed
    assert len(built["vectors"]) == 5
    assert len(built["pictures"]) == 10
    await library.search.end_process()
    library.index.unlink()
    await library.search.finish()
    assert await library.search.dump() == followed, "a missing index is built by itself"


async def test_changes_while_search_was_not_running_are_found_at_its_start(tmp_path: Path) -> None:
    async with open_library(tmp_path) as library:
        first, second = await library.paint("a blue boat", "a blue ship")
        assert len(await library.found("blue")) == 2
    async with open_library(tmp_path) as library:
        await library.store.removals.remove_own(Requester(ADA, GUILD), first)
        (third,) = await library.paint("a blue raft")
    async with open_library(tmp_path) as library:
        assert await library.found("boat") in ([second], [third, second], [second, third], [])
        await library.search.finish()
        assert sorted(await library.found("blue")) == [second, third]
        assert "boat" not in str((await library.search.dump())["entries"])


@pytest.mark.parametrize("damage", ["rubbish", "zeros in the middle", "cut", "empty", "lost rows"])
async def test_a_damaged_index_is_built_anew_and_search_says_so(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_library(tmp_path) as library:
        await library.paint(*(f"a green tree number {number}" for number in range(40)))
        await library.search.finish()
        before = await library.search.dump()
    data = bytearray(library.index.read_bytes())
    if damage == "rubbish":
        data = bytearray(b"no database")
    elif damage == "zeros in the middle":
        data[4096 : len(data) // 2] = bytes(len(data) // 2 - 4096)
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    if damage == "lost rows":
        from bot.storage import sqlite

        connection = sqlite.connect(library.index)
        connection.execute("DELETE FROM words_data WHERE id > 10")
        connection.close()
    else:
        library.index.write_bytes(data)
    monkeypatch.setattr(client_module, "PATIENCE_SECONDS", 0.0)
    async with open_library(tmp_path) as library:
        answer = await library.search.find(parse("tree", me=ADA, now=NOON), READER)
        assert answer.is_building
        await library.search.finish()
        assert await library.search.dump() == before
        assert not (await library.search.find(parse("tree", me=ADA, now=NOON), READER)).is_building


async def test_an_index_that_is_damaged_while_it_is_used_is_built_anew(library: Library) -> None:
    await library.paint(*(f"a green tree number {number}" for number in range(200)))
    await library.search.finish(looks=True)
    before = await library.search.dump()
    with library.index.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(library.index.stat().st_size - 4096))
    for number in range(60):
        await library.found(f"number {number} green -x{number}")
    await library.search.finish(looks=True)
    assert await library.search.dump() == before


async def test_a_process_that_is_killed_is_started_again(library: Library) -> None:
    (one,) = await library.paint("a lighthouse")
    assert await library.found("lighthouse") == [one]
    process = library.search._process
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    results = await asyncio.gather(
        *(library.found("lighthouse") for _ in range(3)),
        return_exceptions=True,
    )
    assert [one] in results
    assert await library.found("lighthouse") == [one]


@pytest.mark.parametrize("is_started", [False, True])
async def test_closing_ends_a_process_that_is_being_started_for_a_caller_who_is_gone(
    library: Library, monkeypatch: pytest.MonkeyPatch, is_started: bool
) -> None:
    began, started, processes = asyncio.Event(), child.start, []

    async def noting(module: str) -> asyncio.subprocess.Process:
        if not is_started:
            began.set()
        processes.append(await started(module))
        began.set()
        return processes[-1]

    monkeypatch.setattr(child, "start", noting)
    gone, waits = (asyncio.create_task(library.found("lighthouse")) for _ in range(2))
    await began.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await library.search.close()
    with pytest.raises(UserError, match="Search does not work at the moment"):
        await waits
    assert all(process.returncode is not None for process in processes)
    assert library.search.process_id is None


async def test_closing_refuses_those_who_were_about_to_ask(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search first tells what changed; when that is refused, it asks no more."""
    await library.paint("a lighthouse")
    await library.found("lighthouse")
    began, started = asyncio.Event(), child.start

    async def noting(module: str) -> asyncio.subprocess.Process:
        began.set()
        return await started(module)

    monkeypatch.setattr(child, "start", noting)
    library.search._touched.add(1)
    await library.search.end_process()
    search = asyncio.create_task(library.found("lighthouse"))
    await began.wait()
    await library.search.close()
    with pytest.raises(UserError, match="Search does not work at the moment"):
        await search
    assert library.search.process_id is None


async def test_queries_of_any_length_and_a_crowd_end_in_time(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = await library.paint("a walrus plays chess")
    many = " ".join(f"w{number}" for number in range(700))
    for typed in ("walrus " + "é" * 3900, f"{many} walrus", '"' * 3994 + "walrus"):
        assert await library.found(typed[:4000]) in ([one], [])
    monkeypatch.setattr(client_module, "MOST_WAITING", 2)
    results = await asyncio.gather(*(library.found("walrus") for _ in range(4)), return_exceptions=True)
    assert results.count([one]) == 2
    assert {str(each) for each in results if isinstance(each, UserError)} == {BUSY}


async def test_the_event_loop_goes_on_while_a_search_is_made(library: Library) -> None:
    await library.paint(*(f"a hill with {number} sheep" for number in range(30)))
    await library.search.finish()
    longest, last, loop = 0.0, 0.0, asyncio.get_running_loop()

    async def watch() -> None:
        nonlocal longest, last
        last = loop.time()
        while True:
            await asyncio.sleep(0)
            longest, last = max(longest, loop.time() - last), loop.time()

    watching = asyncio.create_task(watch())
    for number in range(10):
        await library.search.find(like(f"{number} sheep " * 400), READER)
    watching.cancel()
    assert longest < 0.25


async def test_more_like_this_leaves_the_result_itself_out(library: Library) -> None:
    one, two, _ = await library.paint("an owl on a branch", "an owl in a barn", "a teapot")
    answer = await library.search.find(like("an owl on a branch"), READER, without=one)
    assert answer.hits[0].job_id == two
    assert [hit.job_id for hit in answer.hits] == [two], "a teapot is not alike"
    assert answer.hits[0].words == ("owl",), "small words do not count"


async def test_without_word_vectors_search_goes_on_by_words(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import importlib.util as u\nf = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'wordllama' else f(n, *a)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    (one,) = await library.paint("a sleeping kitten")
    answer = await library.search.find(Query("kitten", ("kitten",)), READER)
    assert [hit.job_id for hit in answer.hits] == [one]
    assert not answer.has_meaning
    assert await library.found("young cat") == []


async def test_a_deletion_leaves_no_byte_in_the_index(library: Library) -> None:
    word = "xylophone"
    await library.paint(f"a {word} and a {word}s case", f"the {word}", negative_prompt=word)
    (kept,) = await library.paint("a trombone", user=GRACE)
    (tagged, *_) = await library.paint("a drum")
    await library.store.database.execute("INSERT INTO tags VALUES (?, ?, ?, ?)", (tagged, word, ADA, word))
    await library.store.database.execute("INSERT INTO tags VALUES (?, ?, ?, ?)", (kept, word, ADA, word))
    await library.search.finish()
    in_words = [f"{word[:3]}", "lophon"]
    assert any("search.db" in where for where in left_of([word], library.store.folder))
    forgetting = forgetting_of(library.store)
    forgetting._erase_derived = library.search.erase
    await forgetting.forget(ADA)
    assert await forgetting.finish()
    assert left_of([word, *in_words], library.store.folder) == []
    dump = await library.search.dump()
    assert [entry[0] for entry in dump["entries"]] == [kept]
    assert [row[0] for row in dump["vectors"]] == [kept]
    assert dump["tags"] == []
    assert {row[0] for row in dump["words"]} == {"a", "trombone"}


async def test_a_deletion_while_search_does_not_run_deletes_the_index(tmp_path: Path) -> None:
    async with open_library(tmp_path) as library:
        await library.paint("a xylophone")
        await library.search.finish()
    async with open_library(tmp_path) as library:
        forgetting = forgetting_of(library.store)
        forgetting._erase_derived = library.search.erase
        await forgetting.forget(ADA)
        assert await forgetting.finish()
        assert not library.index.exists()
        assert left_of(["xylophone"], tmp_path) == []


async def test_mine_finds_what_is_in_channels_that_the_person_cannot_read_any_more(library: Library) -> None:
    (mine,) = await library.paint("a boat", channel=1234)
    await library.paint("a boat", user=GRACE, channel=1234)
    assert await library.found("boat") == []
    assert await library.found("boat", replace(READER, scope=Scope.MINE)) == [mine]


async def test_the_index_has_the_key_of_the_database(tmp_path: Path) -> None:
    path, index = tmp_path / "atelier.db", tmp_path / "search.db"
    async with open_database(path, "correct horse") as database:
        search = Search(database, index, path, "correct horse", Surface.DISCORD)
        assert await search.rebuild() == 0
        await search.close()
    assert not index.read_bytes().startswith(b"SQLite format 3")
