"""How quickly the try page answers, with few and with many pictures in its channel, seen from the browser.

    python -m benchmarks.try_page [--pictures 4 100] [--rounds 10] [--out benchmarks/results]

A reaction is pressed, and `/quota` is asked for: the time goes from the press until the page shows what came of it. The
engine is one without weights, so that nothing paints meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from playwright.async_api import Page

from benchmarks.report import table
from bot.config import Config
from bot.engine.fake import FakeEngine
from tests.bot.try_page.browser import CHROMIUM, browser
from tests.bot.try_page.conftest import opened

PER_MESSAGE = 4
PATIENCE_MS = 60_000

Action = Callable[[Page, int], Awaitable[None]]


async def react(tab: Page, round_: int) -> None:
    """Press 👍 under the sample, or take it back, until its number has changed."""
    sample = tab.locator(".message").first
    before, after = ("no reactions", "1 reaction")[:: -1 if round_ % 2 else 1]
    await sample.get_by_role("button", name=f"👍, {before}").click()
    await sample.get_by_role("button", name=f"👍, {after}").wait_for()


async def ask(tab: Page, round_: int) -> None:
    """Ask for one's quota, until the answer is there."""
    answers = tab.locator(".message.hidden-message")
    before = await answers.count()
    await tab.locator("#say").fill("/quota")
    await tab.keyboard.press("Enter")
    await answers.nth(before).wait_for()


ACTIONS: dict[str, Action] = {"a reaction": react, "/quota": ask}


async def measure(pictures: int, rounds: int) -> dict[str, list[float]]:
    """The seconds of each action in each round, with so many pictures in the channel."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Config(data=Path(folder) / "data"), FakeEngine()) as atelier, browser() as chromium:
            tab = await chromium.new_page(viewport={"width": 1280, "height": 800})
            tab.set_default_timeout(PATIENCE_MS)
            await tab.goto(atelier.address)
            await tab.locator(".reaction").first.wait_for()
            atelier.fill(pictures // PER_MESSAGE, PER_MESSAGE)
            await tab.locator(".message").nth(pictures // PER_MESSAGE).wait_for()
            await tab.wait_for_timeout(500)
            found: dict[str, list[float]] = {}
            for name, action in ACTIONS.items():
                for round_ in range(rounds):
                    begun = time.perf_counter()
                    await action(tab, round_)
                    found.setdefault(name, []).append(time.perf_counter() - begun)
            return found


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs=2, default=[4, 100], help="in the channel, few and many")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="the folder for the table")
    return parser.parse_args(given)


def run(settings: argparse.Namespace) -> str:
    """Measure, and return the table."""
    few, many = (asyncio.run(measure(pictures, settings.rounds)) for pictures in settings.pictures)
    rows = [
        [
            name,
            *(f"{1000 * statistics.median(times[name]):.0f}" for times in (few, many)),
            f"{1000 * max(many[name]):.0f}",
            f"{statistics.median(many[name]) / statistics.median(few[name]):.2f}",
        ]
        for name in ACTIONS
    ]
    counts = [f"{pictures} pictures, median ms" for pictures in settings.pictures]
    head = ["action", *counts, f"{settings.pictures[1]} pictures, longest ms", "ratio of the medians"]
    load = f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end, {settings.rounds} rounds"
    return f"    python -m benchmarks.try_page\n\n{load}\n\n{table(head, rows)}\n"


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("Chromium is not installed; on Debian: apt-get install chromium")
    settings = arguments()
    text = run(settings)
    print(text)
    if settings.out is not None:
        (settings.out / "try-page.md").write_text(text)


if __name__ == "__main__":
    main()
