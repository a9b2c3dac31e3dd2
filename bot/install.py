"""Install Atelier into .venv and show what happens: `python3 bot/install.py`, or with all extras `… dev`.

It needs nothing but Python. On Linux, PyPI's torch brings CUDA's libraries, which are several GB. So on a machine
without an NVIDIA GPU torch comes from PyTorch's own index, without CUDA.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
LEAST_PYTHON = 3, 11
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ANSWERS_IN_SECONDS = 5
SHOWN = ("Collecting ", "Downloading ", "Using cached ", "Building ", "Installing ")
"""How the lines of pip begin that say what it does now."""


def has_nvidia_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU is there."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def answers(address: str) -> bool:
    """Whether a server answers."""
    try:
        with urllib.request.urlopen(address, timeout=ANSWERS_IN_SECONDS):  # noqa: S310 - our own address
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False


def source_of_torch() -> tuple[list[str], str]:
    """The options of pip that say where torch comes from, and a sentence about it."""
    if sys.platform != "linux":
        return [], "torch comes from PyPI."
    if has_nvidia_gpu():
        return [], "An NVIDIA GPU is here, so torch comes with CUDA, which is several GB."
    if not answers(f"{CPU_INDEX}/torch/"):
        return [], f"{CPU_INDEX} does not answer, so torch comes from where pip usually looks."
    return ["--extra-index-url", CPU_INDEX], "No NVIDIA GPU is here, so torch comes without CUDA."


def program(name: str) -> Path:
    """A program of the environment."""
    return ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / name


def is_made() -> bool:
    """Whether the environment is there, with pip: an attempt that was interrupted leaves one without."""
    if not program("python").exists():
        return False
    return not subprocess.run([program("python"), "-m", "pip", "--version"], capture_output=True).returncode


def brief(line: str, width: int) -> str:
    """What a line of pip says, in at most `width` characters and whole words."""
    if line.startswith("Installing collected packages: "):
        line = f"Installing {line.count(',') + 1} packages; pip says nothing until that is done"
    # "…/torch-2.7.0-cp311-cp311-linux_x86_64.whl.metadata (12 kB)" is torch-2.7.0.
    line = re.sub(r"\S*?([^/\s-]+-[^/\s-]+)-\S+\.whl(\.metadata)?", r"\1", line.partition(" (from ")[0])
    return textwrap.shorten(line, width, placeholder=" …")


def install(options: list[str], extras: str) -> int:
    """Run pip and show the line that says what it does now; returns its exit status, after its errors."""
    wanted = f"{ROOT}[{extras}]"
    command: list[str | Path] = [
        program("python"),
        "-m",
        "pip",
        "install",
        "-c",
        ROOT / "constraints.txt",
        *options,
        "-e",
        wanted,
    ]
    others: list[str] = []
    count = 0
    width = shutil.get_terminal_size().columns - 12
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as pip:
        assert pip.stdout is not None  # noqa: S101 - it is a pipe
        for line in map(str.strip, pip.stdout):
            if not line.startswith(SHOWN):
                others.append(line)
                continue
            count += line.startswith("Collecting ")
            if sys.stdout.isatty():
                print(f"\r    {count:3}  {brief(line, width):{width}}", end="", flush=True)
            elif "MB" in line or line.startswith(("Building ", "Installing ")):
                print(f"    {brief(line, width)}", flush=True)
    if sys.stdout.isatty():
        print()
    if pip.returncode:
        print("\n".join(others[-20:]))
    return pip.returncode


def main(arguments: list[str]) -> int:
    """Install, and say how it begins; returns the exit status."""
    if sys.version_info < LEAST_PYTHON:
        print("Atelier needs Python 3.11 or newer. This is Python", sys.version.split()[0])
        return 1
    extras = ",".join(arguments) or "try"
    print(f"Atelier is installed into {ENVIRONMENT}: 1.8 GB, in some minutes.")
    began = time.monotonic()
    if is_made():
        print("1. .venv is there already.")
    else:
        print("1. Making .venv ...", flush=True)
        try:
            # What an earlier attempt left is replaced.
            venv.create(ENVIRONMENT, with_pip=True, clear=True)
        except subprocess.CalledProcessError:
            print("This Python cannot make environments. On Debian and Ubuntu: apt-get install python3-venv")
            return 1
    options, words = source_of_torch()
    print(f"2. Downloading and installing. {words}", flush=True)
    if status := install(options, extras):
        print("pip failed; the lines above say why. Nothing else was changed: run this again.")
        return status
    print(f"3. Done, in {time.monotonic() - began:.0f} s. Start it: {program('atelier').relative_to(ROOT)} try")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
