"""Seconds per picture, beside one forward of the same UNet. `evaluate.py` runs it in a process of its own.

How idle OpenMP threads wait is decided before torch is imported, by OMP_WAIT_POLICY; the bot's engine waits passively,
and so does `measure`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer


def measure(
    folder: Path, steps: int, guidance: float, threads: int, *, busy: bool, pictures: int = 5
) -> dict[str, Any]:
    """Return the seconds of a picture and of one UNet forward (both halves of the guidance) on `threads` of the CPU.

    With `busy`, another process keeps one core busy meanwhile. Raises CalledProcessError when the model does not load.
    """
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        command = [sys.executable, "-m", "training.timing", str(folder), f"--steps={steps}", f"--guidance={guidance}"]
        result = subprocess.run(  # noqa: S603
            [*command, f"--threads={threads}", f"--pictures={pictures}"],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        if other is not None:
            other.kill()
            other.wait()
    return {"threads": threads, "another process busy": busy, **json.loads(result.stdout.splitlines()[-1])}


def seconds(action: Callable[[], object], times: int) -> float:
    """Return the median seconds of an action done `times` times, after once to warm up."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def main(
    folder: Annotated[Path, typer.Argument(help="A diffusers folder.")],
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 3.0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    pictures: Annotated[int, typer.Option(help="How many pictures, of which the median counts.")] = 5,
) -> None:
    """Print the seconds of a picture and of a UNet forward, as JSON."""
    import torch

    from training.painter import load

    torch.set_num_threads(threads)
    load_before = os.getloadavg()[0]
    pipeline = load(folder)
    unet = pipeline.unet
    size, rows = unet.config.sample_size, 2 if guidance > 1 else 1
    latents = torch.randn(rows, unet.config.in_channels, size, size)
    with torch.inference_mode():
        told = pipeline.encode_prompt("a fox", torch.device("cpu"), 1, rows > 1)
        words = torch.cat([vectors for vectors in told[::-1] if vectors is not None])
        forward = seconds(lambda: unet(latents, 500, encoder_hidden_states=words), 20)
        picture = seconds(
            lambda: pipeline("a fox", num_inference_steps=steps, guidance_scale=guidance, output_type="np"), pictures
        )
    typer.echo(
        json.dumps(
            {
                "seconds a picture": round(picture, 3),
                "seconds a UNet forward": round(forward, 4),
                "forwards a picture": round(picture / forward, 1),
                "load average before": round(load_before, 2),
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
