"""Sheets of what one request makes many of: choices, the panels of a story, variants, and an animation as a strip.

    python -m benchmarks.many [--out docs] [--seed 7]

The real app and engine paint them with the built-in model. Prints what was asked and how long it took.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
import time
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from benchmarks.edits import painted
from bot.app import App, open_app
from bot.charts import board
from bot.charts.board import Drawn, Kind
from bot.charts.sheet import Tile, contact_sheet
from bot.config import Config, LimitsConfig
from bot.jobs import Surface
from bot.requests import edits
from bot.requests.options import Morph, Options
from bot.requests.permutations import read
from bot.requests.variants import thing_of, variants_of
from bot.worker import animations

CHOICES = "a {red, green, blue} {apple, bird}"
STORY = "A day of a fox"
PANELS = (
    *("a fox in the forest", "a fox holding a strawberry"),
    *("a fox under an umbrella in the rain", "a fox in the city at night"),
)
SOURCE = "a red apple on a white background"
BACKGROUNDS, COLOURS = "blue, green, yellow", "orange, blue, purple"
SEEDS = "a flower on a white background"
FIRST, LAST, FRAMES = "a red apple on a blue background", "a yellow sun on a green background", 8
TILE, GAP, CAPTION = 144, 8, 26
GROUND, INK = "#1e1f22", "#f2f3f5"


async def choices(app: App, seed: int) -> bytes:
    """The pictures that a prompt with choices stands for, each with the values of its choices."""
    tiles = []
    for variant in read(CHOICES, 4):
        job, _ = await painted(app, Options(variant.text, seed=seed))
        tiles.append(Tile(", ".join(variant.values), (await app.queue.images(job.id))[0].png))
    return await contact_sheet(tiles)


async def story(app: App, seed: int) -> bytes:
    """The sheet of a storyboard, as the button Sheet sends it."""
    panels = []
    for number, words in enumerate(PANELS, start=1):
        job, _ = await painted(app, Options(words, seed=seed))
        panels.append(Drawn(number, words, (await app.queue.images(job.id))[0].png))
    return await board.draw(Kind.SHEET, STORY, panels)


async def variants(app: App, seed: int) -> bytes:
    """The sheet of variants, as the button Sheet sends it; the picture that they come from is the first."""
    job, (picture,) = await painted(app, Options(SOURCE, seed=seed))
    tiles = [Drawn(1, "the picture", (await app.queue.images(job.id))[0].png)]
    for number, variant in enumerate(variants_of(thing_of(SOURCE), "", BACKGROUNDS, COLOURS), start=2):
        made, _ = await painted(app, edits.variant(job.request, picture, variant))
        tiles.append(Drawn(number, variant.label, (await app.queue.images(made.id))[0].png))
    return await board.draw(Kind.SHEET, f"/variants id:{job.id} backgrounds:{BACKGROUNDS} colours:{COLOURS}", tiles)


async def strip(app: App, seed: int) -> PIL.Image.Image:
    """The frames of two animations, each in a row: between two prompts, and between two seeds."""
    asked = {
        f"/animate prompt:{FIRST} --seed {seed} to:{LAST} frames:{FRAMES}": (FIRST, Morph(FRAMES, LAST)),
        f"/animate prompt:{SEEDS} --seed {seed} to_seed:{seed + 1} frames:{FRAMES}": (SEEDS, Morph(FRAMES)),
    }
    drawn = PIL.Image.new("RGB", (GAP + FRAMES * (TILE + GAP), GAP + len(asked) * (TILE + CAPTION + GAP)), GROUND)
    draw, font = PIL.ImageDraw.Draw(drawn), PIL.ImageFont.load_default(15)
    for row, (words, (prompt, morph)) in enumerate(asked.items()):
        began = time.monotonic()
        job, _ = await painted(app, Options(prompt, seed=seed, morph=morph))
        (image,) = await app.queue.images(job.id)
        print(f"{words}: {len(image.png)} bytes, {time.monotonic() - began:.1f} s")
        top = GAP + row * (TILE + CAPTION + GAP)
        draw.text((GAP, top), words, fill=INK, font=font)
        for column, frame in enumerate(animations.frames_of(image.png)):
            drawn.paste(frame.resize((TILE, TILE)), (GAP + column * (TILE + GAP), top + CAPTION))
    return drawn


async def sheets(folder: Path, seed: int) -> None:
    """Paint all sheets."""
    with tempfile.TemporaryDirectory() as data:
        config = Config(data=Path(data) / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))
        async with open_app(config, Surface.TERMINAL) as app:
            for name, sheet in (("choices", choices), ("storyboard", story), ("variants", variants)):
                PIL.Image.open(io.BytesIO(await sheet(app, seed))).save(folder / f"{name}.png", optimize=True)
            (await strip(app, seed)).save(folder / "animation.png", optimize=True)


def main() -> None:
    """Paint the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    asyncio.run(sheets(arguments.out, arguments.seed))


if __name__ == "__main__":
    main()
