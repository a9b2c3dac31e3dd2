"""How the engine process ends with the pipe from the bot: quietly with the bot, loudly on what it cannot read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bot.engine.framing import pack
from bot.engine.wire import StopFrame, encode

WATCH = "import sys; from bot.worker.__main__ import _watch, Inbox; _watch(sys.stdin.buffer, Inbox())"


def ended(sent: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", WATCH], input=sent, capture_output=True, timeout=60)


def test_the_engine_ends_quietly_with_the_bot() -> None:
    for sent in (b"", encode(StopFrame())):
        process = ended(sent)
        assert (process.returncode, process.stderr) == (0, b"")


@pytest.mark.parametrize(
    "garbage", [b"hello, and more than a header has", encode(StopFrame()) + pack({"kind": "hello"})]
)
def test_what_cannot_be_read_ends_the_engine_with_an_error_and_without_the_words(garbage: bytes) -> None:
    process = ended(garbage)
    assert process.returncode == 1
    assert b"cannot read what the bot sent" in process.stderr
    assert b"hello" not in process.stderr
