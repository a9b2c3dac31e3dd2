"""Charts as pictures, drawn by `draw.py` in a process of its own: matplotlib is not the bot's to load."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bot.config import SECRETS
from bot.errors import PlotError

SECONDS = 30.0
"""How long a chart may take on a small machine that paints; half a second is usual."""

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Series:
    """Values along the chart's steps; None where there is nothing to show."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of a chart: stacked bars, or lines with dots."""

    title: str
    series: Sequence[Series]
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels below each other, over the same steps."""

    title: str
    steps: Sequence[str]
    """What each step is called; as many are shown as there is room for."""
    panels: Sequence[Panel]


async def draw(chart: Chart) -> bytes:
    """A chart as PNG. Raises PlotError when that cannot be done."""
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.charts.draw",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Else numpy would start a thread for every core.
            env={"OPENBLAS_NUM_THREADS": "1", **environ},
        )
    except OSError as error:
        raise PlotError(f"The chart could not be drawn: {error.strerror}.") from error
    try:
        async with asyncio.timeout(SECONDS):
            png, _ = await process.communicate(json.dumps(asdict(chart)).encode())
    except TimeoutError as error:
        raise PlotError(f"The chart could not be drawn within {SECONDS:.0f} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if process.returncode or not png.startswith(_PNG):
        raise PlotError("The chart could not be drawn; the log says why.")
    return png
