"""An exported data set is read by the tools of others: datasets, DuckDB and pandas; mlcroissant finds no fault."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.bot.datasets.test_export import joined, rows, written
from tests.bot.storage.conftest import ADA, GRACE, Store, open_store

# Each program reads a version and prints what it found: the rows of both splits by their ids, and the first picture.
WITH_DATASETS = """
import datasets
splits = datasets.load_dataset(folder)
all_of_it = [row for split in splits.values() for row in split]
found = {row["id"]: [row["prompt"], row["synthetic"], list(row["image"].size)] for row in all_of_it}
"""
WITH_DUCKDB = """
import duckdb, io, PIL.Image
table = duckdb.sql(f"SELECT id, prompt, synthetic, image.bytes FROM '{folder}/data/*.parquet'").fetchall()
found = {row[0]: [row[1], row[2], list(PIL.Image.open(io.BytesIO(row[3])).size)] for row in table}
"""
WITH_PANDAS = """
import io, pandas, PIL.Image
table = pandas.concat([pandas.read_parquet(f"{folder}/data/{split}.parquet") for split in ("train", "test")])
found = {
    row.id: [row.prompt, bool(row.synthetic), list(PIL.Image.open(io.BytesIO(row.image["bytes"])).size)]
    for row in table.itertuples()
}
"""
WITH_MLCROISSANT = """
import mlcroissant
dataset = mlcroissant.Dataset(f"{folder}/croissant.json")
issues = dataset.metadata.ctx.issues
assert not issues.errors and not issues.warnings, (issues.errors, issues.warnings)
def text(value): return value.decode() if isinstance(value, bytes) else value
found = {}
for split in ("train", "test"):
    for row in dataset.records(split):
        name, prompt, is_made, image = (row[f"{split}/{column}"] for column in ("id", "prompt", "synthetic", "image"))
        found[text(name)] = [text(prompt), bool(is_made), list(image.size)]
"""
PROGRAMS = {
    "datasets": WITH_DATASETS,
    "duckdb": WITH_DUCKDB,
    "pandas": WITH_PANDAS,
    "mlcroissant": WITH_MLCROISSANT,
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    (tmp_path / "data").mkdir()
    async with open_store(tmp_path / "data") as store:
        yield store


def found(program: str, folder: Path, home: Path) -> dict[str, Any]:
    """What a program reads, in a process of its own, without a network."""
    code = f"import json\nfolder = {str(folder)!r}\n{program}\nprint(json.dumps(found))"
    environ = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    read: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return read


@pytest.mark.parametrize("tool", PROGRAMS)
async def test_the_tools_of_others_read_every_row_and_picture(store: Store, tmp_path: Path, tool: str) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed: pip install 'atelier-bot[datasets-check]'")
    await joined(store, ADA, GRACE)
    for seed in range(25):
        await store.delivered(GRACE if seed % 3 else ADA, seed=seed, prompt=f"a fox, {seed}, 狐")
    done = written(store)
    wanted = {row["id"]: [row["prompt"], True, [8, 8]] for row in rows(done)}
    assert len(wanted) == 25
    assert found(PROGRAMS[tool], done.folder, tmp_path / "home") == wanted
