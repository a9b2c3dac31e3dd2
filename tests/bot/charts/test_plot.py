"""Charts, drawn by the real child process."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import asdict

import PIL.Image
import pytest

from bot.charts import plot
from bot.charts.draw import figure
from bot.charts.plot import Chart, Panel, Series, draw
from bot.errors import PlotError


def chart(*values: float | None, lines: bool = False) -> Chart:
    names = [f"step {number}" for number, _ in enumerate(values)]
    series = Series("one", values), Series("two", [None if value is None else value / 2 for value in values])
    return Chart("A chart", names, (Panel("A panel", series, lines),))


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("values", [(None,), (0,), (3,), (None, 3.5, None), (1e9, 0.001), tuple(range(52))])
def test_whatever_there_is_can_be_drawn(values: tuple[float | None, ...], lines: bool) -> None:
    file = io.BytesIO()
    figure(asdict(chart(*values, lines=lines))).savefig(file)
    with PIL.Image.open(file) as picture:
        assert picture.width == 960
        ground = picture.convert("RGB").getpixel((2, 2))
        assert ground == (0x1E, 0x1F, 0x22)


async def test_a_chart_is_a_picture_of_its_values() -> None:
    one, two = await draw(chart(1, 2, 3)), await draw(chart(1, 2, 30))
    assert one != two
    with PIL.Image.open(io.BytesIO(one)) as picture:
        assert picture.format == "PNG"


async def test_a_process_that_fails_or_hangs_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlotError, match="find the reason in the log"):
        await draw(Chart("A chart", (), ()))
    monkeypatch.setattr(plot, "SECONDS", 0.01)
    with pytest.raises(PlotError, match="longer than 0 s"):
        await draw(chart(1))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(PlotError, match="No such file"):
        await draw(chart(1))
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
