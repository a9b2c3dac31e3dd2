"""One part of `benchmarks.gpu` in a process of its own, and the book in which it notes what it finds.

    python -m benchmarks.gpu_child MODULE:FUNCTION BOOK --out FOLDER [--toy]

It says `ready` once everything is imported, and begins when it is told `go SECONDS`. The book is a file of JSON lines,
so that a part that is killed leaves what it had. A part that begins again after the device was lost leaves out the
checks that its book has already.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXIT_DEVICE_LOST, EXIT_STUCK = 70, 71
READY, GO = "ready", "go"


class BrokenError(Exception):
    """A promise does not hold; the words say by how much."""


class SkippedError(Exception):
    """A check cannot be done here; the words say why."""


class Book:
    """Notes of one part, in a file."""

    def __init__(self, path: Path, seconds: float, only: str = "") -> None:
        self._path, self._only = path, only
        self._began: set[str] = {line["name"] for line in read(path) if line["kind"] == "begin"}
        self._ends_at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the part is stopped."""
        return self._ends_at - time.monotonic()

    def check(self, name: str, work: Callable[[], str], *, needs: float = 0.0, limit: float | None = None) -> None:
        """Do a check that returns its result in words, and note how it ended; left out if so little time is left.

        After `limit` seconds the process ends, so that another goes on with the next check. So it does when the device
        is lost: nothing else could run in it.
        """
        if name in self._began or self._only not in name:
            return
        self._write("begin", name=name)
        if self.left < needs:
            self._write("check", name=name, verdict="left out", words=f"{self.left:.0f} s were left")
            return
        watchdog = threading.Timer(limit or 0, _give_up, (name,))
        if limit is not None:
            watchdog.daemon = True
            watchdog.start()
        started = time.monotonic()
        verdict, words, trace, lost = "holds", "", "", False
        try:
            words = work()
        except SkippedError as error:
            verdict, words = "left out", str(error)
        except BrokenError as error:
            verdict, words = "**broken**", str(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next check goes on
            verdict, words = "**failed**", f"{type(error).__name__}: {str(error).strip()[:300]}"
            trace, lost = traceback.format_exc(), "CUDA error" in str(error)
            traceback.clear_frames(error.__traceback__)
        watchdog.cancel()
        seconds = round(time.monotonic() - started, 2)
        self._write("check", name=name, verdict=verdict, words=words, seconds=seconds, trace=trace)
        print(f"  {name}: {verdict}, {seconds} s: {words}", file=sys.stderr, flush=True)
        release()
        if lost:
            os._exit(EXIT_DEVICE_LOST)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], words: str = "") -> None:
        """Note figures; a later table of the same title takes an earlier one's place."""
        cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        self._write("table", title=title, head=list(head), rows=cells, words=words)

    def _write(self, kind: str, **fields: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **fields}) + "\n")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a part runs, how large, and where its pictures go."""

    device: str
    toy: bool
    out: Path


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a book; one that was cut off in the middle is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def release() -> None:
    """Give memory back that nothing uses any more."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(words: Sequence[str] | None = None) -> None:
    """Import everything, say so, wait for the word, and do the part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part")
    parser.add_argument("book", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--toy", action="store_true")
    asked = parser.parse_args(words)
    module, name = asked.part.split(":")
    part = getattr(importlib.import_module(module), name)
    print(READY, flush=True)
    # Nobody reads it any more.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Imported ahead of time; the clock starts when it is this part's turn. A parent that is gone says nothing.
    told = sys.stdin.readline().split()
    if told[:1] != [GO]:
        return
    seconds = float(told[1])
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    faulthandler.dump_traceback_later(max(seconds - 1, 1))

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    book = Book(asked.book, seconds, asked.only)
    try:
        part(book, Scene(device, asked.toy, asked.out))
    except Exception as error:  # noqa: BLE001 - what a part does between its checks
        trace, words_ = traceback.format_exc(), f"{type(error).__name__}: {error}"
        Book(asked.book, seconds).check("the part itself", lambda: _again(words_, trace))
        sys.stderr.flush()
        os._exit(1)
    sys.stderr.flush()
    # Threads of a check that failed may still wait for something.
    os._exit(0)


def _give_up(name: str) -> None:
    print(f"  {name}: takes too long", file=sys.stderr, flush=True)
    faulthandler.dump_traceback()
    os._exit(EXIT_STUCK)


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _again(words: str, trace: str) -> str:
    raise RuntimeError(f"{words}\n{trace}")


if __name__ == "__main__":
    # Not this module's own, whose errors would be others than those that parts raise.
    from benchmarks import gpu_child

    gpu_child.main()
