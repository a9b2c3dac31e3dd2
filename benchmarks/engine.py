"""The engine beside what else one would do with the same weights: one command, one run, the same mixed requests.

    python -m benchmarks.engine [--random sd15|sdxl [--toy]] [--device cuda] [--budget 540] [--comfyui FOLDER]

Without `--random` it measures the model in the box. Every figure is of this run and means something beside the others
of this run only. Where other programs work on the machine, ratios in CPU time are the ones to believe; the share of the
peak and the parts curve and overhead count it, too, as long as one thread of the CPU does all the work. Written are
`engine-DEVICE.md` and `.svg`, with the model's name in theirs where it is not the one in the box.

The parts, most wanted first; whatever does not fit into the budget is left out and the table says so:

- closed: all requests wait at the start. The arms take turns, once to warm up; the best of the rounds counts.
- curve: seconds of a forward by its rows, beside the line that the engine's knee comes from.
- overhead: the same guided requests by `pipe()`, by the engine's coroutines and by a hand-written loop.
- poisson: requests come at 0.8, 1.5 and 3 times what naive diffusers serves, for every arm at the same moments.
- flood: the real app, five people with a request now and then behind one with forty waiting.
- cancel: from a cancellation at any moment to the row being free.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks import flood, models, probes
from benchmarks.arms import Arms, UnavailableError
from benchmarks.comfyui import ComfyUI
from benchmarks.loads import Arrival, Outcome, closed, mixed, poisson, quantile
from benchmarks.report import Chart, svg, table
from bot.config import EMBEDDED_MODEL, EngineConfig, ModelConfig
from bot.engine.timing import fit
from bot.worker.pipelines import Machine

NAMES = {
    "naive": "diffusers, `pipe()` per request",
    "compiled": "the same, denoiser compiled",
    "static": "static batches, `pipe(prompt=[…])`",
    "ours": "Atelier",
    "alone": "Atelier, no forward shared",
    "no-knee": "Atelier, batches beyond the knee",
    "direct": "a hand-written loop",
    "comfyui": "ComfyUI's sampler",
}
LOADS = (0.8, 1.5, 3.0)
UNDER_LOAD = ("naive", "compiled", "static", "ours", "comfyui")
"""The arms that are compared with requests coming over time."""


@dataclass
class Budget:
    """How long the whole may take."""

    ends_at: float

    def allows(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self.ends_at


class Bench:
    """One run: measures part by part and gathers what to write."""

    def __init__(self, asked: argparse.Namespace, model: ModelConfig, settings: EngineConfig, budget: Budget) -> None:
        self.asked, self.model, self.settings, self.budget = asked, model, settings, budget
        self.arms = Arms(model, settings)
        self.requests = mixed(model, asked.requests, asked.steps)
        # Requests of the same number of steps, for what is not about the mix.
        self.usual = replace(self.requests[0], num_inference_steps=sum(asked.steps) // 2)
        self.measured = probes.Model(self.arms.store, self.requests[0])
        self.step_seconds = 0.0
        self.naive: Outcome | None = None
        self.charts: list[Chart] = []

    def chosen(self, among: Sequence[str]) -> list[str]:
        return [name for name in among if name in self.asked.arms and name in self.arms.all]

    def closed(self) -> str:
        """Everything waits at the start."""
        load = closed(self.requests)
        best: dict[str, Outcome] = {}
        notes: dict[str, str] = {}
        for turn in range(self.asked.rounds + 1):
            for name in self.chosen(tuple(self.arms.all)):
                # The first requests of the mix are enough to warm up, and to learn how long a forward takes.
                outcome = self.serve(name, load[: max(8, self.settings.slots)] if turn == 0 else load, notes)
                if turn and outcome and (name not in best or outcome.seconds < best[name].seconds):
                    best[name] = outcome
                    self.naive = best["naive"]
        assert self.naive is not None
        work = self.useful_flops()
        peak = probes.peak_flops(self.arms.store.machine.device, self.arms.store.machine.dtype)
        rows = []
        for name in self.chosen(tuple(self.arms.all)):
            if (outcome := best.get(name)) is None:
                rows.append([NAMES[name], notes[name], *[""] * 6])
                continue
            spent = outcome.cpu_seconds if probes.works_alone() else outcome.seconds
            rows.append(
                [
                    NAMES[name],
                    f"{outcome.seconds:.2f}",
                    f"{outcome.per_second:.2f}",
                    f"{outcome.per_second / self.naive.per_second:.2f}",
                    f"{self.naive.cpu_seconds / outcome.cpu_seconds:.2f}",
                    f"{work / spent / peak:.0%}",
                    f"{outcome.latency(0.5):.2f}",
                    f"{outcome.latency(0.95):.2f}",
                ]
            )
        head = ["", "seconds", "pictures/s", "ratio", "ratio in CPU time", "of peak FLOP/s", "p50 s", "p95 s"]
        return (
            f"{len(load)} requests; {work / 1e12:.2f} TFLOP; peak {peak / 1e12:.3g} TFLOP/s, a product of matrices.\n\n"
            + table(head, rows)
        )

    def serve(self, name: str, load: Sequence[Arrival], notes: dict[str, str]) -> Outcome | None:
        """One arm's outcome; None with a note where it cannot run or would not fit into the budget."""
        if name in notes:
            return None
        if self.naive is not None and not self.budget.allows(load[-1].at + self.naive.seconds):
            notes[name] = "left out: the budget was spent"
            return None
        try:
            return self.arms.all[name](load)
        except UnavailableError as error:
            notes[name] = str(error)
            return None

    def useful_flops(self) -> float:
        """What the load asks of the denoiser and the decoder, in every arm."""
        row, decode = self.measured.flops()
        works = [request.work for request in self.requests]
        return sum(row * work.rows * work.forwards + decode * work.images for work in works)

    def curve(self) -> str:
        """t(B)."""
        seconds = self.measured.curve(2 * self.settings.rows, self.asked.rounds + 2)
        line = fit({rows: taken for rows, taken in seconds.items() if rows <= self.settings.rows})
        self.step_seconds = line.seconds(min(8, self.settings.rows))
        self.charts.append(
            Chart(
                "a forward of B rows",
                "rows B",
                "ms per row, t(B) / B",
                {f"{line.base * 1e3:.3g} ms + {line.per_row * 1e3:.3g} ms·B": [
                    (rows, line.seconds(rows) / rows * 1e3) for rows in range(1, max(seconds) + 1)
                ]},
                {"measured": [(rows, taken / rows * 1e3) for rows, taken in seconds.items()]},
            )
        )  # fmt: skip
        rows = [
            [str(b), f"{taken * 1e3:.1f}", f"{line.seconds(b) * 1e3:.1f}", f"{taken / b * 1e3:.2f}"]
            for b, taken in seconds.items()
        ]
        knee = line.knee()
        return (
            f"Fitted: {line.base * 1e3:.2f} ms + {line.per_row * 1e3:.2f} ms for each row; "
            + (f"the knee lies at {knee} rows.\n\n" if knee else "no knee: more rows are always worth it.\n\n")
            + table(["rows", "measured ms", "fitted ms", "measured ms per row"], rows)
        )

    def overhead(self) -> str:
        """What the coroutines cost beside a loop of one's own."""
        rows = []
        for count in (rows for rows in (2, 8, 16) if rows <= self.settings.rows):
            costs = probes.costs(self.arms.store, self.usual, count, self.asked.rounds)
            ours, naive, by_hand = costs["coroutines"], costs["naive"], costs.get("direct")
            cells = [str(count), f"{naive.seconds / ours.seconds:.2f}", f"{ours.outside / ours.seconds:.1%}"]
            if by_hand is None:
                rows.append([*cells, "", "", "", ""])
                continue
            rows.append(
                [
                    *cells,
                    f"{naive.seconds / by_hand.seconds:.2f}",
                    f"{by_hand.outside / by_hand.seconds:.1%}",
                    f"{ours.seconds / by_hand.seconds:.3f}",
                    f"{(ours.outside - by_hand.outside) / ours.seconds:.1%}",
                ]
            )
        return "Outside is the time that passes neither in the denoiser nor in the decoder.\n\n" + table(
            [
                "rows",
                "coroutines: ratio to naive",
                "coroutines: outside",
                "by hand: ratio to naive",
                "by hand: outside",
                "by hand over coroutines",
                "the coroutines' own share",
            ],
            rows,
        )

    def poisson(self) -> str:
        """Requests come over time."""
        assert self.naive is not None
        lines: dict[str, list[tuple[float, float]]] = {}
        rows = []
        for times in LOADS:
            load = poisson(self.requests, times * self.naive.per_second)
            for name in self.chosen(UNDER_LOAD):
                notes: dict[str, str] = {}
                outcome = self.serve(name, load, notes)
                if outcome is None:
                    rows.append([f"{times:g}", NAMES[name], notes[name], "", ""])
                    continue
                p50, p95 = outcome.latency(0.5), outcome.latency(0.95)
                rows.append([f"{times:g}", NAMES[name], f"{p50:.2f}", f"{p95:.2f}", outcome.trend])
                lines.setdefault(NAMES[name].replace("`", ""), []).append((times, p95))
        self.charts.append(Chart("requests coming over time", "load over naive capacity", "p95 of latency, s", lines))
        return (
            f"Load 1 is what naive diffusers served at once, {self.naive.per_second:.2f} requests a second.\n\n"
            + table(["load", "", "p50 s", "p95 s", "the line is"], rows)
        )

    def flood(self) -> str:
        """One person floods."""
        count, rounds = self.asked.flood, self.asked.visits
        taken = asyncio.run(
            flood.measure(self.model, self.settings, flood=count, rounds=rounds, steps=self.asked.steps)
        )
        rows = [
            [name, str(len(some)), *(f"{quantile(some, share):.2f}" for share in (0.5, 0.95))]
            if some
            else [name, "0", "", ""]
            for name, some in (("alone", taken.unloaded), ("behind the flood", taken.loaded))
        ]
        ratio = quantile(taken.loaded, 0.95) / quantile(taken.unloaded, 0.5) if taken.loaded else 0.0
        return (
            f"{count} requests of one person take {taken.seconds:.1f} s with five others among them. Their p95 is "
            f"{ratio:.2f} times their median alone; goal 3 or less: {'pass' if 0 < ratio <= 3 else 'miss'}.\n\n"
            + table(["the five others", "requests", "p50 s", "p95 s"], rows)
        )

    def cancel(self) -> str:
        """From a cancellation to the free row."""
        rows = min(8, self.settings.rows)
        taken = probes.cancellations(self.arms.store, self.usual, rows, self.asked.cancels)
        seconds = [one.seconds for one in taken]
        step = f", where such a step takes {self.step_seconds * 1e3:.1f} ms" if self.step_seconds else ""
        return (
            f"{len(taken)} requests cancelled at any moment out of forwards of {rows} rows. Forwards that still began "
            f"before the row was free: {max(one.steps for one in taken)} at most. Time until then: median "
            f"{statistics.median(seconds) * 1e3:.1f} ms, longest {max(seconds) * 1e3:.1f} ms{step}."
        )


PARTS: dict[str, tuple[str, Callable[[Bench], str], float]] = {
    "closed": ("All at once", Bench.closed, 0.0),
    "curve": ("The knee", Bench.curve, 0.3),
    "overhead": ("What coroutines cost", Bench.overhead, 1.5),
    "poisson": ("Over time", Bench.poisson, 1.0),
    "flood": ("Behind one who floods", Bench.flood, 2.0),
    "cancel": ("Cancelling", Bench.cancel, 0.3),
}
"""Title, how it is measured, and its time in naive closed loads, roughly: what must be left of the budget."""


def run(asked: argparse.Namespace) -> list[Path]:
    """Measure and write; returns the files written."""
    budget = Budget(time.monotonic() + asked.budget)
    settings = EngineConfig(
        device=asked.device, dtype=asked.dtype, threads=asked.threads, rows=asked.rows, slots=asked.slots
    )
    with tempfile.TemporaryDirectory() as folder:
        model = EMBEDDED_MODEL
        if asked.random:
            machine = Machine.choose(settings)
            model = models.save(Path(folder), asked.random, toy=asked.toy, dtype=machine.dtype, device=machine.device)
        if asked.size:
            model = model.model_copy(update={"width": asked.size, "height": asked.size})
        bench = Bench(asked, model, settings, budget)
        if asked.comfyui:
            comfyui = functools.cache(lambda: ComfyUI(asked.comfyui, bench.arms))
            bench.arms.more["comfyui"] = lambda load: comfyui().serve(load)
        words = "\n".join(f"## {title}\n\n{text}\n" for title, text in _parts(bench))
        machine = bench.arms.store.machine
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    threads = [f"{asked.threads}-threads"] if machine.device == "cpu" and asked.threads > 1 else []
    name = "-".join(["engine", *([model.name] if asked.random else []), machine.device, *threads])
    text = (
        f"# {model.name}, {model.width}×{model.height}, {machine.name}\n\n"
        f"    python -m benchmarks.engine {shlex.join(asked.words)}\n\n"
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, load average {load:.1f} at the end; "
        f"{asked.steps[0]} to {asked.steps[1]} steps, at most {settings.rows} rows and {settings.slots} requests "
        f"at a time, best of {asked.rounds}.\n\n![charts]({name}.svg)\n\n{words}"
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    files = [asked.out / f"{name}.md", asked.out / f"{name}.svg"]
    files[0].write_text(text, encoding="utf-8")
    files[1].write_text(svg(bench.charts), encoding="utf-8")
    print(text)
    return files


def _parts(bench: Bench) -> Iterator[tuple[str, str]]:
    for name, (title, measure, share) in PARTS.items():
        if name not in bench.asked.parts:
            continue
        cost = share * bench.naive.seconds if bench.naive else 0.0
        if not bench.budget.allows(cost):
            yield title, "Left out: the budget was spent."
            continue
        started = time.monotonic()
        text = measure(bench)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        yield title, text


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.engine"
    )
    parser.add_argument("--random", choices=models.KINDS, help="the real architecture with random weights")
    parser.add_argument("--toy", action="store_true", help="with --random: far narrower, 64 pixels")
    parser.add_argument("--size", type=int, help="pixels of a side, where not the model's own")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps", "auto"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "bfloat16", "float16", "float32"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=EngineConfig().rows)
    parser.add_argument("--slots", type=int, default=EngineConfig().slots)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--steps", type=int, nargs=2, default=(10, 30), metavar=("FEWEST", "MOST"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--flood", type=int, default=40, help="requests of the one who floods")
    parser.add_argument("--visits", type=int, default=4, help="how often each of the five others asks meanwhile")
    parser.add_argument("--cancels", type=int, default=20)
    parser.add_argument("--arms", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--budget", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--comfyui", type=Path, metavar="FOLDER", help="ComfyUI's code, which is not part of this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args(words)
    if asked.toy and not asked.random:
        parser.error("--toy is a size of --random: name sd15 or sdxl")
    if "naive" not in asked.arms or "closed" not in asked.parts:
        parser.error("the arm naive and the part closed are what everything is measured against: keep them")
    asked.steps = tuple(asked.steps)
    # Where it was written says nothing about the figures.
    where = words.index("--out") if "--out" in words else len(words)
    asked.words = [*words[:where], *words[where + 2 :]]
    return asked


if __name__ == "__main__":
    run(arguments(sys.argv[1:]))
