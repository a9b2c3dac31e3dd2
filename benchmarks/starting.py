"""How long `atelier try` takes until its page answers, beside another version of the code.

    python -m benchmarks.starting OTHER [--rounds 8]

OTHER is a checkout of the other version, such as one made by `git worktree add`. Both run with the packages of this
environment, each in an empty folder and after a first start that writes the bytecode. Rounds alternate which comes
first, and the ratio of each round counts.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent.parent
_ADDRESS = re.compile(rb"http://\S+")


def start(checkout: Path) -> float:
    """The seconds from the start of `atelier try` until its page has answered."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", "from bot.__main__ import main; main()", "try", "--no-browser"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, env={**environment, "PYTHONPATH": str(checkout)}, stdout=subprocess.PIPE
        ) as process:
            try:
                found = next(filter(None, map(_ADDRESS.search, process.stdout or ())), None)
                if found is None:
                    raise RuntimeError(f"the version in {checkout} opened no page")
                with urllib.request.urlopen(found[0].decode(), timeout=30) as page:
                    page.read()
                return time.perf_counter() - began
            finally:
                process.send_signal(signal.SIGINT)


def run(other: Path, rounds: int) -> None:
    """Measure both and print the rounds and their median."""
    for checkout in (other, HERE):
        start(checkout)
    ratios = []
    for number in range(rounds):
        order = (other, HERE) if number % 2 else (HERE, other)
        seconds = {checkout: start(checkout) for checkout in order}
        ratios.append(seconds[HERE] / seconds[other])
        print(f"{seconds[other]:.2f} s, here {seconds[HERE]:.2f} s: {ratios[-1]:.2f}", flush=True)
    print(f"This version takes {statistics.median(ratios):.2f} times as long as the other one (median).")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    chosen = parser.parse_args(arguments)
    run(chosen.other.resolve(), chosen.rounds)


if __name__ == "__main__":
    main()
