"""Figures about a model: whether it paints what is asked for, how its seeds differ, how fast it is.

Each figure about painted pictures stands beside the same figure about real ones, composed from the sprites for the very
same prompts: what the measurement itself gets wrong is the ceiling. See `prompts.py` for what is asked, `scorer.py` for
who judges objects, counts and places. Colours and backgrounds are measured on the pixels.
"""

import json
import math
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
import typer
from torch import Tensor

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of
from training import autoencoder, timing
from training.compose import Composer
from training.painter import load, paint
from training.phrases import COLOURS, DYES
from training.prompts import SIZES, Prompt, contact, places, prompts, real, sample
from training.scenes import SCENES
from training.scorer import ROOM, Scorer, load_scorer, parts
from training.sheets import sheet

#: The model in the box.
SHIPPED = Path(folder_of(EMBEDDED_MODEL))
#: What the model is to reach.
TARGETS = {
    "single: object": 0.90,
    "colours: colour": 0.90,
    "background: background": 0.95,
    "pair: both objects": 0.70,
    "count: count": 0.80,
    "count: object": 0.60,
    "worn: both objects": 0.50,
    "held: both objects": 0.50,
    "under: both objects": 0.50,
}
#: Pixels of the border that show a background, and how far a pixel of a thing is from it.
RIM, FAR = 4, 0.16
#: The mean chroma below which a thing is black or white, and the lightness between those.
FAINT, LIGHT = 0.06, 0.55
#: RGB to the I-Q plane, whose angle is the hue, below the lightness.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
#: Prompts and seeds of each whose pictures are compared with one another.
DIVERSE, SEEDS = 8, 6


@dataclass(slots=True)
class Figure:
    """One figure: of painted pictures, of real ones for the same prompts, how many pictures, and the target if any."""

    painted: float
    real: float
    pictures: int
    target: float | None = None


@dataclass(slots=True)
class Figures:
    """All figures about one model. PSNR in dB; `seconds` has one row per condition, empty when not timed."""

    model: str
    steps: int
    guidance: float
    sampler: str
    fidelity: dict[str, Figure] = field(default_factory=dict)
    diversity: dict[str, Figure] = field(default_factory=dict)
    psnr: float = 0.0
    seconds: list[dict[str, Any]] = field(default_factory=list)

    def table(self) -> str:
        """Return the figures as markdown."""
        lines = [f"`{self.model}`: {self.steps} steps, guidance {self.guidance:g}, sampler {self.sampler}", ""]
        lines += ["| figure | painted | real pictures | target | pictures |", "| --- | --- | --- | --- | --- |"]
        for name, figure in {**self.fidelity, **self.diversity}.items():
            target = "" if figure.target is None else f"≥ {figure.target:.2f}"
            lines.append(f"| {name} | {figure.painted:.3f} | {figure.real:.3f} | {target} | {figure.pictures} |")
        lines.append(f"| autoencoder: reconstruction, PSNR in dB | {self.psnr:.2f} | | | |")
        if self.seconds:
            lines += ["", "| " + " | ".join(self.seconds[0]) + " |", "| --- " * len(self.seconds[0]) + "|"]
            lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in self.seconds]
        return "\n".join(lines) + "\n"


def rim(pictures: Tensor) -> Tensor:
    """Return the median colour [n, 3] of the border of pictures [n, 3, h, w]."""
    sides = (pictures[:, :, :RIM], pictures[:, :, -RIM:], pictures[..., :RIM], pictures[..., -RIM:])
    return torch.cat([side.flatten(2) for side in sides], 2).median(2).values


def backgrounds(pictures: Tensor) -> list[str]:
    """Return the name in COLOURS that is nearest to each border's median."""
    names = list(COLOURS)
    near = torch.cdist(rim(pictures), torch.tensor(list(COLOURS.values()))).argmin(1)
    return [names[index] for index in near.tolist()]


def colours(pictures: Tensor) -> list[str]:
    """Return the name in DYES of the hue of what stands out from each background; black or white where hue is faint."""
    things = ((pictures - rim(pictures)[:, :, None, None]).abs().amax(1, keepdim=True) > FAR).float()
    mean = (pictures * things).sum((2, 3)) / things.sum((2, 3)).clamp(min=1)
    hues = [colour for colour in DYES if colour not in ("black", "white")]
    named = torch.tensor([COLOURS[colour] for colour in hues]) @ YIQ.T
    shown = mean @ YIQ.T
    angles = torch.atan2(shown[:, 2], shown[:, 1])[:, None] - torch.atan2(named[:, 2], named[:, 1])
    near = torch.atan2(angles.sin(), angles.cos()).abs().argmin(1)
    faint = shown[:, 1:].norm(dim=1) < FAINT
    return [
        ("white" if light > LIGHT else "black") if gray else hues[index]
        for gray, light, index in zip(faint.tolist(), shown[:, 0].tolist(), near.tolist(), strict=True)
    ]


@torch.no_grad()
def judge(scorer: Scorer, composer: Composer, pictures: Tensor, asked: Sequence[Prompt]) -> list[dict[str, bool]]:
    """Return for each picture what is right about it, by the names of figures.

    An object is right when it is the likeliest of all that the scorer knows: one of several where it should stand, in
    either of two mirrored layouts.
    """
    things, numbers, scenes = (torch.cat(told) for told in zip(*map(scorer, pictures.split(64)), strict=True))
    behind, dyed = backgrounds(pictures), colours(pictures)
    verdicts = []
    for row, prompt in enumerate(asked):
        if len(prompt.concepts) > 1 or prompt.number > 1:
            looks = []
            for mirrored in (False, True):
                stand = places(composer, prompt, right=not mirrored)
                around = [(row, p.x, p.y, ROOM * p.side) for p in stand]
                seen = scorer(parts(pictures, around))[0].argmax(1).tolist()
                wanted = list(prompt.concepts * prompt.number)
                if prompt.kind == "pair" and mirrored:
                    wanted.reverse()
                looks.append([one == other for one, other in zip(seen, wanted, strict=True)])
            best = max(looks, key=sum)
            if prompt.number > 1:
                right = {"object": 2 * sum(best) > len(best), "count": int(numbers[row].argmax()) == prompt.number}
            else:
                right = {"both objects": all(best), "one object at least": any(best)}
        else:
            right = {"object": int(things[row].argmax()) == prompt.concepts[0]}
            if prompt.colour:
                right["colour"] = dyed[row] == prompt.colour
            if prompt.background:
                right["background"] = behind[row] == prompt.background
            if prompt.scene:
                right["scene"] = int(scenes[row].argmax()) == list(SCENES).index(prompt.scene) + 1
        verdicts.append({f"{prompt.kind}: {name}": hit for name, hit in right.items()})
    return verdicts


def rates(verdicts: Sequence[dict[str, bool]]) -> dict[str, tuple[float, int]]:
    """Return for each name how often it is right, and of how many."""
    hits: dict[str, list[bool]] = {}
    for verdict in verdicts:
        for name, hit in verdict.items():
            hits.setdefault(name, []).append(hit)
    return {name: (sum(some) / len(some), len(some)) for name, some in hits.items()}


@torch.no_grad()
def spread(scorer: Scorer, pictures: Tensor) -> tuple[float, float]:
    """Return how pictures [prompts, seeds, 3, h, w] of a prompt differ: RMS of pixels, cosine distance of features."""
    pixels, features = [], []
    for group in pictures:
        pixels.append(torch.pdist(group.flatten(1)).mean() / math.sqrt(group[0].numel()))
        seen = F.normalize(scorer.features(group), dim=1)
        above = torch.triu_indices(len(group), len(group), 1)
        features.append(1 - (seen @ seen.T)[above[0], above[1]].mean())
    return float(torch.stack(pixels).mean()), float(torch.stack(features).mean())


def evaluate(
    folder: Path,
    work: Path,
    out: Path | None = None,
    *,
    size: int | None = None,
    steps: int = EMBEDDED_MODEL.steps,
    guidance: float = EMBEDDED_MODEL.guidance_scale,
    sampler: str = "default",
    device: str = "cpu",
    batch: int = 16,
    timed: bool = False,
) -> Figures:
    """Return the figures about a diffusers folder; with `out`, write them and contact sheets there.

    `size` takes that many prompts, evenly spread over the list: to compare checkpoints, 64 are quick. `timed` measures
    seconds a picture, too, in processes of their own. Needs WORK/sprites.npz and WORK/scorer.pt. Raises
    FileNotFoundError when one of them or the model is missing.
    """
    pipeline = load(folder, device, sampler)
    scorer = load_scorer(work)
    composer = Composer(work, seed=17)
    listed = prompts(composer)
    asked = sample(listed, size)
    painted = paint(pipeline, [prompt.text for prompt in asked], range(len(asked)), steps, guidance, batch)
    chance = random.Random(18)
    ideal = composer.render([real(composer, prompt, chance) for prompt in asked])

    figures = Figures(folder.name, steps, guidance, sampler)
    ceilings = rates(judge(scorer, composer, ideal, asked))
    for name, (rate, count) in rates(judge(scorer, composer, painted, asked)).items():
        figures.fidelity[name] = Figure(rate, ceilings[name][0], count, TARGETS.get(name))

    several = sample(asked, DIVERSE)
    texts = [prompt.text for prompt in several for _ in range(SEEDS)]
    seeded = paint(pipeline, texts, list(range(SEEDS)) * len(several), steps, guidance, batch)
    varied = composer.render([real(composer, prompt, chance) for prompt in several for _ in range(SEEDS)])
    groups = (len(several), SEEDS)
    made, true = (spread(scorer, pictures.unflatten(0, groups)) for pictures in (seeded, varied))
    for name, one, other in zip(("RMS of pixels", "cosine of features"), made, true, strict=True):
        figures.diversity[f"seeds differ: {name}"] = Figure(one, other, len(texts))

    figures.psnr = autoencoder.measure(
        pipeline.vae.to("cpu"), composer, 192 if size is None else 64 if size > 32 else 32
    )[0]
    if timed:
        several_threads = sorted({1, min(2, os.cpu_count() or 1)})
        figures.seconds = [
            timing.measure(folder, steps, guidance, threads, busy=busy)
            for threads in several_threads
            for busy in (False, True)
        ]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        pipeline.vae.to(device)
        shown = [prompt.text for prompt in contact(listed)]
        sheet(paint(pipeline, shown, [0] * len(shown), steps, guidance, batch), shown).save(out / "contact.png")
        for kind in SIZES:
            rows = [row for row, prompt in enumerate(asked) if prompt.kind == kind]
            if rows:
                sheet(painted[rows], [asked[row].text for row in rows], 10).save(out / f"{kind}.png")
        sheet(seeded, texts, SEEDS).save(out / "seeds.png")
        sheet(composer.render([real(composer, prompt, chance) for prompt in contact(listed)]), shown).save(
            out / "real.png"
        )
        (out / "figures.json").write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
        (out / "figures.md").write_text(figures.table(), encoding="utf-8")
    return figures


def main(
    model: Annotated[Path, typer.Argument(help="A diffusers folder.")] = SHIPPED,
    work: Annotated[Path, typer.Option(help="Folder of sprites.npz and scorer.pt.")] = Path("training/work"),
    out: Annotated[Path, typer.Option(help="Folder for figures.json, figures.md and contact sheets.")] = Path(
        "training/work/figures"
    ),
    size: Annotated[int | None, typer.Option("--prompts", help="Fewer prompts, evenly spread over the list.")] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = EMBEDDED_MODEL.steps,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = EMBEDDED_MODEL.guidance_scale,
    sampler: Annotated[str, typer.Option(help="A sampler's name as in the bot.")] = "default",
    device: Annotated[str, typer.Option(help="cpu or cuda; seconds are always the CPU's.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 16,
    timed: Annotated[bool, typer.Option(help="Measure seconds a picture, too.")] = True,
) -> None:
    """Measure a model, and write what was found into OUT."""
    figures = evaluate(
        model,
        work,
        out,
        size=size,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        device=device,
        batch=batch,
        timed=timed,
    )
    typer.echo(figures.table())


if __name__ == "__main__":
    typer.run(main)
