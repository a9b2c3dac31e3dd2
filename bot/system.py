"""What differs between Linux, macOS and Windows. Atelier is tested on Linux only."""

from __future__ import annotations

import os
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]

_OTHERS = 0o077
"""The rights of everyone but the owner."""


def give_way(niceness: int) -> None:
    """Lower the priority of this process, where the system has a niceness."""
    if hasattr(os, "nice"):
        os.nice(niceness)


def is_open_to_others(path: Path) -> bool:
    """Whether others may read or write a file. Windows has other rights, so there this is not known, and False."""
    return os.name == "posix" and path.stat().st_mode & _OTHERS != 0


def peak_bytes() -> int:
    """The most memory that this process has used since it began."""
    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().peak_wset)
    # Kilobytes on Linux, bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if psutil.MACOS else 1024)
