"""How pictures look, in memory: a perceptual hash and a vector of each, the nearest ones to a picture, and groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.search.entries import Allowed

DIMENSIONS = 256

SAME_BITS = 3
"""Two pictures are the same, but for compression and size, if at most so many of the 64 bits of their hashes differ."""
NEAR_BITS = 6
"""A picture whose hash differs in at most so many bits is found first by another one."""
LEAST = 0.25
"""A cosine below this says nothing: pictures that have nothing in common have it, too."""
FEW = 8
"""So few pictures say little of what all have in common: their mean counts half."""
CHUNK = 16_384
"""Rows that are made floats at a time."""

_BANDS = SAME_BITS + 1
"""If a hash is cut into more parts than bits differ, one part is equal."""
_BAND_BITS = 64 // _BANDS
_COMPARED = 2048
"""Hashes with an equal part that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture looks: its hash, as a signed number of 64 bits, and its vector; None is not known."""

    phash: int | None
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """A picture of a result that was found by how it looks."""

    job_id: int
    number: int
    bits: int | None
    """In how many bits its hash differs, if these are few."""
    cosine: float
    """How near its vector is; 0 if it was not found by that."""


class Looks:
    """The hashes and vectors of pictures. Rows of pictures that are gone stay until there are many of them."""

    def __init__(self) -> None:
        self._clear(0)

    def _clear(self, size: int) -> None:
        self._ids = np.zeros(size, np.int64)
        self._numbers = np.zeros(size, np.int16)
        self._hashes = np.zeros(size, np.uint64)
        self._has_hash = np.zeros(size, np.bool_)
        self._vectors = np.zeros((size, DIMENSIONS), np.int8)
        self._lengths = np.zeros(size, np.float32)
        self._rows: dict[tuple[int, int], int] = {}
        self._of_job: defaultdict[int, list[int]] = defaultdict(list)
        self._used = 0
        self._sum = np.zeros(DIMENSIONS, np.float64)

    def put(self, looks: Iterable[tuple[int, int, Look]]) -> None:
        """Add or replace how pictures look: the job, the number of the picture, and its look."""
        some = list(looks)
        if not some:
            return
        places = np.array([self._place(job_id, number) for job_id, number, _ in some])
        self._sum -= self._directions(places)
        self._ids[places] = [job_id for job_id, _, _ in some]
        self._numbers[places] = [number for _, number, _ in some]
        self._has_hash[places] = [look.phash is not None for _, _, look in some]
        self._hashes[places] = np.array([look.phash or 0 for _, _, look in some], np.int64).astype(np.uint64)
        joined = b"".join(look.vector or bytes(DIMENSIONS) for _, _, look in some)
        self._vectors[places] = vectors = np.frombuffer(joined, np.int8).reshape(-1, DIMENSIONS)
        self._lengths[places] = np.linalg.norm(vectors.astype(np.float32), axis=1)
        self._sum += self._directions(places)

    def drop(self, job_ids: Collection[int]) -> None:
        """Remove the pictures of results."""
        gone = [self._rows.pop((job_id, number)) for job_id in job_ids for number in self._of_job.pop(job_id, ())]
        self._sum -= self._directions(np.array(gone, np.int64))
        # No result has the id 0, so that nobody may see it.
        self._ids[gone], self._has_hash[gone], self._lengths[gone], self._vectors[gone] = 0, False, 0, 0

    def of(self, job_id: int, number: int) -> Look | None:
        """How a picture looks; None if that is not known."""
        row = self._rows.get((job_id, number))
        if row is None:
            return None
        phash = int(self._hashes[row].astype(np.int64)) if self._has_hash[row] else None
        return Look(phash, self._vectors[row].tobytes() if self._lengths[row] else None)

    def nearest(self, look: Look, allowed: Allowed, most: int) -> list[Likeness]:
        """The results whose pictures look the most like one, each with its nearest picture.

        Those whose hash differs in at most NEAR_BITS are first, then those with the nearest vectors. The mean of all
        vectors is taken off before they are compared: it is what all pictures have in common.
        """
        seen = np.flatnonzero(allowed[self._ids[: self._used]])
        if not len(seen):
            return []
        bits = np.full(len(seen), 64, np.uint8)
        if look.phash is not None:
            differ = np.bitwise_count(self._hashes[seen] ^ np.uint64(look.phash & 2**64 - 1))
            bits = np.where(self._has_hash[seen], differ, bits)
        cosines = self._cosines(look, seen)
        near = bits <= NEAR_BITS
        rank = np.where(near, 2.0 + (64.0 - bits), cosines)
        found: dict[int, Likeness] = {}
        for at in np.lexsort((-self._ids[seen], -rank)):
            if len(found) >= most or rank[at] < LEAST:
                break
            row, name = seen[at], int(self._ids[seen[at]])
            likeness = Likeness(
                name, int(self._numbers[row]), int(bits[at]) if near[at] else None, max(float(cosines[at]), 0.0)
            )
            found.setdefault(name, likeness)
        return list(found.values())

    def groups(self, allowed: Allowed, most: int) -> list[list[tuple[int, int]]]:
        """Groups of pictures that are the same: jobs and numbers, the oldest first; the largest groups first.

        A picture is in a group if it is the same as any picture there.
        """
        seen = np.flatnonzero(allowed[self._ids[: self._used]] & self._has_hash[: self._used])
        hashes, where = np.unique(self._hashes[seen], return_inverse=True)
        roots = np.arange(len(hashes))
        for one, other in _same(hashes):
            _join(roots, one, other)
        groups: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, at in zip(seen, where, strict=True):
            groups[_root(roots, int(at))].append((int(self._ids[row]), int(self._numbers[row])))
        found = [sorted(group) for group in groups.values() if len(group) > 1]
        return sorted(found, key=lambda group: (-len(group), -group[-1][0]))[:most]

    def _cosines(self, look: Look, seen: NDArray[np.int64]) -> NDArray[np.float32]:
        """The cosine of each of these rows; 0 where a vector is not known."""
        found = np.zeros(len(seen), np.float32)
        known = np.flatnonzero(self._lengths[seen])
        if look.vector is None or not len(known):
            return found
        vector = np.frombuffer(look.vector, np.int8).astype(np.float32)
        length = float(np.linalg.norm(vector))
        count = int(np.count_nonzero(self._lengths[: self._used]))
        mean = (self._sum / (count + FEW)).astype(np.float32)
        wanted = vector / length - mean if length else np.zeros(DIMENSIONS, np.float32)
        both = np.stack([wanted, mean], axis=1)
        for start in range(0, len(known), CHUNK):
            rows = seen[known[start : start + CHUNK]]
            products = self._vectors[rows].astype(np.float32) @ both / self._lengths[rows, None]
            lengths = np.sqrt(np.maximum(1 - 2 * products[:, 1] + mean @ mean, 1e-12)) * np.linalg.norm(wanted)
            ups = products[:, 0] - mean @ wanted
            found[known[start : start + CHUNK]] = np.divide(ups, lengths, out=np.zeros_like(ups), where=lengths > 1e-5)
        return found

    def _directions(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The sum of the directions of some rows."""
        known = rows[self._lengths[rows] > 0]
        vectors: NDArray[np.float64] = self._vectors[known].astype(np.float64) / self._lengths[known, None]
        found: NDArray[np.float64] = vectors.sum(axis=0)
        return found

    def _place(self, job_id: int, number: int) -> int:
        """The row of a picture, which may be a free one."""
        row = self._rows.get((job_id, number))
        if row is None:
            if self._used == len(self._ids):
                self._make_room()
            row = self._rows[job_id, number] = self._used
            # Rows that are made free before this one is written keep it.
            self._ids[row] = job_id
            self._numbers[row] = number
            self._of_job[job_id].append(number)
            self._used += 1
        return row

    def _make_room(self) -> None:
        """Leave out the rows of pictures that are gone, or grow if there are few of them."""
        kept = np.flatnonzero(self._ids[: self._used])
        columns: tuple[np.ndarray, ...] = (
            self._ids,
            self._numbers,
            self._hashes,
            self._has_hash,
            self._vectors,
            self._lengths,
        )
        total = self._sum
        self._clear(max(len(kept) * 5 // 4, 1024))
        fresh: tuple[np.ndarray, ...] = (
            self._ids,
            self._numbers,
            self._hashes,
            self._has_hash,
            self._vectors,
            self._lengths,
        )
        for before, now in zip(columns, fresh, strict=True):
            now[: len(kept)] = before[kept]
        self._used, self._sum = len(kept), total
        for row in range(self._used):
            name, number = int(self._ids[row]), int(self._numbers[row])
            self._rows[name, number] = row
            self._of_job[name].append(number)


def _same(hashes: NDArray[np.uint64]) -> Iterable[tuple[int, int]]:
    """The pairs of places of different hashes that differ in at most SAME_BITS."""
    for band in range(_BANDS):
        parts = hashes >> np.uint64(band * _BAND_BITS) & np.uint64(2**_BAND_BITS - 1)
        order = np.argsort(parts, kind="stable")
        edges = np.flatnonzero(np.diff(parts[order])) + 1
        for bucket in np.split(order, edges):
            yield from _pairs(hashes, bucket)


def _pairs(hashes: NDArray[np.uint64], bucket: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    for start in range(0, len(bucket) if len(bucket) > 1 else 0, _COMPARED):
        some = bucket[start : start + _COMPARED]
        for other in range(start, len(bucket), _COMPARED):
            those = bucket[other : other + _COMPARED]
            differ = np.bitwise_count(hashes[some][:, None] ^ hashes[those][None])
            for at, to in zip(*np.nonzero(differ <= SAME_BITS), strict=True):
                if some[at] < those[to]:
                    yield int(some[at]), int(those[to])


def _root(roots: NDArray[np.int64], at: int) -> int:
    while roots[at] != at:
        roots[at] = roots[roots[at]]
        at = int(roots[at])
    return at


def _join(roots: NDArray[np.int64], one: int, other: int) -> None:
    first, second = sorted((_root(roots, one), _root(roots, other)))
    roots[second] = first
