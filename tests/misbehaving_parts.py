"""Parts of `benchmarks.gpu` that go wrong, each in its own way."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.gpu_child import Book, BrokenError, Scene


def hangs(book: Book, scene: Scene) -> None:
    book.check("before", lambda: "was fine")
    book.check("is stuck", lambda: str(time.sleep(600)), limit=1)
    book.check("hangs", lambda: str(time.sleep(600)))


def loses_the_device(book: Book, scene: Scene) -> None:
    def lose() -> str:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    book.check("loses it", lose)
    book.check("crashes", lambda: str(os.kill(os.getpid(), signal.SIGSEGV)))
    book.check("afterwards", lambda: "goes on")


def falls(book: Book, scene: Scene) -> None:
    def broken() -> str:
        raise BrokenError("by far")

    book.table("Figures", ["a", "b"], [[1, 2.34567]])
    book.check("broken", broken)
    raise ValueError("between two checks")
