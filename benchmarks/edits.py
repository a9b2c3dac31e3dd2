"""A sheet of what the controls under a result make of a picture, which comes first.

    python -m benchmarks.edits [--prompt "a red apple on a blue background"] [--seed 7] [--out docs/edits.png]

The real app and engine paint it with the built-in model. Prints the size of each result and how long it took.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from bot.app import App, open_app
from bot.config import EMBEDDED_MODEL, Config, LimitsConfig
from bot.jobs import ChannelId, Destination, GuildId, Job, JobStatus, MessageId, Picture, Requester, Surface, UserId
from bot.requests import edits
from bot.requests.options import Options

TILE, GAP, CAPTION, COLUMNS = 256, 16, 30, 5
GROUND, INK = "#1e1f22", "#f2f3f5"
WHO = Requester(UserId(1), GuildId(1))


async def painted(app: App, options: Options) -> tuple[Job, list[Picture]]:
    """Ask for a picture and wait for it."""
    quote = await app.admission.quote(WHO, options, Destination(ChannelId(1)))
    admitted = await app.admission.admit(quote)
    assert admitted is not None
    job_id = admitted.job.id
    await app.queue.place_message(job_id, MessageId(job_id))
    changed = app.database.listen()
    while True:
        changed.clear()
        job = await app.queue.get(job_id)
        assert job is not None
        if job.status is JobStatus.FAILED:
            raise SystemExit(f"{options.edit} failed: {job.reason}")
        if job.status in (JobStatus.RENDERED, JobStatus.DELIVERED):
            return job, await app.queue.pictures(job_id)
        await changed.wait()


def asked(job: Job, picture: Picture) -> Mapping[str, Options]:
    """What each control asks for."""
    request = job.request
    return {
        "Vary (subtle)": edits.vary(request, picture, edits.SUBTLE),
        "Vary (strong)": edits.vary(request, picture, edits.STRONG),
        "Remix: a green pear": edits.remix(request, picture, "a green pear on a blue background", ""),
        "Upscale": edits.enlarge(request, picture),
        "Edit region B2 B3: a star": edits.repaint(request, picture, (5, 6), "a yellow star on a blue background"),
        "Zoom out 1.5x": edits.extend(request, picture, edits.EXTENSIONS["zoomsome"], EMBEDDED_MODEL),
        "Zoom out 2x": edits.extend(request, picture, edits.EXTENSIONS["zoomfar"], EMBEDDED_MODEL),
        "Pan left": edits.extend(request, picture, edits.EXTENSIONS["panleft"], EMBEDDED_MODEL),
        "Pan down": edits.extend(request, picture, edits.EXTENSIONS["pandown"], EMBEDDED_MODEL),
    }


async def sheet(prompt: str, seed: int) -> PIL.Image.Image:
    """Paint everything and put it on one sheet; the source comes first."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder) / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))
        async with open_app(config, Surface.TERMINAL) as app:
            job, (picture,) = await painted(app, Options(prompt, seed=seed))
            tiles = {f"{prompt[:20]}...": (await app.queue.images(job.id))[0].png}
            for name, options in asked(job, picture).items():
                began = time.monotonic()
                made, _ = await painted(app, options)
                image = (await app.queue.images(made.id))[0]
                tiles[name] = image.png
                print(f"{name}: {image.width}×{image.height}, {time.monotonic() - began:.1f} s")
    return _arranged(tiles)


def _arranged(tiles: Mapping[str, bytes]) -> PIL.Image.Image:
    rows = -(-len(tiles) // COLUMNS)
    drawn = PIL.Image.new("RGB", (GAP + COLUMNS * (TILE + GAP), GAP + rows * (TILE + CAPTION + GAP)), GROUND)
    draw, font = PIL.ImageDraw.Draw(drawn), PIL.ImageFont.load_default(15)
    for number, (name, png) in enumerate(tiles.items()):
        left, top = GAP + number % COLUMNS * (TILE + GAP), GAP + number // COLUMNS * (TILE + CAPTION + GAP)
        picture = PIL.Image.open(io.BytesIO(png)).convert("RGB")
        words = f"{name}, {picture.width}x{picture.height}"
        picture.thumbnail((TILE, TILE), PIL.Image.Resampling.LANCZOS)
        drawn.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
        draw.text((left, top + TILE + 6), words, fill=INK, font=font)
    return drawn


def main() -> None:
    """Paint the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompt", default="a red apple on a blue background")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/edits.png"))
    arguments = parser.parse_args()
    asyncio.run(sheet(arguments.prompt, arguments.seed)).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
