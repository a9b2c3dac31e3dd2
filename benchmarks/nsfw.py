"""Whether the safety check delays another person's step, and what it adds to a result.

    python -m benchmarks.nsfw [--rounds 7] [--steps 40]

The real loop paints one picture of a person while pictures of another person are checked all the time, each in its own
round: nothing beside it, pictures that are only encoded, and pictures that are checked and encoded. The time between
two steps of the first person is what counts; of each round the median, and of all rounds the best.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import PIL.Image

from benchmarks.report import table
from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.wire import Frame, Inbox, ProgressFrame, StopFrame, SubmitFrame
from bot.jobs import GenerationRequest, JobId, UserId
from bot.worker import nsfw
from bot.worker.loop import WorkerLoop
from bot.worker.pictures import encoded
from bot.worker.pipelines import ModelStore


def step_seconds(store: ModelStore, steps: int, beside: Callable[[], object] | None) -> tuple[float, int]:
    """The median time between two steps of a picture, and how often `beside` was done meanwhile."""
    at: list[float] = []
    over, done = threading.Event(), [0]

    def work() -> None:
        while not over.is_set() and beside is not None:
            beside()
            done[0] += 1

    def hear(frame: Frame) -> None:
        if isinstance(frame, ProgressFrame):
            at.append(time.perf_counter())

    inbox = Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), GenerationRequest("a fox", "emoji", 128, 128, steps, 4.0, 1), {}))
    inbox.put(StopFrame())
    thread = threading.Thread(target=work)
    thread.start()
    try:
        WorkerLoop(store, inbox, hear, rows=16).run()
    finally:
        over.set()
        thread.join()
    return statistics.median(after - before for before, after in itertools.pairwise(at)), done[0]


def run(options: argparse.Namespace) -> str:
    """Measure, and return the table."""
    store = ModelStore([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=1))
    store.load("emoji")
    check, picture = nsfw.load(), PIL.Image.effect_noise((512, 512), 60).convert("RGB")

    def checked() -> None:
        check.score(picture)
        encoded(picture, "")

    arms: dict[str, Callable[[], object] | None] = {
        "nothing": None,
        "pictures are encoded": lambda: encoded(picture, ""),
        "pictures are checked and encoded": checked,
    }
    best: dict[str, float] = {}
    counts: dict[str, int] = {}
    for _ in range(options.rounds):
        for name, beside in arms.items():
            seconds, count = step_seconds(store, options.steps, beside)
            if seconds < best.get(name, float("inf")):
                best[name], counts[name] = seconds, count
    rows = [[name, f"{1000 * best[name]:.1f}", str(counts[name])] for name in arms]
    return table(["beside the step", "ms between two steps", "pictures meanwhile"], rows)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    return parser.parse_args(words)


if __name__ == "__main__":
    print(run(arguments()))
