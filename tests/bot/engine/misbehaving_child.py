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

from bot.engine.wire import Frame, read_frame, uploads_of

SLOW_SECONDS = 0.4

answered: list[Frame] = []
"""The orders that were begun."""


def send(kind: str, order: Frame | None = None, body: bytes = b"", **fields: object) -> None:
    """Write a frame about an order."""
    about = {} if order is None else {"job_id": order.fields["job_id"], "attempt": order.fields["attempt"]}
    sys.stdout.buffer.write(Frame(kind, {**about, **fields}, body).encode())
    sys.stdout.buffer.flush()


def finish(order: Frame, body: bytes = b"picture") -> None:
    """Send the result of an order: one picture."""
    facts = [{"seed": 1, "width": 8, "height": 8, "sha256": "", "size": len(body)}]
    send("finished", order, body, images=facts, model_hash="hash")


def hang() -> NoReturn:
    """Say nothing, for ever."""
    while True:
        signal.pause()


def answer(mode: str, order: Frame) -> None:
    """Do to an order what the mode says."""
    if mode == "exit-on-order":
        os._exit(3)
    if mode in ("garbage", "flood"):
        sys.stdout.buffer.write(b"Loading pipeline components...: 100%\n" * 100)
        sys.stdout.buffer.flush()
        while mode == "flood":
            sys.stdout.buffer.write(b"x" * 2**16)
    if mode == "nonsense":
        send("progress")
        return
    if mode == "hang-later" and answered:
        hang()
    if mode == "load-later" and answered:
        send("loading")
        time.sleep(SLOW_SECONDS)
    answered.append(order)
    send("started", order)
    if mode == "echo":
        finish(order, b"".join(uploads_of(order).values()))
        return
    if mode in ("hang", "ignore-sigterm"):
        hang()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send("progress", order, step=1, of=2)
    if mode == "hang-after-step":
        hang()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send("progress", order, step=2, of=2)
    if mode == "late":
        earlier = Frame(order.kind, {**order.fields, "attempt": order.fields["attempt"] - 1})
        finish(earlier, b"the earlier attempt's picture")
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
    send("ready", troubles={"emoji": "It is broken."} if mode == "trouble" else {}, device="none")
    if mode == "ready-exit":
        os._exit(0)
    while (frame := read_frame(sys.stdin.buffer)) is not None and frame.kind != "stop":
        if frame.kind == "submit":
            answer(mode, frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
