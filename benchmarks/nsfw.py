"""Whether the safety check delays another person's step, and what it adds to a result.

    python -m benchmarks.nsfw [--rounds 7] [--steps 40]

The real loop paints one picture of a person while pictures of another person are checked all the time, each in its own
round: nothing beside it, pictures that are only encoded, and pictures that are checked and encoded. The time between
two steps of the first person is what counts, on the clock and as CPU time of the thread that paints; of each round the
median, and of all rounds the best. Where other programs keep the cores busy, only the CPU time says something.
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
from bot.worker.pipelines import ModelStore
from bot.worker.printing import encoded


def step_seconds(store: ModelStore, steps: int, beside: Callable[[], object] | None) -> tuple[float, float, int]:
    """The median time between two steps of a picture, its CPU time, and how often `beside` was done meanwhile."""
    at: list[tuple[float, float]] = []
    over, done = threading.Event(), [0]

    def work() -> None:
        while not over.is_set() and beside is not None:
            beside()
            done[0] += 1

    def hear(frame: Frame) -> None:
        if isinstance(frame, ProgressFrame):
            at.append((time.perf_counter(), time.thread_time()))

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
    gaps = [[now - before for now, before in zip(*pair, strict=True)] for pair in itertools.pairwise(at)]
    clock, cpu = (statistics.median(-gap[which] for gap in gaps) for which in (0, 1))
    return clock, cpu, done[0]


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
    measured: dict[str, list[tuple[float, float, int]]] = {name: [] for name in arms}
    for _ in range(options.rounds):
        for name, beside in arms.items():
            measured[name].append(step_seconds(store, options.steps, beside))
    rows = []
    for name, rounds in measured.items():
        clock, cpu = (1000 * min(values[which] for values in rounds) for which in (0, 1))
        rows.append([name, f"{clock:.1f}", f"{cpu:.1f}", str(max(values[2] for values in rounds))])
    return table(["beside the step", "ms between two steps", "ms of CPU time", "pictures meanwhile"], rows)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    return parser.parse_args(words)


if __name__ == "__main__":
    print(run(arguments()))
