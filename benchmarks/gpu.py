"""What has to be known of a GPU in a few minutes: whether all is right on it, and how fast it is.

    python -m benchmarks.gpu --minutes 4 [--parts 2,4] [--only WORDS] [--out FOLDER] [--toy]

The parts, most wanted first: 1 the machine and its ceilings; 2 correctness, with the model in the box; 3 a forward of
SD 1.5 by its rows; 4 mixed requests of SD 1.5 all at once, naive diffusers and ours; 5 SDXL; 6 requests over time,
a cancellation and a flood. Each runs in a process of its own, which is killed when its share of the time is over and
begun again, without the check at which it fell, when the device is lost; what a part leaves over the others share.

`gpu.md`, `gpu.json` and `gpu.log` are written anew whenever something was found, so a run that is cut off leaves what
it had. Without a GPU it runs on the CPU; `--toy` takes models small enough for that.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu_child import EXIT_DEVICE_LOST, EXIT_STUCK, GO, READY, read
from benchmarks.report import table

PARTS = {
    "1": ("benchmarks.gpu_speed:machine", 8.0),
    "2": ("benchmarks.gpu_correctness:correctness", 75.0),
    "3": ("benchmarks.gpu_speed:curves", 30.0),
    "4": ("benchmarks.gpu_speed:closed_sd15", 60.0),
    "5": ("benchmarks.gpu_speed:sdxl", 52.0),
    "6": ("benchmarks.gpu_speed:over_time", 40.0),
}
"""What does each, and its share of the time that is left, among the parts that are left."""
IMPORT_SECONDS = 90.0
TRIES = 4
PRINTED = 11_000
"""Characters of the report that are printed: what shows them may keep no more than the last 12,000."""
SUSPECT = ("WARNING", "ERROR", "Traceback", "cannot be", "out of memory", "not compiled", "CUDA error", "silent for")


@dataclass
class Part:
    """One part: its process, its book and how it went."""

    number: str
    folder: Path
    out: Path
    toy: bool
    only: str = ""
    process: subprocess.Popen[str] | None = None
    seconds: float = 0.0
    troubles: list[tuple[str, str]] = field(default_factory=list)
    """What stopped it, in words, and the last lines of its log."""

    @property
    def book(self) -> Path:
        return self.folder / f"{self.number}.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.number}.log"

    def start(self) -> None:
        """Have everything imported, unless it is being done."""
        if self.process is not None:
            return
        what, _ = PARTS[self.number]
        words = [
            sys.executable,
            "-m",
            "benchmarks.gpu_child",
            what,
            str(self.book),
            "--out",
            str(self.out),
            "--only",
            self.only,
        ]
        environ = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **os.environ}
        if self.toy:
            words.append("--toy")
            environ |= {"OMP_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
                cwd=Path(__file__).parent.parent,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Kill it and whatever it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self.process = None

    def tail(self) -> str:
        """The last of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return text[-2500:]

    def open_check(self) -> str:
        """The check it was at."""
        lines = read(self.book)
        ended = {line["name"] for line in lines if line["kind"] == "check"}
        begun = [line["name"] for line in lines if line["kind"] == "begin"]
        return begun[-1] if begun and begun[-1] not in ended else ""


class Run:
    """The whole: gives each part its time, and writes what is known."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.began, self.ends_at = time.monotonic(), time.monotonic() + 60 * asked.minutes - 3
        self.asked = asked
        self.parts = [Part(number, folder, asked.out, asked.toy, asked.only) for number in asked.parts]

    def go(self) -> None:
        """All parts, one after the other."""
        try:
            for number, part in enumerate(self.parts):
                following = self.parts[number + 1 :]
                self.serve(part, following)
                self.write()
        finally:
            for part in self.parts:
                part.stop()
            self.write()

    def serve(self, part: Part, following: Sequence[Part]) -> None:
        """One part to its end."""
        for _ in range(TRIES):
            part.start()
            if not self.wait_until_ready(part):
                return
            left, began = self.ends_at - time.monotonic() - 2 * len(following), time.monotonic()
            share, *others = (PARTS[one.number][1] for one in (part, *following))
            # What it used up before it fell is its own.
            limit = (left + part.seconds) * share / (share + sum(others)) - part.seconds
            if limit < 2:
                part.troubles.append(("no time was left", ""))
                part.stop()
                return
            say(f"part {part.number} begins, {limit:.0f} s at most")
            assert part.process is not None
            assert part.process.stdin is not None
            with suppress(OSError):
                part.process.stdin.write(f"{GO} {limit}\n")
                part.process.stdin.flush()
            if following:
                following[0].start()
            code = self.watch(part, time.monotonic() + limit)
            took = time.monotonic() - began
            part.seconds += took
            part.stop()
            say(f"part {part.number} ends after {took:.1f} s: {'stopped' if code is None else f'exit code {code}'}")
            if code == 0:
                return
            where = f" at: {part.open_check()}" if part.open_check() else ""
            if code is None:
                part.troubles.append((f"stopped after {limit:.0f} s{where}", part.tail()))
                return
            known = {EXIT_DEVICE_LOST: "the device was lost", EXIT_STUCK: "was stuck"}
            lost = known.get(code, f"ended with {code}")
            part.troubles.append((f"{lost}{where}", part.tail()))
            if code == 1:
                return

    def wait_until_ready(self, part: Part) -> bool:
        """Whether it could be imported."""
        assert part.process is not None
        assert part.process.stdout is not None
        # What is killed ends the line, too.
        watchdog = threading.Timer(IMPORT_SECONDS, os.killpg, (part.process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            for line in part.process.stdout:
                if line.strip() == READY:
                    return True
        finally:
            watchdog.cancel()
        part.stop()
        part.troubles.append(("could not be imported", part.tail()))
        return False

    def watch(self, part: Part, until: float) -> int | None:
        """Its exit code, None if its time ended; what it notes is written down as it comes."""
        assert part.process is not None
        size = 0
        while (code := part.process.poll()) is None and time.monotonic() < until:
            time.sleep(0.05)
            now = part.book.stat().st_size if part.book.exists() else 0
            if now != size:
                size = now
                self.write()
        return code

    def write(self) -> None:
        """The report, the notes and the logs."""
        out: Path = self.asked.out
        notes = {
            part.number: {"seconds": round(part.seconds, 1), "troubles": part.troubles, "notes": read(part.book)}
            for part in self.parts
        }
        _replace(out / "gpu.md", self.report())
        _replace(out / "gpu.json", json.dumps(notes, indent=1) + "\n")
        logs = (
            f"==== part {p.number}\n{p.log.read_text(errors='replace')[-500_000:]}\n"
            for p in self.parts
            if p.log.exists()
        )
        _replace(out / "gpu.log", "".join(logs))

    def failures(self) -> Iterator[str]:
        """What went wrong, each with all that is known of it."""
        for part in self.parts:
            for line in read(part.book):
                if line["kind"] == "check" and "**" in line["verdict"]:
                    trace = f"\n\n```\n{line['trace'].strip()}\n```" if line.get("trace") else ""
                    yield f"- part {part.number}, {line['name']}: {line['verdict']} {line['words']}{trace}"
            for words, tail in part.troubles:
                yield f"- part {part.number} {words}" + (f"\n\n```\n{tail.strip()}\n```" if tail else "")

    def report(self) -> str:
        """Failures first, then every check, then the figures."""
        failures = list(self.failures())
        words = [f"# A GPU in a few minutes\n\n    python -m benchmarks.gpu {' '.join(self.asked.words)}\n"]
        words.append(f"{time.monotonic() - self.began:.0f} s in all.\n\n## What went wrong\n")
        words += failures or ["Nothing."]
        checks, tables = [], []
        for part in self.parts:
            latest: dict[str, dict[str, Any]] = {}
            for line in read(part.book):
                if line["kind"] == "check":
                    checks.append([part.number, line["name"], line["verdict"], line.get("seconds", ""), line["words"]])
                elif line["kind"] == "table":
                    latest[line["title"]] = line
            tables += latest.values()
        rows = [[str(cell).replace("|", "/").replace("\n", " ") for cell in row] for row in checks]
        words.append("\n## Checks\n\n" + table(["part", "check", "", "s", ""], rows))
        for found in tables:
            said = f"{found['words']}\n\n" if found["words"] else ""
            words.append(f"\n## {found['title']}\n\n{said}{table(found['head'], found['rows'])}")
        suspects = [
            f"    {part.number}: {line[:240]}"
            for part in self.parts
            if part.log.exists()
            for line in part.log.read_text(errors="replace").splitlines()
            if any(sign in line for sign in SUSPECT)
        ]
        words.append("\n## Lines of the log to look at\n\n" + ("\n".join(suspects[:40]) or "None."))
        return "\n".join(words) + "\n"


def say(words: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {words}", flush=True)


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.gpu"
    )
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), metavar="1,2,…")
    parser.add_argument("--only", default="", metavar="WORDS", help="only checks in whose name these words are")
    parser.add_argument("--toy", action="store_true", help="models small enough for a CPU")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu")
    asked = parser.parse_args(words)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there are the parts {', '.join(PARTS)}, not {', '.join(unknown)}")
    where = words.index("--out") if "--out" in words else len(words)
    asked.words = [*words[:where], *words[where + 2 :]]
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked


def run(asked: argparse.Namespace) -> tuple[Path, list[str]]:
    """Do it, print the report, and return where it lies and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Run(asked, Path(folder))
        whole.go()
        text, failures = whole.report(), list(whole.failures())
    print(text if len(text) < PRINTED else f"{text[:PRINTED]}\n… the rest is in gpu.md")
    return asked.out / "gpu.md", failures


if __name__ == "__main__":
    sys.exit(bool(run(arguments(sys.argv[1:]))[1]))
