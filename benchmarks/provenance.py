"""How well the invisible mark survives, what it costs, and what signing and checking a picture cost.

    python -m benchmarks.provenance [--count 100] [--others 300] [--sprites sprites.npz] [--out FILE.md]

The built-in model paints pictures of 128 × 128 pixels; its upscaler makes larger ones of the same. Each gets a mark.
A copy counts as recognised if its own number is found. The others have no mark: sprites that the model was trained
with, if a file is given, on white; pictures of the model before they are marked; and noise, gradients and stripes. Each
is looked at as it is, and as a JPEG of which a tenth was cut off.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from benchmarks.report import table
from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.jobs import GenerationRequest
from bot.worker import marking, nsfw
from bot.worker.likeness import phash
from bot.worker.manifest import own_signing
from bot.worker.pictures import enlarged
from bot.worker.pipelines import ModelStore
from bot.worker.printing import encoded

FACTORS = (1, 4, 8)
SECRET = b"a secret of the benchmark, 32 by"
THINGS = ("fox", "apple", "house", "boat", "cloud", "guitar", "cactus", "robot", "cake", "owl", "bicycle", "volcano")
COLOURS = ("red", "green", "blue", "golden", "white", "black")
_BATCH = 4

Picture = PIL.Image.Image


def painted(store: ModelStore, count: int, steps: int) -> Iterator[np.ndarray[Any, Any]]:
    """Pictures of the built-in model as arrays from 0 to 1."""
    pipeline = store.load("emoji").pipeline
    for number in range(-(-count // _BATCH)):
        thing, colour = THINGS[number % len(THINGS)], COLOURS[number // len(THINGS) % len(COLOURS)]
        prompt = f"a {colour} {thing}"
        request = GenerationRequest(prompt, "emoji", 128, 128, steps, 4.0, number, num_images_per_prompt=_BATCH)
        yield from np.asarray(pipeline(**store.arguments(request)).images)


def saved(picture: Picture, kind: str) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=80)
    with PIL.Image.open(buffer) as copy:
        return copy.convert("RGB")


def cut(picture: Picture, number: int = 0) -> Picture:
    """Nine tenths of the width and of the height, from a place that depends on a number."""
    random = np.random.default_rng(number)
    width, height = picture.width * 9 // 10, picture.height * 9 // 10
    left, top = (
        int(random.integers(0, side - part + 1)) for side, part in zip(picture.size, (width, height), strict=True)
    )
    return picture.crop((left, top, left + width, top + height))


def half(picture: Picture) -> Picture:
    return picture.resize((picture.width // 2, picture.height // 2), PIL.Image.Resampling.BICUBIC)


COPIES: dict[str, Callable[[Picture, int], Picture]] = {
    "as delivered": lambda picture, _: picture,
    "JPEG, quality 80": lambda picture, _: saved(picture, "JPEG"),
    "half the size": lambda picture, _: half(picture),
    "WebP, quality 80": lambda picture, _: saved(picture, "WEBP"),
    "a tenth cut off": cut,
    "a tenth cut off, then JPEG": lambda picture, number: saved(cut(picture, number), "JPEG"),
}


def others(frames: Sequence[Picture], sprites: Path | None, count: int) -> Iterator[Picture]:
    """Pictures without a mark."""
    made = 0
    if sprites is not None:
        pixels = np.load(sprites)["pixels"]
        for at in np.linspace(0, len(pixels) - 1, count // 2).astype(int):
            ground = PIL.Image.new("RGBA", (pixels.shape[2], pixels.shape[1]), "white")
            picture = PIL.Image.alpha_composite(ground, PIL.Image.fromarray(pixels[at])).convert("RGB")
            yield picture.resize((512, 512), PIL.Image.Resampling.LANCZOS)
            made += 1
    for picture in frames[: (count - made) * 2 // 3]:
        yield picture
        made += 1
    for number in range(count - made):
        random = np.random.default_rng(number)
        grain = 2 ** (number % 9)
        colours = random.integers(0, 256, (grain, grain if number % 2 else 1, 3), dtype="uint8")
        yield PIL.Image.fromarray(colours).resize((512, 512), PIL.Image.Resampling.BICUBIC)


def timed(work: Callable[[], Any], times: int = 5) -> float:
    """The median seconds that something takes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def psnr(before: Picture, after: Picture) -> float:
    error = np.asarray(before, float) - np.asarray(after, float)
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-9)))


def survival(
    frames: Sequence[np.ndarray[Any, Any]], upscaler: Any, say: Callable[[str], None]
) -> tuple[str, list[Picture]]:
    """The table of what is recognised, and the pictures of 512 pixels before they were marked."""
    numbers = np.random.default_rng(1).integers(0, 2**marking.BITS, 100_000)
    sizes = [(128 * factor,) * 2 for factor in (4, 1, 8)] + [(768, 512), (512, 768), (640, 640)]
    rows, plain = [], []
    for factor in FACTORS:
        found, quality, marks, reads = dict.fromkeys(COPIES, 0), [], [], []
        for at, frame in enumerate(frames):
            picture = enlarged(frame, factor, upscaler)
            if factor == 4:
                plain.append(picture)
            began = time.perf_counter()
            marked = marking.mark(picture, SECRET, int(numbers[at]))
            marks.append(time.perf_counter() - began)
            quality.append(psnr(picture, marked))
            for name, change in COPIES.items():
                copy = change(marked, at)
                began = time.perf_counter()
                mark = marking.find(copy, SECRET, sizes, numbers)
                reads.append(time.perf_counter() - began)
                found[name] += mark is not None and mark.number == int(numbers[at])
        rows.append(
            [
                f"{128 * factor}×{128 * factor}",
                *(f"{count} of {len(frames)}" for count in found.values()),
                f"{statistics.median(quality):.1f} ({min(quality):.1f})",
                f"{statistics.median(marks):.2f}",
                f"{statistics.median(reads):.2f}",
            ]
        )
        say(f"{rows[-1]}")
    header = ["pixels", *COPIES, "PSNR in dB: median (least)", "s to mark", "s to look for it"]
    return table(header, rows), plain


def costs(pictures: Sequence[Picture]) -> str:
    """What each part of a result costs one core."""
    check = nsfw.load()
    with tempfile.TemporaryDirectory() as folder:
        signing = own_signing(Path(folder))
        rows = []
        for side in (512, 1024):
            picture = pictures[0].resize((side, side), PIL.Image.Resampling.LANCZOS)
            png = encoded(picture, "")
            parts = {
                "safety check": lambda picture=picture: check.score(picture),
                "perceptual hash": lambda picture=picture: phash(picture),
                "PNG": lambda picture=picture: encoded(picture, ""),
                "mark": lambda picture=picture: marking.mark(picture, SECRET, 7),
                "manifest": lambda png=png: signing.sign(png, "emoji", {}),
            }
            rows.append([f"{side}×{side}", *(f"{1000 * timed(work):.0f}" for work in parts.values())])
    return table(["pixels", *(f"{name}, ms" for name in parts)], rows)


def run(options: argparse.Namespace) -> str:
    """Measure everything; returns the report."""
    store = ModelStore([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=options.threads))
    store.load("emoji")
    frames = list(painted(store, options.count, options.steps))[: options.count]
    upscaler = store.finisher._upscalers["emoji"]
    survived, plain = survival(frames, upscaler, print)
    numbers = np.random.default_rng(1).integers(0, 2**marking.BITS, 100_000)
    sizes = [(512, 512), (128, 128), (1024, 1024), (768, 512), (512, 768), (640, 640)]
    wrong = looked = 0
    for at, picture in enumerate(others(plain, options.sprites, options.others)):
        looked += 1
        copies = (picture, saved(cut(picture, at), "JPEG"))
        wrong += any(marking.find(copy, SECRET, sizes, numbers) is not None for copy in copies)
    return "\n\n".join(
        [
            "# Marks, manifests and checks",
            f"{options.count} pictures of the built-in model, 100,000 known numbers, six known sizes.",
            survived,
            f"Of {looked} other pictures {wrong} were taken for marked ones.",
            "What the parts of one result cost, the median of five:",
            costs(plain),
        ]
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--others", type=int, default=300)
    parser.add_argument("--sprites", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args(words)


def main() -> None:
    options = arguments()
    report = run(options)
    print(report)
    if options.out:
        options.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
