"""An engine process that does what engines must not do. Needs no torch.

    python tests/bot/engine/misbehaving_child.py FILE

The file holds one of these words, which the next child may find changed:
well            nothing goes wrong
silent          never says ready and never does anything
hang            starts the order, then says nothing more
hang-after-step takes one step of an order, then says nothing more
hang-later      does its first order, then is as good as dead
load-later      does its first order, then loads a model for long before the next
ignore-sigterm  hang, and SIGTERM does not end it
exit            exits before it is ready
ready-exit      is ready, and exits
trouble         cannot load the first model, and answers orders for another
exit-on-order   takes an order and exits
garbage         answers an order with text
flood           answers an order with text and never stops talking
nonsense        answers an order with a frame that lacks its fields
late            answers an order with the result of an attempt before it, then with its own
slow            takes long for each step
echo            answers an order with the pictures that came with it, as one
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[3]))

from bot.engine.framing import pack
from bot.engine.wire import (
    FinishedFrame,
    Frame,
    LoadingFrame,
    ProgressFrame,
    ReadyFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    encode,
    read_frame,
)
from bot.jobs import Image

SLOW_SECONDS = 0.4

answered: list[SubmitFrame] = []
"""The orders that were begun."""


def write(data: bytes) -> None:
    """Write to the bot."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def send(frame: Frame) -> None:
    """Write a frame."""
    write(encode(frame))


def finish(order: SubmitFrame, png: bytes = b"picture", attempt: int | None = None) -> None:
    """Send the result of an order: one picture."""
    image = Image(png, 1, 8, 8, "")
    send(FinishedFrame(order.job_id, order.attempt if attempt is None else attempt, (image,), "hash"))


def hang() -> NoReturn:
    """Say nothing, for ever."""
    while True:
        signal.pause()


def answer(mode: str, order: SubmitFrame) -> None:
    """Do to an order what the mode says."""
    if mode == "exit-on-order":
        os._exit(3)
    if mode in ("garbage", "flood"):
        sys.stdout.buffer.write(b"Loading pipeline components...: 100%\n" * 100)
        sys.stdout.buffer.flush()
        while mode == "flood":
            sys.stdout.buffer.write(b"x" * 2**16)
    if mode == "nonsense":
        write(pack({"kind": "progress"}))
        return
    if mode == "hang-later" and answered:
        hang()
    if mode == "load-later" and answered:
        send(LoadingFrame())
        time.sleep(SLOW_SECONDS)
    answered.append(order)
    send(StartedFrame(order.job_id, order.attempt))
    if mode == "echo":
        finish(order, b"".join(order.uploads.values()))
        return
    if mode in ("hang", "ignore-sigterm"):
        hang()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send(ProgressFrame(order.job_id, order.attempt, 1, 2))
    if mode == "hang-after-step":
        hang()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send(ProgressFrame(order.job_id, order.attempt, 2, 2))
    if mode == "late":
        finish(order, b"the earlier attempt's picture", order.attempt - 1)
    finish(order)


def main(mode: str) -> None:
    """Serve frames as the mode says."""
    read_frame(sys.stdin.buffer)
    if mode == "exit":
        sys.exit(2)
    if mode == "ignore-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "silent":
        hang()
    send(ReadyFrame({"emoji": "It is broken."} if mode == "trouble" else {}, "none"))
    if mode == "ready-exit":
        os._exit(0)
    while (frame := read_frame(sys.stdin.buffer)) is not None and not isinstance(frame, StopFrame):
        if isinstance(frame, SubmitFrame):
            answer(mode, frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
