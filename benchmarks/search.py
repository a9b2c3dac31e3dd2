"""What search finds and what it costs.

    python -m benchmarks.search quality
    python -m benchmarks.search scale [--jobs 100000] [--out benchmarks/results/search.md]

`quality` composes 5,000 prompts (`benchmarks/prompts.py`) and measures recall@10 of two sets of 200 queries written by
hand: the share of the relevant prompts, or of ten where there are more, among the first ten results. `scale` fills a
database with so many results and measures searches in the real app, while its engine is idle and while it paints. Both
print tables.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosqlite
import numpy as np
import psutil

from benchmarks.event_loop import USUAL, Counted, keep_painting, opened
from benchmarks.prompts import Composed, compose, held_out, queries
from benchmarks.report import table
from bot.app import database_of
from bot.config import EMBEDDED_MODEL
from bot.jobs import utcnow
from bot.search.client import Search
from bot.search.finding import Known, find
from bot.search.fusion import fuse
from bot.search.index import CANDIDATES, Index
from bot.search.index_files import index_of
from bot.search.looks import Looks
from bot.search.queries import parse
from bot.search.vectors import DIMENSIONS, Embedder, Vectors, Vocabulary
from bot.search.visibility import Scope, Seer
from bot.storage.database import open_database

GUILD, CHANNELS, PEOPLE, BATCH, TOP = 1, 20, 1000, 256, 10
SEER = Seer(1, GUILD, Scope.PUBLIC, readable=frozenset(range(100, 100 + CHANNELS - 2)))
"""Somebody who may read 18 of the 20 channels."""
EVERYTHING = Seer(1, GUILD, Scope.PUBLIC, readable=frozenset(range(100, 100 + CHANNELS)))

FILL_POSTS = "INSERT INTO posts (id, channel_id, message_id) VALUES (?, ?, ?)"
FILL_JOBS = """
INSERT INTO jobs (
  id, surface, post_id, guild_id, user_id, roles, request, cost, held_seconds, asked_at, status, posted_at)
VALUES (?, 'discord', ?, ?, ?, '[]', json_object('prompt', ?, 'model', 'emoji', 'seed', ?), 1, 1,
  strftime('%Y-%m-%dT%H:%M:%f+00:00', '2026-01-01', '+' || ? || ' minutes'), 'delivered', '2026-01-01')
"""
FILL_IMAGES = "INSERT INTO images (job_id, number, seed, width, height, sha256) VALUES (?, 1, 1, 512, 512, ?)"


async def fill(path: Path, prompts: Sequence[str]) -> None:
    """Make a database with a delivered result for each prompt; the pictures have no files."""
    async with open_database(path) as database:

        async def work(connection: aiosqlite.Connection) -> None:
            ids = range(1, len(prompts) + 1)
            await connection.executemany(FILL_POSTS, [(n, 100 + n % CHANNELS, 10**6 + n) for n in ids])
            await connection.executemany(
                FILL_JOBS, [(n, n, GUILD, n % PEOPLE, prompts[n - 1], n, n % 500_000) for n in ids]
            )
            await connection.executemany(FILL_IMAGES, [(n, f"{n:064x}") for n in ids])

        await database.write(work)


def quality(prompts: Sequence[Composed], asked: Sequence[tuple[str, frozenset[str]]]) -> str:
    """The recall of words, of meaning and of both, as a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "atelier.db"
        asyncio.run(fill(path, [prompt.text for prompt in prompts]))
        index, vectors, embedder = Index(Path(folder) / "search.db", path, None, "discord"), Vectors(), Embedder()
        for after, to in index.chunks():
            index.compare(after, to)
        while some := index.without_vector(BATCH):
            rows = embedder.embed([prompt for _, prompt in some])
            index.add_vectors([(name, row.tobytes()) for (name, _), row in zip(some, rows, strict=True)])
        vectors.put(index.vectors())
        vocabulary = Vocabulary()
        frequent = index.frequent_words(Vocabulary.MOST)
        vocabulary.put(frequent, embedder.embed(frequent))
        known = Known(index, vectors, vocabulary, Looks(), embedder)
        names = ("words", "every word", "words and parts of words", "meaning", "hybrid")
        recalls: dict[str, list[float]] = {name: [] for name in names}
        for text, parts in asked:
            relevant = {at for at, prompt in enumerate(prompts, start=1) if parts <= prompt.parts}
            if not relevant:
                continue
            query = parse(text, me=1, now=utcnow())
            allowed, terms = index.entries.allowed(query, EVERYTHING), index.telling(query.terms)
            near = vectors.nearest(embedder.embed([text])[0], allowed, CANDIDATES)
            words, pieces = index.by_words(terms, query, allowed), index.by_parts(terms, query, allowed)
            every = index.by_words(terms, query, allowed, every=True)
            found = {
                "words": words,
                "every word": every,
                "words and parts of words": fuse([(every, 1.0), (words, 0.05), (pieces, 0.05)]),
                "meaning": [name for name, _ in near],
                "hybrid": [hit.job_id for hit in find(known, query, EVERYTHING)],
            }
            for name, order in found.items():
                recalls[name].append(len(relevant & set(order[:TOP])) / min(len(relevant), TOP))
        index.close()
    lines = []
    for name, values in recalls.items():
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        lines.append([name, f"{statistics.mean(values):.3f}", f"± {1.96 * error:.3f}", f"{len(values)}"])
    return table(["ranking", "recall@10", "95 %", "queries"], lines)


@dataclass(frozen=True, slots=True)
class Times:
    """How long searches took, in milliseconds, and how late the event loop was at most while they were made."""

    searches: list[float]
    longest_delay: float

    def quantile(self, share: float) -> str:
        """A quantile of the searches."""
        return f"{sorted(self.searches)[int(len(self.searches) * share)]:.0f}"


async def timed(search: Search, asked: Sequence[str]) -> Times:
    """Search for everything, one after the other."""
    waking = asyncio.create_task(_longest_delay())
    times = []
    for text in asked:
        query = parse(text, me=1, now=utcnow())
        began = time.perf_counter()
        await search.find(query, SEER)
        times.append((time.perf_counter() - began) * 1000)
    waking.cancel()
    return Times(times, await waking * 1000)


async def scale(prompts: Sequence[str], asked: Sequence[str]) -> str:
    """What the index of these prompts costs in the real app, and how long searches take, as a table."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        await fill(database_of(data), prompts)
        counted = Counted()
        async with opened(counted, (EMBEDDED_MODEL,), data) as app:
            await app.engine.lanes[0].ready()
            before = _memory()
            began = time.perf_counter()
            count = await app.search.finish()
            built = time.perf_counter() - began
            # The pictures have no files here; looking for them is no part of a search.
            await app.search.finish(looks=True)
            idle = await timed(app.search, asked)
            await keep_painting(app, 0, USUAL, counted, (EMBEDDED_MODEL,))
            painting = asyncio.create_task(keep_painting(app, 3600, USUAL, counted, (EMBEDDED_MODEL,)))
            beside, pictures = await timed(app.search, asked), counted.pictures.total()
            painting.cancel()
            memory = _memory(app.search.process_id)
            bot = _memory()
            await app.search.end_process()
            began = time.perf_counter()
            await app.search.finish()
            opening = time.perf_counter() - began
            sizes = [
                sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
                for path in (database_of(data), index_of(data))
            ]
    costs = [
        ["results", f"{count:,}"],
        ["database, MiB", f"{sizes[0] / 2**20:.0f}"],
        ["index, MiB", f"{sizes[1] / 2**20:.0f}"],
        ["build, s", f"{built:.0f}"],
        ["opening the built index and comparing it, s", f"{opening:.1f}"],
        ["memory of the process that searches, MiB", f"{memory:.0f}"],
        ["memory of the bot before and after, MiB", f"{before:.0f}, {bot:.0f}"],
        ["search p50, engine idle and painting, ms", f"{idle.quantile(0.5)}, {beside.quantile(0.5)}"],
        ["search p95, engine idle and painting, ms", f"{idle.quantile(0.95)}, {beside.quantile(0.95)}"],
        ["longest delay of the event loop, ms", f"{idle.longest_delay:.0f}, {beside.longest_delay:.0f}"],
        ["pictures painted meanwhile", f"{pictures}"],
    ]
    return table(["", "value"], costs)


def _memory(process_id: int | None = None) -> float:
    """The memory of a process in MiB; of this one if none is named."""
    return float(psutil.Process(process_id).memory_info().rss / 2**20)


async def _longest_delay() -> float:
    """How late a task is woken at most that sleeps for a millisecond, in seconds; returned when it is cancelled."""
    longest = 0.0
    while True:
        began = time.perf_counter()
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            return longest
        longest = max(longest, time.perf_counter() - began - 0.001)


def ways(count: int) -> str:
    """How long the nearest of so many vectors take, by a product of floats and by bits first, as a table."""
    draw = np.random.default_rng(1)
    rows = draw.integers(-127, 128, (count, DIMENSIONS), np.int8)
    floats, query = rows.astype(np.float32), rows[7]
    vectors = Vectors()
    vectors.put(enumerate(row.tobytes() for row in rows))

    def milliseconds(work: object) -> float:
        found = []
        for _ in range(9):
            began = time.perf_counter()
            work()  # type: ignore[operator]
            found.append((time.perf_counter() - began) * 1000)
        return statistics.median(found)

    products = milliseconds(lambda: np.argpartition(-(floats @ query.astype(np.float32)), 200)[:200])
    allowed = np.ones(count, np.bool_)
    bits = milliseconds(lambda: vectors.nearest(query, allowed, CANDIDATES))
    return table(
        ["nearest of vectors", "ms", "memory, MiB"],
        [
            ["numpy, product of 32-bit floats", f"{products:.0f}", f"{floats.nbytes / 2**20:.0f}"],
            ["numpy, bits first, then bytes", f"{bits:.0f}", f"{rows.nbytes * 9 / 8 / 2**20:.0f}"],
        ],
    )


def run(part: str, jobs: int) -> str:
    """One part of the benchmark as Markdown."""
    asked = queries()
    if part == "quality":
        corpus = compose(min(jobs, 5000))
        return "\n\n".join(
            f"{name}:\n\n{quality(corpus, those)}"
            for name, those in (("Queries that were there while search was tuned", asked), ("Held out", held_out()))
        )
    prompts = [prompt.text for prompt in compose(jobs, seed=1)]
    return f"{asyncio.run(scale(prompts, [text for text, _ in asked]))}\n\n{ways(jobs)}"


def main() -> None:
    """Print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("quality", "scale"))
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = run(given.part, given.jobs)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
