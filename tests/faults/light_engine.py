"""An engine process without torch: the real pipe, the real frames, flat pictures. Words of a prompt control it:

    python tests/faults/light_engine.py FOLDER

refuse          fails the order
held by NAME    takes its last step once FOLDER/NAME exists
hang once       stops the process the first time; then only SIGKILL ends it
kill once       ends the process the first time
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import struct
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))

from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    ProgressFrame,
    ReadyFrame,
    SetupFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    encode,
    read_frame,
)
from bot.jobs import GenerationRequest, Image, JobId

STEPS = 3
STEP_SECONDS = 0.01
SIDE = 16


@dataclass
class Order:
    """One order and its progress."""

    key: tuple[JobId, int]
    request: GenerationRequest
    step: int = 0


def main(folder: Path) -> NoReturn:
    """Paint orders, one step of each in turn, until the pipe ends."""
    inbox = Inbox()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    orders: dict[tuple[JobId, int], Order] = {}
    while True:
        for frame in inbox.take(wait=not orders):
            match frame:
                case StopFrame():
                    os._exit(0)  # a normal exit would wait for the thread that reads the pipe
                case SetupFrame():
                    _send(ReadyFrame({}, "none"))
                case CancelFrame():
                    orders.pop((frame.job_id, frame.attempt), None)
                case SubmitFrame():
                    key = (frame.job_id, frame.attempt)
                    orders[key] = Order(key, frame.request)
        for key, order in list(orders.items()):
            if _ends(order, folder):
                del orders[key]
        if orders:
            time.sleep(STEP_SECONDS)


def _ends(order: Order, folder: Path) -> bool:
    """Take a step of an order; returns whether it was the last."""
    prompt = order.request.prompt
    if "kill once" in prompt and not (folder / "killed").exists():
        (folder / "killed").touch()
        os._exit(1)
    if "hang once" in prompt and not (folder / "hung").exists():
        (folder / "hung").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    if "refuse" in prompt:
        _send(FailedFrame(*order.key, f"The model refuses {prompt!r}."))
        return True
    held = re.search(r"held by (\w+)", prompt)
    if held and order.step == STEPS - 1 and not (folder / held[1]).exists():
        return False
    if order.step == 0:
        _send(StartedFrame(*order.key))
    order.step += 1
    _send(ProgressFrame(*order.key, order.step, STEPS))
    if order.step < STEPS:
        return False
    pictures = [picture(prompt, seed) for seed in order.request.seeds]
    images = (
        Image(png, seed, SIDE, SIDE, hashlib.sha256(png).hexdigest())
        for seed, png in zip(order.request.seeds, pictures, strict=True)
    )
    _send(FinishedFrame(*order.key, tuple(images), "light"))
    return True


def picture(prompt: str, seed: int) -> bytes:
    """A PNG of one colour, which depends on the prompt and the seed."""
    colour = hashlib.sha256(f"{prompt} {seed}".encode()).digest()[:3]
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + colour * SIDE) * SIDE)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _read(inbox: Inbox) -> None:
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        inbox.put(frame)
    os._exit(0)


def _send(frame: Frame) -> None:
    try:
        sys.stdout.buffer.write(encode(frame))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
