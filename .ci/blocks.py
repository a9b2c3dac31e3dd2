"""Run the shell blocks of the documents, each document in order in a copy of the repository: `python .ci/blocks.py`.

Lines that cannot run everywhere are left out, and listed with the reason. The exit status is 1 if a line fails. With
`--list` it only says what it would do.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "bot/models/*/README.md", "training/README.md")
SHELL = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
SECONDS = 600.0
TIMED_OUT = 124
"""The exit status of lines that took longer, as of the program timeout."""

REASONS = {
    r"pip install|install\.py": "it downloads gigabytes; tests/test_wheel.py installs the wheel",
    r"python3 -m venv": "it would take the place of the environment that runs this",
    r"bin/pytest": "the suite itself runs these tests",
    r"training\.|out/model\.tar": "it trains for hours, or on a GPU",
    r"10\.0\.0\.\d|ports=|RAY_AUTH|ATELIER_RAY": "it needs several hosts; test_cluster.py starts Ray on one",
    r"atelier (try|run)$": "it serves until it is stopped; tests/test_wheel.py and tests/test_run.py start it",
    r"atelier init": "a person puts a token into the file first; tests/test_docs.py runs it with one",
    r"DISCORD_TOKEN_FILE=": "it needs a bot's token and the network",
}
"""What is in the lines that are left out, and why."""


def documents() -> list[Path]:
    """The documents, in order."""
    return [path.relative_to(ROOT) for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


def lines(document: Path) -> Iterator[list[str]]:
    """The lines of each shell block of a document; what is continued by a backslash is one line."""
    for block in SHELL.findall((ROOT / document).read_text(encoding="utf-8")):
        yield block.replace("\\\n", " ").splitlines()


def reason(line: str) -> str | None:
    """Why a line is left out; None if it runs."""
    bare = re.sub(r"\s+#.*", "", line)
    return next((why for pattern, why in REASONS.items() if re.search(pattern, bare)), None)


def copied(folder: Path) -> None:
    """Copy what git tracks or would track into a folder, with the environment."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())


def main(*, only_list: bool) -> int:
    """Return the exit status."""
    failed = 0
    for document in documents():
        with tempfile.TemporaryDirectory() as name:
            for number, block in enumerate(lines(document), start=1):
                run = [line for line in block if reason(line) is None and not line.startswith("cd ")]
                for line in block:
                    if why := reason(line):
                        print(f"left out  {document} {number}: {line.strip()[:70]}\n          {why}")
                if not run:
                    continue
                print(f"runs      {document} {number}: {'; '.join(run)[:100]}", flush=True)
                if only_list:
                    continue
                folder = Path(name) / "copy"
                if not folder.exists():
                    copied(folder)
                status, output = ran(run, folder)
                if status:
                    failed += 1
                    why = f"after {SECONDS:.0f} s" if status == TIMED_OUT else f"with {status}"
                    print(f"FAILED    {why}\n{output[-2000:]}")
    return int(failed > 0)


def ran(run: list[str], folder: Path) -> tuple[int, str]:
    """Run lines in a folder; returns their exit status, TIMED_OUT if they took too long, and what they printed.

    Nothing of what they have started goes on afterwards if they took too long.
    """
    process = subprocess.Popen(
        ["bash", "-euc", "\n".join(run)],
        cwd=folder,
        env={**_environment(), "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return TIMED_OUT, process.communicate()[0]
    return process.returncode, output


def _environment() -> dict[str, str]:
    """The environment without what belongs to a bot on this machine."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DISCORD_", "ATELIER_"))}


if __name__ == "__main__":
    sys.exit(main(only_list="--list" in sys.argv[1:]))
