"""What decides who may find a result, and what filters ask of it: columns in memory, all read within a millisecond.

The index file has the same rows. Nothing here is stored.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.search.queries import Condition, Query
from bot.search.visibility import Scope, Seer

Allowed = NDArray[np.bool_]
"""Whether each result may be in an answer, by its id."""

_NUMBERS: Mapping[str, type] = {
    **dict.fromkeys(("id", "guild_id", "user_id", "seed", "asked_at"), np.int64),
    **dict.fromkeys(("channel_id", "model", "style", "width", "height", "likes"), np.int32),
    "posted": np.bool_,
    "score": np.float64,
}
_NAMES = ("channel_id", "model", "style")
"""Columns with few different values, which are kept as their places in one list."""
COLUMNS = tuple(_NUMBERS)
"""What `put` needs of an entry."""

_COMPARE: Mapping[str, Callable[[Any, Any], Allowed]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_SHAPES: Mapping[str, Callable[[Any, Any], Allowed]] = {
    "landscape": operator.gt,
    "portrait": operator.lt,
    "square": operator.eq,
}
_NO_SEED = -1


class Entries:
    """The columns of all entries."""

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, kind) for name, kind in _NUMBERS.items()}
        self._rows: dict[int, int] = {}
        self._names: dict[Any, int] = {}
        self._tagged: defaultdict[str, set[int]] = defaultdict(set)
        self._tags: dict[int, tuple[str, ...]] = {}
        self._last = 0

    def __len__(self) -> int:
        """How many results can be found."""
        return len(self._rows)

    def __contains__(self, job_id: int) -> bool:
        """Whether a result can be found."""
        return job_id in self._rows

    def put(self, entries: Iterable[Mapping[str, Any] | Any]) -> None:
        """Add or replace entries, which have COLUMNS."""
        rows = [self._values(entry) for entry in entries]
        if not rows:
            return
        ids = [row[0] for row in rows]
        for name in ids:
            self._rows.setdefault(name, len(self._rows))
        self._reserve(len(self._rows))
        self._last = max(self._last, *ids)
        places = [self._rows[name] for name in ids]
        for column, values in zip(self._columns.values(), zip(*rows, strict=True), strict=True):
            column[places] = values

    def tag(self, tags: Iterable[tuple[int, str]]) -> None:
        """Add tags to entries that have none yet."""
        found: defaultdict[int, list[str]] = defaultdict(list)
        for job_id, tag in tags:
            found[job_id].append(tag)
            self._tagged[tag].add(job_id)
        self._tags |= {job_id: tuple(those) for job_id, those in found.items()}

    def drop(self, ids: Iterable[int]) -> None:
        """Remove entries with their tags; the last rows take their places."""
        for name in ids:
            row = self._rows.pop(name, None)
            if row is None:
                continue
            last = len(self._rows)
            for column in self._columns.values():
                column[row] = column[last]
            if row != last:
                self._rows[int(self._columns["id"][row])] = row
            for tag in self._tags.pop(name, ()):
                self._tagged[tag].discard(name)
                if not self._tagged[tag]:
                    del self._tagged[tag]

    def allowed(self, query: Query, seer: Seer) -> Allowed:
        """Which results the person may find and the filters keep."""
        columns = {name: column[: len(self._rows)] for name, column in self._columns.items()}
        keep = self._visible(columns, seer)
        for condition in query.conditions:
            keep &= self._fulfils(columns, condition) != condition.is_not
        found = np.zeros(self._last + 1, np.bool_)
        found[columns["id"][keep]] = True
        return found

    def newest(self, allowed: Allowed, most: int) -> list[int]:
        """The ids of the newest results that are allowed."""
        ids, asked = (self._columns[name][: len(self._rows)] for name in ("id", "asked_at"))
        rows = np.flatnonzero(allowed[ids])
        order = np.lexsort((-ids[rows], -asked[rows]))[:most]
        return [int(name) for name in ids[rows[order]]]

    def _values(self, entry: Any) -> tuple[Any, ...]:
        values = {name: entry[name] for name in COLUMNS}
        for name in _NAMES:
            values[name] = self._names.setdefault(values[name] or "", len(self._names))
        values["asked_at"] = _moment(values["asked_at"])
        values["seed"] = _NO_SEED if values["seed"] is None else values["seed"]
        return tuple(values.values())

    def _visible(self, columns: Mapping[str, NDArray[Any]], seer: Seer) -> Allowed:
        """What `may_see` decides, of all results that are there. A test holds both together."""

        def within(channels: frozenset[int]) -> Allowed:
            return self._is_one_of(columns["channel_id"], channels)

        here, posted = columns["guild_id"] == seer.guild_id, columns["posted"]
        if seer.scope is Scope.MINE:
            keep = (columns["user_id"] == seer.user_id) & here
        elif seer.scope is Scope.ALL:
            keep = posted & seer.is_host
        elif seer.scope is Scope.SERVER:
            keep = posted & here & within(seer.readable | seer.gone) & seer.is_moderator
        else:
            keep = posted & here & within(seer.readable)
        if not seer.here_is_adult:
            keep = keep & ~within(seer.adult if seer.scope is Scope.MINE else seer.adult | seer.gone)
        found: Allowed = keep
        return found

    def _is_one_of(self, column: NDArray[Any], names: Collection[Any]) -> Allowed:
        wanted = np.zeros(max(len(self._names), 1), np.bool_)
        wanted[[self._names[name] for name in names if name in self._names]] = True
        found: Allowed = wanted[column]
        return found

    def _fulfils(self, columns: Mapping[str, NDArray[Any]], condition: Condition) -> Allowed:
        name, compare, value = condition.column, _COMPARE[condition.operator], condition.value
        if name == "tag":
            tagged = self._tagged.get(value, ())
            return np.isin(columns["id"], np.fromiter(tagged, np.int64, len(tagged)))
        if name in _NAMES:
            return compare(columns[name], self._names.get(value, -1))
        if name == "asked_at":
            return compare(columns[name], _moment(value))
        if name == "longest":
            return compare(np.maximum(columns["width"], columns["height"]), value)
        if name == "shape":
            return _SHAPES[value](columns["width"], columns["height"])
        if name == "size":
            width, height = map(int, value.split("x"))
            is_size: Allowed = (columns["width"] == width) & (columns["height"] == height)
            return is_size
        return compare(columns[name], value)

    def _reserve(self, count: int) -> None:
        size = len(self._columns["id"])
        if count <= size:
            return
        more = max(count, size * 5 // 4, 1024) - size
        self._columns = {
            name: np.concatenate([column, np.zeros(more, column.dtype)]) for name, column in self._columns.items()
        }


def _moment(text: str) -> int:
    """A time as the database writes it, in microseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)
