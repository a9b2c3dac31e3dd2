"""Whether a shortcut beats the same time with fewer steps: by the scorer of training/, and by pixels.

    python -m benchmarks.shortcuts --work training/work [--model FOLDER] [--prompts 96]

A shortcut leaves rows out of forwards, and time is proportional to rows on a device that is full. So each shortcut is
compared with the whole run of as many steps as have at least its rows. It is accepted only if its pixels are nearer
to the full run and its score is not lower, too. The score is the mean probability that the scorer gives to what
was asked for, over prompts that ask for one thing each; its standard error is that of the difference, prompt by prompt.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import table
from benchmarks.row_shortcuts import PartialGuidance, Shortcut, SkippedRows
from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of

ARMS: dict[str, Callable[[], Shortcut]] = {
    "guidance in the first 60 %": lambda: PartialGuidance(0.6),
    "rows skipped, threshold 0.1": lambda: SkippedRows(0.1),
    "guidance in the first 80 %": lambda: PartialGuidance(0.8),
    "rows skipped, threshold 0.05": lambda: SkippedRows(0.05),
    "guidance from 10 to 60 %": lambda: PartialGuidance(0.6, 0.1),
    "rows skipped, threshold 0.2": lambda: SkippedRows(0.2),
    "guidance in the first 40 %": lambda: PartialGuidance(0.4),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Pictures [n, 3, h, w], the rows of a picture's forwards together, and the score of each picture."""

    pictures: torch.Tensor
    rows: float
    scores: torch.Tensor


class Counted:
    """A denoiser that counts the rows it runs, and takes a shortcut."""

    def __init__(self, module: Any, shortcut: Shortcut | None, steps: int) -> None:
        self._module, self._shortcut, self._steps = module, shortcut, steps
        self.rows = self._step = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step, self._step = self._step, self._step + 1
        if self._shortcut is None:
            return self._run(args, kwargs)
        return self._shortcut(self._run, args, kwargs, step, self._steps, guided=True)

    def _run(self, args: Any, kwargs: Any) -> Any:
        self.rows += len(args[0])
        return self._module(*args, **kwargs)


class Bench:
    """One model, one list of prompts and their judge."""

    def __init__(self, model: Path, work: Path, prompts: int, guidance: float) -> None:
        from training.compose import article
        from training.painter import load
        from training.scorer import load_scorer
        from training.sources import concepts

        self.pipeline, self.guidance = load(model), guidance
        self.scorer = load_scorer(work)
        things = [concept.names[0] for concept in concepts()]
        self.asked = [len(things) * number // prompts for number in range(prompts)]
        self.texts = [f"a drawing of {article(things[thing])}{things[thing]}" for thing in self.asked]

    @torch.inference_mode()
    def run(self, steps: int, arm: Callable[[], Shortcut] | None = None, batch: int = 16) -> Run:
        painted, rows = [], 0
        for start in range(0, len(self.asked), batch):
            part = self.texts[start : start + batch]
            unet = self.pipeline.unet
            counted = Counted(unet, arm() if arm else None, steps)
            view = _View(self.pipeline, counted)
            painted.append(view.paint(part, range(start, start + len(part)), steps, self.guidance))
            rows += counted.rows
        pictures = torch.cat(painted)
        told = torch.cat([self.scorer(some)[0] for some in pictures.split(64)]).softmax(1)
        scores = told[torch.arange(len(told)), torch.tensor(self.asked)]
        return Run(pictures, rows / len(self.asked), scores)


class _View:
    """The pipeline with another denoiser."""

    def __init__(self, pipeline: Any, unet: Any) -> None:
        from copy import copy

        self._view = copy(pipeline)
        vars(self._view)["unet"] = unet

    def paint(self, texts: list[str], seeds: range, steps: int, guidance: float) -> torch.Tensor:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        images = self._view(
            texts, generator=generators, num_inference_steps=steps, guidance_scale=guidance, output_type="pt"
        ).images
        return images.float()


def verdicts(bench: Bench, steps: int, budget: float = math.inf) -> str:
    """The table: each shortcut beside the whole run with fewer steps."""
    end = time.monotonic() + budget
    full = bench.run(steps)
    fewer: dict[int, Run] = {steps: full}
    lines = []
    for name, arm in ARMS.items():
        if time.monotonic() > end:
            break
        short = bench.run(steps, arm)
        # The fewest steps whose whole forwards have at least the shortcut's rows: the same time, or a little more.
        same = min(steps, math.ceil(short.rows / 2))
        if same not in fewer:
            fewer[same] = bench.run(same)
        lines.append(_line(name, short, same, fewer[same], full))
        print("| " + " | ".join(lines[-1]) + " |", flush=True)
    head = ["shortcut", "rows", "RMS to full", "score", "fewer steps", "rows", "RMS to full", "score", "verdict"]
    return f"{steps} steps, {full.rows:g} rows, score {full.scores.mean():.3f}\n\n" + table(head, lines)


def _line(name: str, short: Run, same: int, fewer: Run, full: Run) -> list[str]:
    near, far = (float((run.pictures - full.pictures).square().mean().sqrt()) for run in (short, fewer))
    difference = short.scores - fewer.scores
    error = float(difference.std() / math.sqrt(len(difference)))
    better = near < far and float(difference.mean()) >= 0
    worse = near >= far or float(difference.mean()) < -2 * error
    verdict = "beats it" if better else "does not beat it" if worse else "undecided"
    score = f"{short.scores.mean():.3f} ({difference.mean():+.3f} ± {error:.3f})"
    return [
        name,
        f"{short.rows:.1f}",
        f"{near:.4f}",
        score,
        str(same),
        f"{fewer.rows:g}",
        f"{far:.4f}",
        f"{fewer.scores.mean():.3f}",
        verdict,
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path(folder_of(EMBEDDED_MODEL)))
    parser.add_argument("--work", type=Path, default=Path("training/work"))
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--steps", type=int, default=EMBEDDED_MODEL.steps)
    parser.add_argument("--guidance", type=float, default=EMBEDDED_MODEL.guidance_scale)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=math.inf)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    bench = Bench(asked.model, asked.work, asked.prompts, asked.guidance)
    print(verdicts(bench, asked.steps, asked.budget))
