"""The index: a file beside the database with everything that search derives from it. It can be deleted at any time.

Only the process of `bot/search/process.py` opens it. It reads the database, and never writes there.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import StorageError
from bot.search import quality
from bot.search.entries import COLUMNS, Allowed, Entries
from bot.search.index_files import delete
from bot.search.looks import Look
from bot.search.queries import MOST_TERMS, Query, folded
from bot.search.schema import (
    ADD_ENTRY,
    ENTRIES,
    ENTRY_COLUMNS,
    FACTS,
    IDS,
    INDEXED_PICTURES,
    LOOKS,
    OF_SOME,
    PICTURES,
    REACTIONS,
    SCHEMA,
    TAGS,
    UNSEEN,
    VERSION,
    WITHOUT_VECTOR,
)
from bot.search.visibility import Facts, Seer, may_see
from bot.storage import sqlite

log = logging.getLogger(__name__)

CHUNK = 500
"""Jobs that are compared at a time: some hundredths of a second, in which a search waits."""

CANDIDATES = 200
"""Places of each ranking that count."""

COMMON = 0.2
"""A word in more than this share of all prompts is not looked up if there are rarer ones: it would rank half of the
index and say nothing."""

_OTHER_SCRIPT = re.compile(r"[^\x00-\u024f]")
_SHORTEST_PART = 3
"""Characters of a trigram; shorter parts of words in other scripts are looked for one prompt after the other."""


@dataclass(frozen=True, slots=True)
class Document:
    """A result as the index keeps it."""

    entry: tuple[Any, ...]
    """The values of ENTRY_COLUMNS."""
    pictures: tuple[tuple[Any, ...], ...]
    tags: tuple[str, ...]


class Index:
    """An open index and the database that it is derived from. Every method blocks."""

    def __init__(self, path: Path, database: Path, key: str | None, surface: str) -> None:
        self.path = path
        self._key = key
        self._surface = surface
        self.is_new = False
        """Whether there was no usable index, so that it is built anew."""
        self.entries = Entries()
        self._file = self._opened()
        try:
            self._house = sqlite.connect(database, key, readonly=True)
            self._load()
        except BaseException:
            self._file.close()
            raise

    def _load(self) -> None:
        with closing(self._file.execute(f"SELECT {', '.join(COLUMNS)} FROM entries")) as rows:  # noqa: S608 - constants
            while some := rows.fetchmany(CHUNK):
                self.entries.put(some)
        self.entries.tag((row["id"], row["tag"]) for row in self._file.execute("SELECT id, tag FROM tags"))

    def close(self) -> None:
        """Close both files."""
        self._house.close()
        self._file.close()

    def _opened(self) -> Any:
        """The index file, with its schema. A file that is damaged, or of another version, is deleted."""
        for is_last in (False, True):
            connection = None
            try:
                connection = sqlite.connect(self.path, self._key)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA cache_size = -16384")
                ((version,),) = connection.execute("PRAGMA user_version").fetchall()
                if version == 0:
                    connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
                    self.is_new = True
                    return connection
                if version == VERSION and connection.execute("PRAGMA quick_check(1)").fetchall()[0][0] == "ok":
                    for table in ("words", "parts"):
                        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")  # noqa: S608
                    return connection
                log.warning("the search index is damaged or of another version: it is built anew")
            except (sqlite.Error, StorageError) as error:
                if is_last:
                    raise
                log.warning("the search index cannot be used (%s): it is built anew", error)
            if connection is not None:
                connection.close()
            delete(self.path)
        raise StorageError(f"The search index {self.path} cannot be made.")

    # What follows the database.

    def chunks(self) -> Iterator[tuple[int, int]]:
        """The ids of all jobs in ranges (after, up to), in their order; the last range has no end."""
        after = 0
        while ids := [row["id"] for row in self._house.execute(IDS, (after, CHUNK))]:
            yield after, ids[-1]
            after = ids[-1]
        yield after, 2**63 - 1

    def compare(self, after: int, to: int) -> int:
        """Make the index of a range of jobs what the database says now; returns how many entries that changed."""
        ids = {row["id"] for row in self._house.execute("SELECT id FROM jobs WHERE id > ? AND id <= ?", (after, to))}
        ids |= {row["id"] for row in self._file.execute("SELECT id FROM entries WHERE id > ? AND id <= ?", (after, to))}
        return self.update(ids)

    def update(self, ids: Collection[int]) -> int:
        """Make the index of these jobs what the database says now; returns how many entries that changed."""
        changed = 0
        wanted = sorted(ids)
        for start in range(0, len(wanted), CHUNK):
            some = wanted[start : start + CHUNK]
            now, before = self._documents(some), self._indexed(some)
            differ = [name for name in some if now.get(name) != before.get(name)]
            self._replace([(name, before.get(name), now.get(name)) for name in differ])
            changed += len(differ)
        return changed

    def _documents(self, ids: Sequence[int]) -> dict[int, Document]:
        """What the database says of jobs whose pictures are there."""
        listed = _listed(ids)
        pictures: dict[int, list[Any]] = {}
        for row in self._house.execute(PICTURES, (listed,)):
            pictures.setdefault(row["job_id"], []).append(row)
        rows = [row for row in self._house.execute(FACTS, (listed, self._surface)) if row["id"] in pictures]
        tags: dict[int, list[str]] = {}
        for row in self._house.execute(TAGS, (listed,)):
            tags.setdefault(row["job_id"], []).append(row["tag"])
        reactions: dict[int, list[tuple[int, str]]] = {}
        for row in self._house.execute(REACTIONS, (_listed([row["post_id"] for row in rows]),)):
            reactions.setdefault(row["post_id"], []).append((row["user_id"], row["emoji"]))
        found = {}
        for row in rows:
            of_job = pictures[row["id"]]
            scores = quality.scores(reactions.get(row["post_id"], ()), len(of_job), is_alone=row["is_alone"])
            best = max(scores, key=lambda score: (score.value, score.likes))
            own_tags = tuple(tags.get(row["id"], ()))
            entry = (
                *(row[name] for name in ENTRY_COLUMNS[:10]),
                *(of_job[0]["width"], of_job[0]["height"], *best, row["prompt"], " ".join(own_tags)),
            )
            files = tuple(
                (row["id"], picture["number"], picture["sha256"], picture["phash"], *score)
                for picture, score in zip(of_job, scores, strict=True)
            )
            found[row["id"]] = Document(entry, files, own_tags)
        return found

    def _indexed(self, ids: Sequence[int]) -> dict[int, Document]:
        """What the index says of jobs."""
        listed = _listed(ids)
        pictures: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._file.execute(INDEXED_PICTURES, (listed,)):
            pictures.setdefault(row["id"], []).append(tuple(row))
        tags: dict[int, list[str]] = {}
        sql = "SELECT id, tag FROM tags WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id, tag"
        for row in self._file.execute(sql, (listed,)):
            tags.setdefault(row["id"], []).append(row["tag"])
        return {
            row["id"]: Document(tuple(row), tuple(pictures.get(row["id"], ())), tuple(tags.get(row["id"], ())))
            for row in self._file.execute(ENTRIES, (listed,))
        }

    def _replace(self, changes: Sequence[tuple[int, Document | None, Document | None]]) -> None:
        if not changes:
            return
        file = self._file
        file.execute("BEGIN IMMEDIATE")
        try:
            for name, before, now in changes:
                kept, looks = None, []
                if before is not None:
                    # A prompt that stays keeps its vector, which takes the longest to compute.
                    if now is not None and now.entry[-2] == before.entry[-2]:
                        kept = file.execute("SELECT vector FROM vectors WHERE id = ?", (name,)).fetchone()
                    if now is not None:
                        files = {picture[1:3] for picture in now.pictures}
                        seen = file.execute("SELECT * FROM looks WHERE id = ?", (name,)).fetchall()
                        looks = [tuple(row) for row in seen if tuple(row)[1:3] in files]
                    file.execute("DELETE FROM entries WHERE id = ?", (name,))
                if now is not None:
                    file.execute(ADD_ENTRY, now.entry)
                    file.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)", now.pictures)
                    file.executemany("INSERT INTO looks VALUES (?, ?, ?, ?, ?)", looks)
                    file.executemany("INSERT INTO tags VALUES (?, ?)", [(name, tag) for tag in now.tags])
                    if kept is not None:
                        file.execute("INSERT INTO vectors VALUES (?, ?)", (name, kept["vector"]))
            file.execute("COMMIT")
        except BaseException:
            with suppress(sqlite.Error):
                file.execute("ROLLBACK")
            raise
        self.entries.drop(name for name, _, _ in changes)
        for name, _, now in changes:
            if now is not None:
                self.entries.put([dict(zip(ENTRY_COLUMNS, now.entry, strict=True))])
                self.entries.tag((name, tag) for tag in now.tags)

    def without_vector(self, most: int) -> list[tuple[int, str]]:
        """Some entries that have no vector yet, with their prompts."""
        return [(row["id"], row["prompt"]) for row in self._file.execute(WITHOUT_VECTOR, (most,))]

    def add_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Keep the vectors of entries."""
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", vectors)
        self._file.execute("COMMIT")

    def vectors(self, ids: Collection[int] | None = None) -> list[tuple[int, bytes]]:
        """The vectors of some entries, or of all."""
        if ids is None:
            rows = self._file.execute("SELECT id, vector FROM vectors")
        else:
            rows = self._file.execute(
                "SELECT id, vector FROM vectors WHERE id IN (SELECT value FROM json_each(?))", (_listed(ids),)
            )
        return [(row["id"], row["vector"]) for row in rows]

    def looks(self, model: str, ids: Collection[int] | None = None) -> list[tuple[int, int, Look]]:
        """How the pictures of some results look, or of all: the result, the picture's number, and its look.

        Vectors of another model than this one count as not known.
        """
        sql, values = (LOOKS, (model,)) if ids is None else (f"{LOOKS} WHERE {OF_SOME}", (model, _listed(ids)))
        rows = self._file.execute(sql, values)
        return [(row["id"], row["number"], Look(row["phash"], row["vector"])) for row in rows]

    def unseen(self, model: str, ids: Collection[int] | None = None) -> list[tuple[int, int, str]]:
        """The pictures that this model has not looked at, of some results or of all: result, number and file."""
        sql, values = (UNSEEN, (model,)) if ids is None else (f"{UNSEEN} AND {OF_SOME}", (model, _listed(ids)))
        return [tuple(row) for row in self._file.execute(sql, values)]

    def add_looks(self, model: str, looks: Sequence[tuple[int, int, str, bytes | None]]) -> None:
        """Keep vectors of pictures: result, number, file, and the vector, or None for one that cannot be looked at."""
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(
            "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?)",
            [(name, number, sha256, model, vector) for name, number, sha256, vector in looks],
        )
        self._file.execute("COMMIT")

    def scrub(self) -> None:
        """Rewrite the file, so that neither it nor its WAL holds a byte of what was deleted."""
        for table in ("words", "parts"):
            self._file.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")  # noqa: S608 - constants
        self._file.execute("VACUUM")
        self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that is derived, sorted: two indexes of the same database have the same."""
        tables = {"entries": "id", "pictures": "id, number", "tags": "id, tag", "vectors": "id"}
        tables["looks"] = "id, number"
        found = {
            name: [tuple(row) for row in self._file.execute(f"SELECT * FROM {name} ORDER BY {order}")]  # noqa: S608
            for name, order in tables.items()
        }
        found["words"] = [tuple(row) for row in self._file.execute("SELECT term, doc, cnt FROM frequencies")]
        return found

    # What answers searches.

    def channels(self, guild_id: int | None) -> list[tuple[int, int | None]]:
        """The channels with results of a server, or of all servers; a thread with its parent channel."""
        sql = "SELECT DISTINCT channel_id, parent_id FROM entries WHERE ?1 IS NULL OR guild_id = ?1"
        return [(row["channel_id"], row["parent_id"]) for row in self._file.execute(sql, (guild_id,))]

    def by_words(self, terms: Collection[str], query: Query, allowed: Allowed, *, every: bool = False) -> list[int]:
        """The results with one of these terms, or with every one, and with the phrases, the best first by BM25."""
        joint = " AND " if every else " OR "
        wanted = joint.join(f'"{term[:-1]}"*' if term.endswith("*") else f'"{term}"' for term in terms)
        return self._ranked("words", _and(*(_quoted(phrase) for phrase in query.phrases), wanted), allowed)

    def by_related_words(self, groups: Sequence[Sequence[str]], query: Query, allowed: Allowed) -> list[int]:
        """The results with a word of every group, the best first by BM25."""
        anded = _and(*(_quoted(phrase) for phrase in query.phrases), *(_or(group) for group in groups))
        return self._ranked("words", anded, allowed)

    def by_parts(self, terms: Iterable[str], query: Query, allowed: Allowed) -> list[int]:
        """The results with these terms as parts of words, the best first.

        A phrase in a script without spaces between words is a part of a word, too.
        """
        parts = [term.rstrip("*") for term in terms]
        parts += [phrase for phrase in query.phrases if _OTHER_SCRIPT.search(phrase)]
        found = self._ranked("parts", _or([part for part in parts if len(part) >= _SHORTEST_PART]), allowed)
        short = [part for part in parts if len(part) < _SHORTEST_PART and _OTHER_SCRIPT.search(part)]
        return list(dict.fromkeys([*found, *(self._containing(short[:4], allowed) if short else [])]))

    def frequent_words(self, most: int) -> list[str]:
        """The words that are in the most prompts, without those that say nothing."""
        sql = "SELECT term FROM frequencies WHERE length(term) >= ? ORDER BY doc DESC, term LIMIT ?"
        return [row["term"] for row in self._file.execute(sql, (_SHORTEST_PART, most))]

    def telling(self, terms: Sequence[str]) -> dict[str, int]:
        """The terms that tell results apart, the rarest first, and no common one beside others.

        With each is how many results have it as a word; 0 for the beginning of a word.
        """
        plain = [term for term in terms if not term.endswith("*")]
        sql = "SELECT term, doc FROM frequencies WHERE term IN (SELECT value FROM json_each(?))"
        documents = {row["term"]: row["doc"] for row in self._file.execute(sql, (json.dumps(plain),))}
        most = COMMON * len(self.entries)
        long = [term for term in terms if not _is_short(term)]
        # Of few results every word is common, and still a short one tells nothing.
        rare = [term for term in long if documents.get(term, 0) <= most] or long or list(terms)
        return dict(sorted(((term, documents.get(term, 0)) for term in rare), key=lambda each: each[1])[:MOST_TERMS])

    def _ranked(self, table: str, match: str, allowed: Allowed) -> list[int]:
        if not match:
            return []
        sql = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY bm25({table}), rowid DESC"  # noqa: S608
        return self._first(sql, (match,), allowed)

    def _containing(self, parts: Sequence[str], allowed: Allowed) -> list[int]:
        tests = " OR ".join("instr(lower(prompt), ?)" for _ in parts)
        return self._first(f"SELECT id FROM entries WHERE {tests} ORDER BY id DESC", parts, allowed)  # noqa: S608

    def _first(self, sql: str, values: Sequence[Any], allowed: Allowed) -> list[int]:
        """The first ids that a query returns and that are allowed."""
        found: list[int] = []
        with closing(self._file.execute(sql, values)) as rows:
            while len(found) < CANDIDATES and (some := rows.fetchmany(CANDIDATES)):
                found += [name for (name,) in some if 0 < name < len(allowed) and allowed[name]]
        return found[:CANDIDATES]

    def matching(self, ids: Sequence[int], query: Query, seer: Seer) -> dict[int, Any]:
        """The entries of these results that the person may find, as the database says now, and that the query keeps.

        The index may be behind the database by a second, so this decides and not the index.
        """
        now = {row["id"]: row for row in self._house.execute(FACTS, (_listed(ids), self._surface))}
        there = {row["job_id"] for row in self._house.execute(PICTURES, (_listed(ids),))}
        found = {}
        for row in self._file.execute(ENTRIES, (_listed(ids),)):
            fact = now.get(row["id"])
            if fact is None or not may_see(
                Facts(
                    fact["guild_id"],
                    fact["channel_id"],
                    fact["user_id"],
                    bool(fact["posted"]),
                    row["id"] in there,
                ),
                seer,
            ):
                continue
            text = folded(row["prompt"])
            if all(phrase in text for phrase in query.phrases) and not any(word in text for word in query.without):
                found[row["id"]] = row
        return found


def _is_short(term: str) -> bool:
    """Whether a word is as short as words that say nothing are in languages with Latin letters, such as "in"."""
    return len(term.rstrip("*")) < _SHORTEST_PART and not _OTHER_SCRIPT.search(term)


def _quoted(text: str) -> str:
    """A phrase in the language of FTS5, in which nothing inside the quotation marks has a meaning."""
    return '"' + text.replace('"', " ") + '"'


def _and(*parts: str) -> str:
    return " AND ".join(f"({part})" for part in parts if part)


def _or(words: Sequence[str]) -> str:
    return " OR ".join(_quoted(word) for word in words)


def _listed(ids: Collection[int]) -> str:
    return f"[{','.join(map(str, ids))}]"
