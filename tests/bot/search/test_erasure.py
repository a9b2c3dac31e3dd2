"""After a deletion no byte of a person's words is in search's file, in tables of which no code names the pages."""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.search.index import Index
from bot.storage import sqlite
from tests.bot.search.conftest import Library, open_library
from tests.bot.storage.conftest import ADA, GRACE
from tests.bot.storage.test_forgetting import forgetting_of

LETTERS = "bcdfghjklmnpqrstvwxz"

# Words that no other word of a test contains, in the alphabets that the tokenizers treat differently.
WORD = st.text(st.sampled_from(LETTERS), min_size=9, max_size=14)


def shadows(path: Path) -> dict[str, list[bytes]]:
    """Every value of every table of a file, those behind the full-text indexes too, as bytes."""
    with closing(sqlite.connect(path, None, readonly=True)) as connection:
        names = [row["name"] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {}
        for name in names:
            if name == "frequencies":
                continue
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            found[name] = [
                value if isinstance(value, bytes) else str(value).encode() for row in rows for value in tuple(row)
            ]
        return found


async def deleted(library: Library, hers: list[str], others: list[str], styles: list[str]) -> None:
    """Results of Ada and of Grace are indexed in turn, and then Ada has her data deleted."""
    chance = random.Random(len(hers) * 31 + len(others))
    prompts = [(ADA, word) for word in hers] + [(GRACE, word) for word in others]
    chance.shuffle(prompts)
    for number, (user, word) in enumerate(prompts):
        style = {"style": styles[number % len(styles)], "style_version": 1} if styles and user == ADA else {}
        (job_id,) = await library.paint(f"a {word} in the snow", user=user, **style)
        await library.store.database.execute("INSERT INTO tags VALUES (?, ?, ?, ?)", (job_id, f"{word}tag", user, "x"))
        if chance.random() < 0.3:
            await library.search.finish()
    await library.search.finish()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(WORD, min_size=1, max_size=6, unique=True),
    st.lists(WORD, max_size=4, unique=True),
    st.lists(st.text(st.sampled_from(LETTERS), min_size=9, max_size=12), max_size=2),
)
async def test_a_deletion_leaves_no_byte_in_any_table_of_search(
    hers: list[str], others: list[str], styles: list[str]
) -> None:
    hers = [f"{word}ada" for word in hers]
    others = [f"{word}grace" for word in others]
    styles = [f"{name}adastyle" for name in styles]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        async with open_library(data) as library:
            await deleted(library, hers, others, styles)
            before = library.index.read_bytes() + Path(f"{library.index}-wal").read_bytes()
            # A word is whole in the table of prompts; the full-text indexes keep it in parts.
            assert all(word.encode() in before for word in hers)
            vectors = [value for value in shadows(library.index)["vectors"] if len(value) > 20]
            pictures = await library.store.database.fetch_all(
                "SELECT sha256 FROM images JOIN jobs ON jobs.id = job_id WHERE user_id = ?", (ADA,)
            )
            theirs = await library.store.database.fetch_all(
                "SELECT sha256 FROM images JOIN jobs ON jobs.id = job_id WHERE user_id != ?", (ADA,)
            )
            kept = {row["sha256"] for row in theirs}
            forgetting = forgetting_of(library.store)
            forgetting._erase_derived = library.search.erase
            await forgetting.forget(ADA)
            assert await forgetting.finish()
            await library.search.close()

            files = [path for path in data.glob("search.db*") if path.is_file()]
            kept_bytes = b"".join(path.read_bytes() for path in files)
            gone = [*hers, *styles, *(f"{word}tag" for word in hers)]
            gone += [row["sha256"] for row in pictures if row["sha256"] not in kept]
            assert [word for word in gone if word.encode() in kept_bytes] == []
            # The index of trigrams keeps words in parts, so parts that are hers alone must be gone, too.
            parts = {word[at : at + 6].encode() for word in hers for at in range(len(word) - 8)}
            own = {part for part in parts if not any(part in word.encode() for word in others)}
            assert [part for part in own if part in kept_bytes] == []
            tables = shadows(library.index)
            assert len([value for value in tables["vectors"] if len(value) > 20]) == len(others)
            assert len(vectors) == len(hers) + len(others), "the vectors were there"
            with closing(Index(library.index, library.store.folder / "atelier.db", None, "discord")) as index:
                dumped = index.dump()
            assert len(dumped["entries"]) == len(others)
            assert not [row for row in dumped["words"] if any(str(row[0]) in word for word in hers) and len(row[0]) > 8]
