"""The lives of processes that answer messages: one message and then end, or all of them until the pipe ends.

`bot/child.py` starts them. What libraries print goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from bot.engine import framing

Answer = Callable[[dict[str, Any], bytes], bytes]
"""What makes an answer, as bytes, of the header and the body of a message."""


def serve(answer: Answer) -> None:
    """Answer the message on standard input with bytes on standard output."""
    output = _output()
    message = framing.read(sys.stdin.buffer)
    if message is not None:
        # A process that was killed meanwhile reads no answer.
        with suppress(BrokenPipeError), output:
            output.write(answer(*message))


def serve_all(answer: Answer) -> None:
    """Answer each message on standard input, one after the other, until the pipe ends."""
    with _output() as output:
        while (message := framing.read(sys.stdin.buffer)) is not None:
            output.write(answer(*message))
            output.flush()


def _output() -> BinaryIO:
    """A copy of standard output, for answers alone."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output
