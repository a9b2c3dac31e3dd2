"""The judge of `evaluate.py`: a small network that says what a picture shows. It learns from composed pictures only.

It never sees a picture that a model painted, nor a held-out combination; how often it is right about real pictures of
the very prompts in question is the ceiling that `evaluate.py` prints beside each figure.
"""

import itertools
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
import typer
from rich.progress import Progress
from torch import Tensor, nn

from training import scenes
from training.compose import LAYERS, VARIANTS, Composer, Mix, Scene
from training.sources import concepts

#: Pixels on a side of what the network sees.
VIEW = 64
#: All emoji sets, more evenly than a painter learns from: what an apple is should not hang on one set's apple.
VENDORS = {"fluent": 0.4, "noto": 0.2, "flat": 0.2, "twemoji": 0.2}
#: How many disturbed copies of each view it learns from.
DISTURBED = 3
#: What it learns from: whole things and counts, and pairs and relations for the squares around things.
MIX = Mix(pairs=0.25, several=0.2, relations=0.25)
#: How much is taken in around a thing to look at it.
ROOM = 1.1

_UNKNOWN = -100  # what cross_entropy leaves out


class Scorer(nn.Module):
    """Pictures to what they show: objects, how many, and which painted scene is behind them."""

    def __init__(self, things: int, places: int = len(scenes.SCENES) + 1, width: int = 32) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 4 * width, 6 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            stride = 2 if number in (0, 1, 2) else 1
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.things = nn.Linear(2 * sizes[-1], things)
        self.number = nn.Linear(2 * sizes[-1], LAYERS + 1)
        self.place = nn.Linear(2 * sizes[-1], places)

    def features(self, pictures: Tensor) -> Tensor:
        """Return float [n, f] that describe pictures [n, 3, h, w] in [0, 1] of any size."""
        if pictures.shape[-1] != VIEW:
            pictures = F.interpolate(pictures, (VIEW, VIEW), mode="area")
        seen = self.body((pictures * 2 - 1).contiguous(memory_format=torch.channels_last))
        return torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of objects [n, things] as in concepts.txt, of their number, and of the place (0: plain)."""
        features = self.features(pictures)
        return self.things(features), self.number(features), self.place(features)


Place = tuple[int, float, float, float]
"""A part of a picture: its row in a batch, and the middle and side of a square as parts of the picture's side."""


def parts(pictures: Tensor, places: Sequence[Place]) -> Tensor:
    """Return squares [len(places), 3, VIEW, VIEW] of pictures [n, 3, h, w]; beyond the rim lies more of the rim."""
    rows = torch.tensor([place[0] for place in places], device=pictures.device)
    frames = torch.tensor([[[s, 0, 2 * x - 1], [0, s, 2 * y - 1]] for _, x, y, s in places], dtype=torch.float32)
    frames = frames.to(pictures.device)
    grid = F.affine_grid(frames, [len(places), 3, VIEW, VIEW], align_corners=False)
    return F.grid_sample(pictures[rows], grid, mode="bilinear", padding_mode="border", align_corners=False)


def views(composer: Composer, wanted: list[Scene], chance: random.Random) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the scorer sees of scenes [n, 3, VIEW, VIEW], and the objects, numbers and places there [n].

    It sees scenes as a whole, and of those with several sprites also a square around one of them: there the number and
    the place are _UNKNOWN. So is the object of a whole scene with two or none, and the number where things overlap.
    """
    concept = {sprite: key[0] for key, sprite in composer.sprite.items()}
    pictures = composer.render(wanted)
    things, numbers, around, closer = [], [], [], []
    for row, scene in enumerate(wanted):
        shown = {concept[p.sprite] for p in scene.placements}
        things.append(next(iter(shown)) if len(shown) == 1 else _UNKNOWN)
        numbers.append(len(scene.placements) if len(shown) <= 1 else _UNKNOWN)
        if len(scene.placements) > 1:
            p = chance.choice(scene.placements)
            x, y = (value + chance.uniform(-0.04, 0.04) for value in (p.x, p.y))
            around.append((row, x, y, ROOM * p.side * chance.uniform(0.9, 1.15)))
            closer.append(concept[p.sprite])
    places = [scene.painting // VARIANTS + 1 if scene.painting >= 0 else 0 for scene in wanted]
    seen = F.interpolate(pictures, (VIEW, VIEW), mode="area")
    if around:
        seen = torch.cat([seen, parts(pictures, around)])
    labels = (things + closer, numbers + [_UNKNOWN] * len(around), places + [_UNKNOWN] * len(around))
    thing, number, place = (torch.tensor(label, device=pictures.device) for label in labels)
    return seen, thing, number, place


def disturb(pictures: Tensor) -> Tensor:
    """Return pictures [n, 3, h, w] in [0, 1] turned, moved, tinted, blurred, noisy and partly covered, at random."""
    n, device = len(pictures), pictures.device

    def spread(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape, device=device).uniform_(low, high)

    turn, zoom = spread(-0.15, 0.15), spread(0.9, 1.15)
    frames = torch.stack(
        [
            torch.stack([zoom * turn.cos(), -zoom * turn.sin(), spread(-0.08, 0.08)], 1),
            torch.stack([zoom * turn.sin(), zoom * turn.cos(), spread(-0.08, 0.08)], 1),
        ],
        1,
    )
    grid = F.affine_grid(frames, list(pictures.shape), align_corners=False)
    pictures = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = spread(-0.5, 1, 1, 1, 1).clamp(min=0)
    pictures = pictures * (1 - amount) + blurred * amount
    pictures = pictures * spread(0.85, 1.15, 3, 1, 1) + spread(-0.08, 0.08, 1, 1, 1)
    pictures = pictures + spread(0, 0.08, 1, 1, 1) * torch.randn_like(pictures)
    across = torch.arange(pictures.shape[-1], device=device) / pictures.shape[-1]
    x, y, side = spread(0, 1, 1), spread(0, 1, 1), spread(-0.3, 0.25, 1)
    covered = ((across - x).abs() < side / 2)[:, None, None, :] & ((across - y).abs() < side / 2)[:, None, :, None]
    return torch.where(covered, spread(0, 1, 3, 1, 1), pictures).clamp(0, 1)


def load_scorer(work: Path, device: str = "cpu") -> Scorer:
    """Return the trained scorer of WORK/scorer.pt. Raises FileNotFoundError in words when there is none."""
    path = work / "scorer.pt"
    if not path.exists():
        message = f"{path} does not exist; make it with `python -m training.scorer --work {work}`"
        raise FileNotFoundError(message)
    scorer = Scorer(len(concepts()))
    scorer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return scorer.to(device).eval()


def train(composer: Composer, minutes: float = 8, batch: int = 32, most: int | None = None) -> tuple[Scorer, int]:
    """Return a scorer trained on scenes of a composer and the number of its steps, `most` of them at most."""
    device, chance = composer.device, random.Random(13)
    scorer = Scorer(len(composer.concepts)).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=0, weight_decay=0.02)
    started, step = time.monotonic(), 0
    with Progress() as progress:
        task = progress.add_task("scorer", total=1.0)
        while (done := max((time.monotonic() - started) / (60 * minutes), step / most if most else 0)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * min(1, (step + 1) / 50) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
            # Disturbing is cheaper than rendering, so each view serves several times.
            seen, *labels = views(composer, composer.scenes(batch), chance)
            pictures = disturb(seen.repeat(DISTURBED, 1, 1, 1))
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                told = [logits.float() for logits in scorer(pictures)]
            losses = [F.cross_entropy(t, label.repeat(DISTURBED)) for t, label in zip(told, labels, strict=True)]
            loss = losses[0] + 0.3 * losses[1] + 0.3 * losses[2]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 20 == 0:
                words = f"scorer, step {step}, loss {float(loss.detach()):.2f}"
                progress.update(task, completed=done, description=words)
    return scorer.eval(), step


@torch.no_grad()
def accuracy(scorer: Scorer, composer: Composer, pictures: int = 512) -> dict[str, float]:
    """Return how often a scorer is right about fresh real pictures, by what is asked: object, number, place."""
    right: dict[str, list[bool]] = {"object": [], "number": [], "place": []}
    chance = random.Random(14)
    for _ in range(pictures // 64):
        seen, *labels = views(composer, composer.scenes(64), chance)
        for hits, told, label in zip(right.values(), scorer(seen), labels, strict=True):
            known = label != _UNKNOWN
            hits += (told.argmax(1) == label)[known].tolist()
    return {name: sum(hits) / max(len(hits), 1) for name, hits in right.items()}


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Scenes at a time.")] = 32,
) -> None:
    """Train into WORK/scorer.pt, and say how often it is right about real pictures it never saw."""
    torch.manual_seed(0)
    scorer, steps = train(Composer(work, device, seed=11, vendors=VENDORS, mix=MIX), minutes, batch)
    torch.save(scorer.cpu().state_dict(), work / "scorer.pt")
    for name, vendors in (("all emoji sets", VENDORS), ("as painters learn", None)):
        rates = accuracy(scorer, Composer(work, seed=12, vendors=vendors))
        typer.echo(f"{steps} steps; {name}: " + ", ".join(f"{key} {rate:.3f}" for key, rate in rates.items()))


if __name__ == "__main__":
    typer.run(main)
