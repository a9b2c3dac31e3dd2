"""The life of a process that answers one message and ends; `bot/child.py` starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bot.engine import framing


def serve(answer: Callable[[dict[str, Any], bytes], bytes]) -> None:
    """Answer the message on standard input, its header and its body, with bytes on standard output.

    What libraries print goes to standard error.
    """
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    message = framing.read(sys.stdin.buffer)
    if message is not None:
        # A process that was killed meanwhile reads no answer.
        with suppress(BrokenPipeError), output:
            output.write(answer(*message))
