"""The engine process: reads orders from standard input, paints, and writes what happened to standard output.

Started as `python -m bot.engine.process` by `local.py`. A reader thread takes frames off the pipe at once, so
that a cancel arrives between two steps and the process ends the moment the bot does.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from bot.config import EngineConfig, ModelConfig
from bot.engine.wire import Frame, read_frame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, JobId
from bot.logs import setup_logging

if TYPE_CHECKING:
    from bot.engine.pipelines import Studio

EXIT_DEVICE_LOST = 70
"""The device is in a state only a new process can leave (EX_SOFTWARE of BSD's sysexits.h)."""


class Inbox:
    """Frames from the bot: orders in a queue, cancellations in a set."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._orders: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._cancelled: set[tuple[JobId, int]] = set()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Frame | None:
        """Wait for the next order that nobody cancelled; None when the bot asks to stop."""
        while True:
            frame = self._orders.get()
            if frame.kind == "stop":
                return None
            if _key(frame) not in self._cancelled:
                return frame
            self._cancelled.discard(_key(frame))

    def take_cancelled(self, key: tuple[JobId, int]) -> bool:
        """Whether the order was cancelled; asks once."""
        if key not in self._cancelled:
            return False
        self._cancelled.discard(key)
        return True

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._stream)) is not None:
                if frame.kind == "cancel":
                    self._cancelled.add(_key(frame))
                else:
                    self._orders.put(frame)
        finally:
            # The pipe ends when the bot does, however it ended. Nobody is left to paint for.
            os._exit(0)


def _key(frame: Frame) -> tuple[JobId, int]:
    return JobId(frame.fields["job_id"]), frame.fields["attempt"]


def _about(frame: Frame) -> dict[str, Any]:
    """The fields by which the bot knows which order an answer belongs to."""
    return {"job_id": frame.fields["job_id"], "attempt": frame.fields["attempt"]}


def serve(stdin: BinaryIO, send: Callable[[Frame], None]) -> None:
    """Set up as the first frame says, then paint until told to stop."""
    setup = read_frame(stdin)
    if setup is None:
        return
    inbox = Inbox(stdin)
    setup_logging(setup.fields["log_level"])
    models = [ModelConfig(**fields) for fields in setup.fields["models"]]
    settings = EngineConfig(**setup.fields["engine"])

    # Ten seconds and 400 MB: after the pipe is watched, so that the bot may leave meanwhile.
    from bot.engine.pipelines import Studio

    try:
        studio = Studio(models, settings)
    except PaintFailed as failure:
        reason = str(failure)
        send(Frame("ready", {"troubles": {"": reason}, "device": "none"}))
        while (order := inbox.next()) is not None:
            send(Frame("failed", {**_about(order), "reason": reason}))
        return
    troubles = {}
    try:
        studio.load(models[0].name)
    except PaintFailed as error:
        troubles[models[0].name] = str(error)
    machine = studio.machine
    send(Frame("ready", {"troubles": troubles, "device": f"{machine.device}, {machine.dtype}"}))

    while (order := inbox.next()) is not None:
        _paint(order, studio, inbox, send)


def _paint(order: Frame, studio: Studio, inbox: Inbox, send: Callable[[Frame], None]) -> None:
    """Paint one order and send what becomes of it; a cancelled one ends in silence."""
    from bot.engine.pipelines import Stopped

    key = _key(order)
    about = _about(order)

    def on_step(step: int, of: int) -> None:
        if inbox.take_cancelled(key):
            raise Stopped
        send(Frame("progress", {**about, "step": step, "of": of}))

    send(Frame("started", about))
    try:
        images, model_hash = studio.paint(GenerationRequest(**order.fields["request"]), on_step)
    except Stopped:
        return
    except PaintFailed as error:
        send(Frame("failed", {**about, "reason": str(error)}))
    except RuntimeError as error:
        # After a CUDA error every later call in this process fails too.
        if "CUDA error" in str(error):
            raise SystemExit(EXIT_DEVICE_LOST) from error
        raise
    else:
        facts = [
            {"seed": i.seed, "width": i.width, "height": i.height, "sha256": i.sha256, "size": len(i.png)}
            for i in images
        ]
        body = b"".join(image.png for image in images)
        send(Frame("finished", {**about, "images": facts, "model_hash": model_hash}, body))
    inbox.take_cancelled(key)


def main() -> None:
    """Run the engine on this process's standard input and output."""
    # Ctrl-C reaches the whole terminal; when to stop is the bot's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames go out through a copy of standard output; whatever a library prints lands in the log instead.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(frame: Frame) -> None:
        output.write(frame.encode())
        output.flush()

    serve(sys.stdin.buffer, send)


if __name__ == "__main__":
    main()
