"""Likeness of meaning: one vector of word meanings for each prompt, and the nearest ones to a query."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.search.entries import Allowed

DIMENSIONS = 256

RESCORED = 1000
"""Rows whose cosine is computed after a first pass over one bit of each dimension."""
EXACT_UP_TO = 4096
"""So few rows need no first pass."""

LEAST = 0.2
"""A cosine below this says nothing: prompts about different things have it, too."""


class Embedder:
    """Sentences to vectors by the mean of word vectors, whose weights are in the wheel of wordllama."""

    def __init__(self) -> None:
        import wordllama
        from wordllama import WordLlama

        # Without these two arguments it would download its weights.
        folder = Path(wordllama.__file__).parent
        self._model: Any = WordLlama.load(cache_dir=folder, disable_download=True)

    @staticmethod
    def is_installed() -> bool:
        """Whether wordllama can be imported."""
        return importlib.util.find_spec("wordllama") is not None

    def embed(self, texts: Sequence[str]) -> NDArray[np.int8]:
        """The vectors of texts, one row each: whole numbers in -127…127, whose direction is the meaning."""
        vectors = np.asarray(self._model.embed(list(texts), norm=True), dtype=np.float32)
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        # A text without a known word has no direction.
        scale = np.divide(127.0, largest, out=np.zeros_like(largest), where=np.isfinite(largest) & (largest > 0))
        rows: NDArray[np.int8] = np.round(np.nan_to_num(vectors) * scale).astype(np.int8)
        return rows


class Vocabulary:
    """The words of the index with their vectors, to find related words: "kitten" for "cat".

    Query expansion by word vectors, as Kuzi, Shtok and Kurland, CIKM 2016, https://doi.org/10.1145/2983323.2983876.
    """

    MOST = 20_000
    """Words; the most frequent ones count."""
    RELATED = 0.35
    """The least cosine of related words; in the benchmark fewer and closer words found less."""
    NEAREST = 12

    def __init__(self) -> None:
        self._words: list[str] = []
        self._rows = np.empty((0, DIMENSIONS), np.float32)

    def put(self, words: Sequence[str], vectors: NDArray[np.int8]) -> None:
        """Add words with their vectors."""
        rows = vectors.astype(np.float32)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1.0)
        self._words += words
        self._rows = np.concatenate([self._rows, rows])

    def related(self, words: Sequence[str], vectors: Sequence[NDArray[np.int8]]) -> list[list[str]]:
        """For each word, itself and the words of the index that are related to it."""
        found = []
        for word, vector in zip(words, vectors, strict=True):
            row = vector.astype(np.float32)
            length = np.linalg.norm(row)
            near = self._rows @ (row / length) if length else np.zeros(len(self._words), np.float32)
            order = np.argsort(-near)[: self.NEAREST]
            found.append(list(dict.fromkeys([word, *(self._words[at] for at in order if near[at] >= self.RELATED)])))
        return found


class Vectors:
    """The vectors of all results in memory: 256 bytes and 256 bits each.

    The bits find some near rows, as Hamming distances of signs, and the bytes rank them. This is faster than a product
    with a matrix of floats, and needs a quarter of its memory (docs/performance.md).
    """

    def __init__(self) -> None:
        self._ids = np.empty(0, np.int64)
        self._bytes = np.empty((0, DIMENSIONS), np.int8)
        self._bits = np.empty((DIMENSIONS // 64, 0), np.uint64)
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        """How many results have a vector."""
        return len(self._rows)

    def put(self, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Add or replace the vectors of results."""
        pairs = list(vectors)
        if not pairs:
            return
        rows = np.frombuffer(b"".join(vector for _, vector in pairs), np.int8).reshape(-1, DIMENSIONS)
        fresh = [(at, name) for at, (name, _) in enumerate(pairs) if name not in self._rows]
        self._reserve(len(self._rows) + len(fresh))
        for _, name in fresh:
            self._rows[name] = len(self._rows)
        places = np.fromiter((self._rows[name] for name, _ in pairs), np.int64, len(pairs))
        self._ids[places] = [name for name, _ in pairs]
        self._bytes[places] = rows
        self._bits[:, places] = _signs(rows).T

    def drop(self, ids: Iterable[int]) -> None:
        """Remove the vectors of results; the last rows take their places."""
        for name in ids:
            row = self._rows.pop(name, None)
            if row is None:
                continue
            last = len(self._rows)
            if row != last:
                moved = int(self._ids[last])
                self._ids[row], self._bytes[row] = self._ids[last], self._bytes[last]
                self._bits[:, row] = self._bits[:, last]
                self._rows[moved] = row
            self._bytes[last], self._bits[:, last], self._ids[last] = 0, 0, 0

    def nearest(self, vector: NDArray[np.int8], allowed: Allowed, most: int) -> list[tuple[int, float]]:
        """The results that are allowed and nearest to a vector, with their cosines."""
        count = len(self._rows)
        if not count or not vector.any():
            return []
        keep = allowed[self._ids[:count]]
        rows = np.flatnonzero(keep)
        if len(rows) > EXACT_UP_TO:
            # Looking at all bits in their order is faster than gathering those of the rows that are allowed.
            differ = np.zeros(count, np.uint16)
            for bits, part in zip(self._bits, _signs(vector[None])[0], strict=True):
                differ += np.bitwise_count(bits[:count] ^ part)
            differ[~keep] = DIMENSIONS + 1
            rows = np.argpartition(differ, RESCORED)[:RESCORED]
        near = self._bytes[rows].astype(np.float32)
        query = vector.astype(np.float32)
        lengths = np.linalg.norm(near, axis=1) * np.linalg.norm(query)
        cosines = np.divide(near @ query, lengths, out=np.zeros(len(rows), np.float32), where=lengths > 0)
        names = self._ids[rows]
        order = np.lexsort((-names, -cosines))[:most]
        return [(int(names[at]), float(cosines[at])) for at in order if cosines[at] >= LEAST]

    def _reserve(self, count: int) -> None:
        if count <= len(self._ids):
            return
        more = max(count, len(self._ids) * 5 // 4, 1024) - len(self._ids)
        self._ids = np.concatenate([self._ids, np.zeros(more, np.int64)])
        self._bytes = np.concatenate([self._bytes, np.zeros((more, DIMENSIONS), np.int8)])
        self._bits = np.concatenate([self._bits, np.zeros((DIMENSIONS // 64, more), np.uint64)], axis=1)


def _signs(rows: NDArray[np.int8]) -> NDArray[np.uint64]:
    """One bit for each dimension: whether it is above zero."""
    return np.packbits(rows > 0, axis=1, bitorder="little").view(np.uint64)
