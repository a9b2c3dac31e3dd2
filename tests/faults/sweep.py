"""The crash-point sweep: plays one afternoon of two people once for every side effect of the bot, and kills it there.

    python -m tests.faults.sweep [--lost before|after] [--every 1] [--only 17] [--jobs 2]

It numbers the side effects of an undisturbed run, then plays the same again for each number: the bot is killed at this
side effect, is started again, and runs until it is idle. Then the invariants must hold. It prints what was broken, and
exits with 1 if anything was.

With `--lost` no bot is killed. Instead, the reply to each request to Discord is lost in turn, before or after the
request takes effect.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.storage.backups import back_up
from bot.storage.database import open_database
from tests.faults.invariants import GALLERY, LOG, Remains, violations
from tests.faults.light_engine import picture
from tests.faults.stage import TOKEN, Stage, Stuck, open_stage
from tests.local_discord import ADA, BOB, CLEO, DIRECT, GUILD, MODERATOR

WORDS = ("anemone", "buttercup", "crocus", "dahlia", "edelweiss", "foxglove", "gentian")
"""The words of the prompts; none of them may be in the log."""

_GONE_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """The result of one run."""

    number: int
    points: list[str]
    """The names of the crash points that were passed, over all lives of the bot."""
    deaths: int
    broken: list[str]
    requests: int = 0
    """How many requests to Discord there were."""
    lost: str = ""
    """The request whose reply was lost."""

    @property
    def name(self) -> str:
        """The point where the bot was killed, or the request whose reply was lost."""
        if self.lost:
            return self.lost
        return self.points[self.number - 1] if self.deaths else "was not reached"


async def afternoon(stage: Stage) -> None:
    """Two people ask, wait, cancel, delete and react, and one deletes everything; they repeat what got no answer.

    The server has a gallery for what one person favourites. Cleo's favourite and Ada's letter to herself stay. Cleo
    reports two results: a moderator dismisses one report, and the other result is deleted by the person who asked.
    """
    fox = await stage.ask(ADA, "foxglove, kill once", "401")
    await stage.ended("foxglove")
    anemone = await stage.ask(ADA, "anemone @everyone <@201>", images=2)
    assert fox.interaction is not None
    assert anemone.interaction is not None
    await stage.discord.repeat(anemone.interaction)
    await stage.ask(BOB, "buttercup, refuse")
    crocus = await stage.ask(ADA, "crocus held by never", "401")
    dahlia = await stage.ask(BOB, "dahlia held by gate", "402")
    (result,) = await stage.ended("anemone")
    await stage.ended("buttercup")
    await stage.react(ADA, result, "👍")
    await stage.react(BOB, result, "❤️")
    await stage.react(ADA, result, "✉️")
    await stage.cancel(BOB, crocus)
    await stage.cancel(ADA, crocus)
    await stage.until(lambda: "Painting" in dahlia.content, "dahlia was not begun")
    dahlia.deleted = True
    await stage.until(lambda: stage.aside(GALLERY), "a favourite was not copied")
    await stage.react(BOB, result, "❤️", stands=False)
    (stage.folder / "gate").touch()
    (painted,) = await stage.ended("dahlia")
    await stage.react(CLEO, painted, "⭐")
    await stage.report(CLEO, painted, "dahlia is nasty")
    await stage.dismiss(MODERATOR)
    await stage.ask(ADA, "edelweiss", "401", image=picture("edelweiss", 1), strength=0.5)
    (unwanted,) = await stage.ended("edelweiss")
    await stage.report(CLEO, unwanted, "not nice")
    await stage.react(ADA, unwanted, "❌")
    await stage.ended("crocus")
    await stage.until(lambda: not stage.about("edelweiss"), "a result was not deleted")
    await stage.until(lambda: stage.aside(GALLERY) == ["dahlia"], "the gallery does not show what people like")
    await stage.react(CLEO, result, "⭐")
    await stage.until(lambda: stage.aside(DIRECT + ADA.id) == ["anemone"], "a copy was not sent to the person")
    gentian = await stage.ask(BOB, "gentian held by never", "402", image=picture("gentian", 1))
    await stage.until(lambda: "Painting" in gentian.content, "gentian was not begun")
    back_up(stage.data / "atelier.db", None)
    await stage.forget(BOB, "buttercup", "dahlia", "gentian", hashlib.sha256(picture("gentian", 1)).hexdigest())
    await stage.until(lambda: stage.aside(GALLERY) == ["anemone"], "a copy of what was deleted stays")


async def play(
    scenario: Callable[[Stage], Awaitable[None]], folder: Path, number: int = 0, lost: str | None = None
) -> Outcome:
    """Play a scenario in a fresh folder and kill the bot at crash point `number`; 0 means never.

    With `lost`, which is before or after, the reply to the request `number` is lost instead.
    """
    (folder / "data").mkdir(parents=True)
    broken = []
    async with open_database(folder / "data" / "atelier.db") as database:
        await database.execute(f"INSERT INTO rules VALUES ({GUILD}, 'server', 0, 'gallery', '[{GALLERY}, 1]')")
        await database.execute(f"INSERT INTO rules VALUES ({GUILD}, 'server', 0, 'log', '{LOG}')")
    try:
        async with open_stage(folder, 0 if lost else number) as stage:
            stage.discord.lose = (number, lost == "after") if lost else None
            await scenario(stage)
            await stage.idle()
            broken += _ratings(stage)
            await stage.close()
    except Stuck as stuck:
        broken.append(f"stuck: {stuck}")
    broken += violations(
        Remains(
            stage.discord,
            stage.data,
            stage.rows("SELECT * FROM jobs_with_post"),
            stage.rows("SELECT * FROM images ORDER BY job_id, number"),
            stage.deaths,
            stage.forgotten,
            stage.log,
            stage.rows("SELECT * FROM side_messages"),
            [row["job_id"] for row in stage.rows("SELECT job_id FROM removals")],
            stage.rows("SELECT * FROM member_reports JOIN reporters ON report_id = id"),
            stage.rows("SELECT * FROM cases"),
        )
    )
    broken += [f"log: {words!r} is in it" for words in (*WORDS, TOKEN, "AUDIT") if words in stage.log]
    broken += [f"log: {trace}" for trace in re.findall(r"Traceback.*?\n(?=\d|\Z)", stage.log, re.DOTALL)]
    broken += await _engines(stage)
    points = (folder / "points").read_text(encoding="utf-8").splitlines()
    return Outcome(number, points, stage.deaths, broken, stage.discord.asked, stage.discord.lost)


def _ratings(stage: Stage) -> list[str]:
    """The ratings are the reactions that are still there: all that the bot was told of in this life, and none twice."""
    rated = {(str(row["message_id"]), str(row["user_id"]), row["emoji"]) for row in stage.rows("SELECT * FROM ratings")}
    found = []
    # The person who had everything deleted has no ratings left.
    last = {
        reaction[:3]: reaction for reaction in stage.reactions if not (stage.forgotten and reaction.person == BOB.id)
    }
    for key, reaction in last.items():
        plain = (*key[:2], key[2].removesuffix("\ufe0f"))
        if reaction.life == stage.discord.identified and (plain in rated) != reaction.stands:
            found.append(f"ratings: {reaction} and {rated}")
        rated.discard(plain)
    return found + [f"ratings: {rating} was never given" for rating in rated]


async def _engines(stage: Stage) -> list[str]:
    """No engine process outlives the bot."""
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            while stage.engines():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        return [f"engines: {len(stage.engines())} are left"]
    return []


async def sweep(
    home: Path,
    chosen: Callable[[int], Iterable[int]],
    jobs: int = 2,
    lost: str | None = None,
    undisturbed: Outcome | None = None,
) -> tuple[int, Sequence[Outcome]]:
    """Count the points, then play those that `chosen` picks; returns the number of points and the outcomes.

    With `lost`, the points are the requests to Discord. They are counted in an undisturbed run, or in the one given.

    Raises AssertionError when the undisturbed run breaks a promise.
    """
    undisturbed = undisturbed or await play(afternoon, home / "0")
    assert not undisturbed.broken, undisturbed.broken
    turns = asyncio.Semaphore(jobs)

    async def one(number: int) -> Outcome:
        async with turns:
            outcome = await play(afternoon, home / str(number), number, lost)
            if outcome.broken:
                print("\n      ".join((f"{number:4d}  {outcome.name}", *outcome.broken)), flush=True)
            return outcome

    count = undisturbed.requests if lost else len(undisturbed.points)
    return count, await asyncio.gather(*(one(number) for number in chosen(count)))


def main() -> None:
    """Run the sweep and print its result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="play only every Nth point")
    parser.add_argument("--first", type=int, default=1, help="begin at this point")
    parser.add_argument("--last", type=int, default=100_000, help="end at this point")
    parser.add_argument("--only", type=int, help="play only this point")
    parser.add_argument("--lost", choices=("before", "after"), help="lose replies of Discord, instead of kills")
    parser.add_argument("--jobs", type=int, default=2, help="how many runs at the same time")
    arguments = parser.parse_args()

    def chosen(count: int) -> Iterable[int]:
        return (
            [arguments.only]
            if arguments.only
            else range(arguments.first, min(count, arguments.last) + 1, arguments.every)
        )

    with tempfile.TemporaryDirectory() as home:
        count, outcomes = asyncio.run(sweep(Path(home), chosen, arguments.jobs, arguments.lost))
    killed = [outcome for outcome in outcomes if outcome.deaths or outcome.lost]
    broken = [outcome for outcome in outcomes if outcome.broken]
    kinds = {re.sub(r"\d+", "n", outcome.name) for outcome in killed}
    points, what = ("requests", "reply lost") if arguments.lost else ("crash points", "killed")
    print(f"{count} {points}; {what} at {len(killed)}, of {len(kinds)} kinds; {len(broken)} broke a promise")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
