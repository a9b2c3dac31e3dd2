"""Charts as pictures, drawn by `draw.py` in another process, because the bot process does not load matplotlib."""

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
"""How long a chart may take on a small machine that also paints; half a second is usual."""

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each step of the chart; None if there is nothing to show."""

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
    """Panels below each other, with the same steps."""

    title: str
    steps: Sequence[str]
    """The label of each step; as many are shown as fit."""
    panels: Sequence[Panel]


async def draw(chart: Chart) -> bytes:
    """Draw a chart as PNG. Raises PlotError when that fails."""
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.charts.draw",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Otherwise numpy would start a thread for every core.
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
