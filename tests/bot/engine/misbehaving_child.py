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
hang-STAGE      hangs in a stage (decode, fetch, load, encode, start, step, finish) of an order whose prompt says so;
                other orders take their first step before that, and the next after it
die-STAGE       the same, but exits there
exit            exits before it is ready
ready-exit      is ready, and exits
trouble         cannot load the first model, and answers orders for another
exit-on-order   takes an order and exits
leave           takes an order and says why it leaves
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
    LeavingFrame,
    ProgressFrame,
    ReadyFrame,
    Stage,
    StageFrame,
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


def begin(stage: Stage, *orders: SubmitFrame, thread: str = "loop", model: str = "") -> None:
    """Say what a thread does now."""
    send(StageFrame(thread, stage, tuple((order.job_id, order.attempt) for order in orders), model))


def finish(order: SubmitFrame, png: bytes = b"picture", attempt: int | None = None) -> None:
    """Send the result of an order: one picture."""
    image = Image(png, 1, 8, 8, "")
    send(FinishedFrame(order.job_id, order.attempt if attempt is None else attempt, (image,), "hash"))


def hang() -> NoReturn:
    """Say nothing, for ever."""
    while True:
        signal.pause()


def stall(mode: str, order: SubmitFrame) -> None:
    """Get as far as the stage that the mode names, with an order that is about that; others are beside it."""
    ending, _, name = mode.partition("-")
    stage = Stage[name.upper()]
    if "trouble" not in order.request.prompt:
        beside.append(order)
        for begun in (Stage.ENCODE, Stage.START, Stage.STEP):
            begin(begun, order)
        send(StartedFrame(order.job_id, order.attempt))
        send(ProgressFrame(order.job_id, order.attempt, 1, 2))
        begin(Stage.REST)
        return
    if stage in (Stage.FETCH, Stage.LOAD):
        begin(stage, thread="fetcher" if stage is Stage.FETCH else "loop", model=order.request.model)
    elif stage in (Stage.DECODE, Stage.FINISH):
        begin(stage, order, thread="beside")
    else:
        begin(stage, order)
    if ending == "die":
        os._exit(3)
    while stage in (Stage.DECODE, Stage.FETCH, Stage.FINISH):
        # Another thread hangs: this one goes on with the others.
        for other in beside:
            begin(Stage.STEP, other)
            send(ProgressFrame(other.job_id, other.attempt, 1, 2))
        time.sleep(0.05)
    hang()


beside: list[SubmitFrame] = []
"""Orders beside the one that stalls."""


def answer(mode: str, order: SubmitFrame) -> None:
    """Do to an order what the mode says."""
    if mode.startswith(("hang-", "die-")) and mode.partition("-")[2].upper() in Stage.__members__:
        stall(mode, order)
        return
    if mode == "exit-on-order":
        os._exit(3)
    if mode == "leave":
        begin(Stage.STEP, order)
        send(LeavingFrame("The host is gone."))
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
        begin(Stage.LOAD, model="another")
        time.sleep(SLOW_SECONDS)
    answered.append(order)
    begin(Stage.START, order)
    send(StartedFrame(order.job_id, order.attempt))
    if mode == "echo":
        finish(order, b"".join(order.uploads.values()))
        begin(Stage.REST)
        return
    if mode in ("hang", "ignore-sigterm"):
        hang()
    begin(Stage.STEP, order)
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send(ProgressFrame(order.job_id, order.attempt, 1, 2))
    begin(Stage.STEP, order)
    if mode == "hang-after-step":
        hang()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)
    send(ProgressFrame(order.job_id, order.attempt, 2, 2))
    if mode == "late":
        finish(order, b"the earlier attempt's picture", order.attempt - 1)
    finish(order)
    begin(Stage.REST)


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
