"""Pictures per second of plain diffusers, one request after the other, beside the engine's shared batches.

    python benchmarks/engine.py [--requests 48] [--rounds 3] [--threads 1]

The model in the box, the same mixed requests (10 to 30 steps, with and without guidance and negative prompts, five
people) in one process, in turn: `pipe()` per request first come first served, then the same orders through the easel,
PNG encoding included in both. Each arm runs once to warm up; the best of the rounds counts, and the ratio is that of
the two bests.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.easel import Easel
from bot.engine.pipelines import Studio
from bot.engine.wire import Frame
from bot.jobs import GenerationRequest

PROMPTS = ("a red apple on a blue background", "a fox", "a rocket", "a house and a tree", "a cat at night")


def mixed(count: int) -> list[GenerationRequest]:
    """The same requests every time."""
    choose = random.Random(7)
    return [
        GenerationRequest(
            prompt=choose.choice(PROMPTS),
            negative_prompt=choose.choice(("", "", "blurry")),
            model=EMBEDDED_MODEL.name,
            width=64,
            height=64,
            num_inference_steps=choose.randint(10, 30),
            guidance_scale=choose.choice((1.0, 3.0, 3.0, 5.0)),
            seed=number,
            sampler=choose.choice(("default", "euler", "dpm++ 2m")),
        )
        for number in range(count)
    ]


def one_by_one(studio: Studio, requests: list[GenerationRequest]) -> int:
    """Plain diffusers: the pipeline's own call per request."""
    pictures = 0
    pipeline = studio.load(EMBEDDED_MODEL.name).pipeline
    pipeline.set_progress_bar_config(disable=True)
    for request in requests:
        pipeline.scheduler = studio.scheduler(request)
        with torch.inference_mode():
            output = pipeline(**studio.arguments(request))
        pictures += len(studio.images(request, output))
    return pictures


def shared(studio: Studio, requests: list[GenerationRequest], rows: int, *, alone: bool = False) -> int:
    """The easel, given all orders at once."""
    frames = [
        Frame("submit", {"job_id": n, "attempt": 1, "owner": n % 5, "request": asdict(r)})
        for n, r in enumerate(requests)
    ]
    finished = []

    def take(*, wait: bool) -> list[Frame]:
        taken, frames[:] = frames[:], []
        return taken or ([Frame("stop", {})] if wait else [])

    def send(frame: Frame) -> None:
        if frame.kind == "failed":
            raise RuntimeError(frame.fields["reason"])
        if frame.kind == "finished":
            finished.append(frame)

    Easel(studio, take, send, rows, alone=alone).run()
    return len(finished)


def seconds(arm: Callable[[], int], count: int) -> float:
    """How long an arm takes for all requests."""
    start = time.perf_counter()
    done = arm()
    assert done == count, (done, count)
    return time.perf_counter() - start


def run(count: int, rounds: int, threads: int) -> None:
    studio = Studio([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=threads))
    requests = mixed(count)
    arms: dict[str, Callable[[], int]] = {
        "plain diffusers, first come first served": lambda: one_by_one(studio, requests)
    }
    for rows in (2, 4, 8, 16, 32):
        arms[f"shared batches, up to {rows} rows"] = lambda rows=rows: shared(studio, requests, rows)
    arms["the easel, nobody sharing (as `reproducible` does)"] = lambda: shared(studio, requests, 16, alone=True)
    times = {name: [seconds(arm, count) for _ in range(rounds + 1)][1:] for name, arm in arms.items()}
    base = min(next(iter(times.values())))
    print(f"{count} requests, {studio.machine.device}, {threads} thread(s), best of {rounds}\n")
    print("| | seconds | pictures/s | ratio |\n| --- | --- | --- | --- |")
    for name, taken in times.items():
        print(f"| {name} | {min(taken):.2f} | {count / min(taken):.2f} | {base / min(taken):.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    run(**{"count" if name == "requests" else name: value for name, value in vars(parser.parse_args()).items()})
