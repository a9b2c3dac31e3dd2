"""A process that answers one message."""

from __future__ import annotations

import subprocess
import sys

from bot.engine import framing


def test_a_process_whose_reader_was_killed_ends_without_a_word() -> None:
    code = "from bot.worker.answering import serve; serve(lambda *_: b'x' * 10**6)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(framing.pack({"kind": "sheet"}, b""))
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()
