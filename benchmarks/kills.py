"""What random kills cost: people keep asking while the bot or its engine is killed, again and again.

    python benchmarks/kills.py [--kills 300] [--people 10] [--seed 1]

The real bot process on a Discord of this machine, with an engine that needs no torch. Half of the kills hit the bot,
at any moment from its start on, half the engine. At the end everything may end by itself, and then the invariants of
tests/faults/invariants.py must hold. Prints a row of a table; exits with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.invariants import Remains, violations
from tests.faults.stage import Stage, Stuck, open_stage
from tests.local_discord import Person

BOT_SECONDS = 2.0
"""How long the bot may be online before it is killed, at most."""
ENGINE_SECONDS = 0.5
STARTING = 0.2
"""How many of the kills of the bot hit it before it is online."""
CHANNELS = 8


async def ask_on(stage: Stage, number: int, dice: random.Random, numbers: count[int], over: asyncio.Event) -> None:
    """One person: asks, waits for the end of it, and asks again."""
    person = Person(str(1000 + number), f"Person{number}")
    while not over.is_set():
        prompt = dice.choice(("a red apple", "refuse", "two apples", "many apples"))
        with suppress(Stuck):
            answer = await stage.ask(
                person,
                f"{prompt}, the {next(numbers)}th",
                str(400 + number % CHANNELS),
                images=dice.choice((1, 1, 2, 4)),
            )
            if dice.random() < 0.2:
                await stage.cancel(person, answer)
            # What never ends is found at the end, among the violations.
            await stage.until(lambda message=answer: not message.cancels(), "it did not end")


async def kill_on(stage: Stage, kills: int, dice: random.Random) -> Counter[str]:
    """Kill the bot or the engine, each after a random while."""
    done = Counter[str]()
    while sum(done.values()) < kills:
        victim = dice.choice(("bot", "engine"))
        if victim == "engine" or dice.random() > STARTING:
            await stage.until(lambda: stage.discord.connected, "the bot did not come back")
        await asyncio.sleep(dice.uniform(0, BOT_SECONDS if victim == "bot" else ENGINE_SECONDS))
        bot = stage.process
        with suppress(psutil.Error):
            if bot is None or bot.returncode is not None:
                continue
            for process in [bot] if victim == "bot" else psutil.Process(bot.pid).children():
                process.kill()
                done[victim] += 1
    return done


async def run(kills: int, people: int, seed: int, folder: Path) -> list[str]:
    dice, numbers, over = random.Random(seed), count(1), asyncio.Event()
    broken, killed = [], Counter[str]()
    try:
        async with open_stage(folder) as stage:
            asking = [asyncio.create_task(ask_on(stage, n, dice, numbers, over)) for n in range(people)]
            killed = await kill_on(stage, kills, dice)
            over.set()
            await asyncio.gather(*asking)
            await stage.close()
    except Stuck as stuck:
        broken.append(f"stuck: {stuck}")
    jobs = stage.rows("SELECT * FROM jobs_with_post")
    images = stage.rows("SELECT * FROM images ORDER BY job_id, number")
    broken += violations(Remains(stage.discord, stage.data, jobs, images, stage.deaths))
    accepted = [
        interaction
        for interaction in stage.discord.interactions.values()
        if interaction.type == 2 and interaction.answer is not None and interaction.answer.public
    ]
    ended = Counter(job["status"] for job in jobs)
    kinds = Counter(words.partition(":")[0] for words in broken)
    print("| kills of the bot | of the engine | accepted | delivered | failed | cancelled | lost | doubled | other |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    figures = (killed["bot"], killed["engine"], len(accepted), ended["delivered"], ended["failed"], ended["cancelled"])
    others = sum(kinds.values()) - kinds["I1"] - kinds["I3"]
    print(f"| {' | '.join(map(str, (*figures, kinds['I1'], kinds['I3'], others)))} |")
    return broken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        violated = asyncio.run(run(arguments.kills, arguments.people, arguments.seed, Path(home)))
    print("\n".join(violated[:50]))
    sys.exit(bool(violated))
