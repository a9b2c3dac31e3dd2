"""Which ways to paint faster this machine has shown to be right and fast, for each model, and which it has not.

Pure: the engine process compares and measures (`worker/proving.py`), this module decides and keeps the verdicts as
text. The doctor reads the same text, so it does not import torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

FILE = "calibration.json"
"""Its name in the data folder."""
FORMAT = 1
SLOWER = 1.05
"""A time counts as slower from this factor on: shorter differences are noise of the measurement."""
TRIES = 2
"""So often the engine process may die during a trial; once may be the host's own kill."""
_MOST = 300
"""Verdicts that are kept; the oldest are dropped, because people may ask for many sizes."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plain forward and an accelerated one on the same inputs."""

    error: float
    """How far apart the outputs are, relative to the plain one; NaN or infinite if the fast one is not numbers."""
    tolerance: float
    plain_seconds: float
    fast_seconds: float
    has_effect: bool = True
    """Whether other kernels ran than before."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that a verdict is about: its name, and a key of its files' hash and the dtype it is painted in."""

    model: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The verdict on one acceleration for one model; `is_right` is None before its first trial."""

    model: str
    key: str
    thing: str
    is_right: bool | None = None
    words: str = ""
    tries: int = 0
    """Trials that were begun and have not ended."""

    @property
    def refusal(self) -> str:
        """Why it is off, in words; empty if it is not."""
        if self.is_right is False:
            return self.words
        return "the engine process ended twice while it was tried" if self.tries >= TRIES else ""

    @property
    def is_trusted(self) -> bool:
        """Whether it was shown to be right and fast."""
        return self.is_right is True and not self.refusal


def judge(found: Comparison) -> tuple[bool, str]:
    """Whether something is trusted after a comparison, and why, in words."""
    if not math.isfinite(found.error):
        return False, "wrong: its results are not numbers"
    if found.error > found.tolerance:
        return False, f"wrong: its results are {found.error:.2g} apart, and {found.tolerance:.2g} is allowed"
    if not found.has_effect:
        return False, "it has no effect: the same kernels run with it and without it"
    plain, fast = found.plain_seconds, found.fast_seconds
    times = f"{_milliseconds(fast)} instead of {_milliseconds(plain)}"
    if fast > SLOWER * plain:
        return False, f"slower: {times}"
    return True, f"{times}; its results are {found.error:.2g} apart, and {found.tolerance:.2g} is allowed"


class Calibration:
    """The verdicts of one machine; `machine` names its device and the versions that count."""

    def __init__(self, machine: Mapping[str, str] | None = None) -> None:
        self.machine = dict(machine or {})
        self._entries: dict[tuple[str, str], Entry] = {}

    @classmethod
    def read(cls, text: str, machine: Mapping[str, str]) -> tuple[Calibration, str]:
        """The verdicts that `dump` wrote, or none and a sentence why the text is not used; empty text is no fault."""
        fresh = cls(machine)
        if not text:
            return fresh, ""
        again = "It is not used, and everything in it is tried again."
        try:
            known = json.loads(text)
            version, theirs = known["format"], known["machine"]
            if type(version) is not int:
                raise TypeError(f"its format is {version!r}")
            if version > FORMAT:
                return fresh, f"{FILE} was written by a newer Atelier (format {version}). {again}"
            entries = [_entry(fields) for fields in known["verdicts"]]
            if others := [name for name in {**theirs, **machine} if theirs.get(name) != machine.get(name)]:
                what = ", ".join(f"{name} {theirs.get(name)!s}, not {machine.get(name)!s}" for name in others)
                return fresh, f"{FILE} is of another machine or version ({what}). {again}"
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            return fresh, f"{FILE} is damaged ({type(error).__name__}). {again}"
        fresh._entries = {(entry.key, entry.thing): entry for entry in entries}
        return fresh, ""

    def dump(self) -> str:
        """Everything known, as JSON."""
        verdicts = [asdict(entry) for entry in self._entries.values()]
        return json.dumps({"format": FORMAT, "machine": self.machine, "verdicts": verdicts}, indent=1) + "\n"

    def entry(self, subject: Subject, thing: str) -> Entry:
        """What is known of one thing; an empty entry if nothing is."""
        return self._entries.get((subject.key, thing), Entry(subject.model, subject.key, thing))

    def begin(self, subject: Subject, thing: str) -> None:
        """A trial begins. If the process dies, this is what is left of it."""
        entry = self.entry(subject, thing)
        self._put(replace(entry, tries=entry.tries + 1))

    def abandon(self, subject: Subject, thing: str) -> None:
        """A trial ended and showed nothing."""
        entry = self.entry(subject, thing)
        self._put(replace(entry, tries=max(entry.tries - 1, 0)))

    def settle(self, subject: Subject, thing: str, *, is_right: bool, words: str) -> None:
        """A trial ended with a verdict."""
        self._put(Entry(subject.model, subject.key, thing, is_right, words))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def _put(self, entry: Entry) -> None:
        place = (entry.key, entry.thing)
        self._entries.pop(place, None)
        if entry.is_right is not None or entry.tries:
            self._entries[place] = entry
        while len(self._entries) > _MOST:
            del self._entries[next(iter(self._entries))]


def _entry(fields: Any) -> Entry:
    """Read one entry of the file. Raises TypeError if the value is not an entry."""
    entry = Entry(**fields)
    texts = (entry.model, entry.key, entry.thing, entry.words)
    if not all(isinstance(text, str) for text in texts) or type(entry.tries) is not int:
        raise TypeError("a verdict has fields of other types")
    if entry.is_right is not None and type(entry.is_right) is not bool:
        raise TypeError("a verdict is neither yes nor no")
    return entry


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
