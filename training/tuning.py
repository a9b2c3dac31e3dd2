"""Find out how the denoiser learns fastest on this GPU, in about two minutes, and fill the compiler's cache.

    python -m training.tuning --work WORK

Every way is compiled in a process of its own, all at once, and timed alone: the processes take turns by a lock. The
last line names the fastest way, which `training.gpu --way` takes. The compiler's cache outlives the processes, so that
compiling the same way again takes seconds.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from training import denoiser
from training.autoencoder import CHANNELS
from training.normalization import normalize_by_channel
from training.words import LENGTH

#: What a way may be: how a group is normalized, and the mode of `torch.compile`, or no compiler at all.
NORMS, MODES = ("plain", "channelwise"), ("eager", "default", "reduce-overhead", "max-autotune")
#: The ways that are tried.
TRIED = ("plain,reduce-overhead", "channelwise,reduce-overhead", "channelwise,eager")
#: Steps of a measurement.
STEPS = 8


def apply(way: str, training: denoiser.Training) -> None:
    """Let a training learn in a way, "NORM,MODE". BadParameter when there is no such way."""
    norm, _, mode = way.partition(",")
    if norm not in NORMS or mode not in MODES:
        message = f"{way!r} is no way to learn. Give one of {NORMS} and one of {MODES}, with a comma between."
        raise typer.BadParameter(message)
    if norm == "channelwise":
        normalize_by_channel(training.unet)
    if mode != "eager":
        training.compile(mode)


def pace(work: Path, device: str, batch: int, way: str, times: int, lock: Path) -> str:
    """Compile, wait for the turn, and return what a step takes, in words."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    training = denoiser.fresh(work, device)
    apply(way, training)
    clean = torch.randn(batch, CHANNELS, denoiser.SIDE, denoiser.SIDE, device=device)
    ids = torch.randint(0, 1000, (batch, LENGTH), device=device)
    started = time.monotonic()
    for _ in range(3):
        float(training.learn(clean, ids, 1e-4))
    ready = time.monotonic() - started
    taken = []
    with lock.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for _ in range(times):
            started = time.monotonic()
            for _ in range(STEPS):
                loss = training.learn(clean, ids, 1e-4)
            last = float(loss)
            taken.append(1000 * (time.monotonic() - started) / STEPS)
        profile = kernels(training, clean, ids) if device == "cuda" else ""
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return (
        f"{min(taken):.1f} ms a step of {batch}, ready after {ready:.0f} s, {memory:.1f} GiB, loss {last:.3f}{profile}"
    )


def kernels(training: denoiser.Training, clean: torch.Tensor, ids: torch.Tensor, most: int = 14) -> str:
    """Return what the GPU does during a step, the longest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(3):
            training.learn(clean, ids, 1e-4)
        torch.cuda.synchronize()
    table = sorted(profile.key_averages(), key=lambda entry: -entry.self_device_time_total)
    whole = sum(entry.self_device_time_total for entry in table) / 3000
    lines = [
        f"    {entry.self_device_time_total / 3000:7.2f} ms {entry.count / 3:6.0f} × {entry.key[:90]}"
        for entry in table[:most]
    ]
    return "\n".join((f"\n    {whole:7.2f} ms of kernels", *lines))


def main(
    work: Annotated[Path, typer.Option(help="Folder with words/.")] = Path("training/work"),
    device: Annotated[str, typer.Option(help="cuda, or cpu to rehearse.")] = "cuda",
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 512,
    ways: Annotated[str, typer.Option(help="Ways to try, with spaces between.")] = " ".join(TRIED),
    times: Annotated[int, typer.Option(help="Measurements of each way; the shortest counts.")] = 5,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Try every way and print what a step takes, the fastest last."""
    lock = work / "turn.lock"
    if one:
        typer.echo(pace(work, device, batch, one, times, lock))
        return
    command = [sys.executable, "-m", "training.tuning", f"--work={work}", f"--device={device}", f"--batch={batch}"]
    command.append(f"--times={times}")
    environ = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "4"}
    tried = {
        way: subprocess.Popen([*command, f"--one={way}"], stdout=subprocess.PIPE, text=True, env=environ)  # noqa: S603
        for way in ways.split()
    }
    paces = {}
    try:
        for way, process in tried.items():
            told = process.communicate()[0].strip()
            typer.echo(f"{way}: {told if process.returncode == 0 else f'failed, exit {process.returncode}'}")
            if process.returncode == 0:
                paces[way] = float(told.split()[0])
    finally:
        for process in tried.values():
            process.kill()
            process.wait()
    if not paces:
        raise typer.Exit(1)
    typer.echo(min(paces, key=lambda way: paces[way]))


if __name__ == "__main__":
    typer.run(main)
