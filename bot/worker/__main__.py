"""The engine process: reads orders from standard input, paints, and writes what happened to standard output.

Started as `python -m bot.worker` by `local.py`. A reader thread takes frames off the pipe at once, so
that a cancel arrives between two steps and the process ends the moment the bot does. What is painted, and together
with what, is decided in `loop.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from bot.config import EngineConfig, ModelConfig
from bot.engine.timing import Timings
from bot.engine.wire import (
    FailedFrame,
    Frame,
    Inbox,
    ReadyFrame,
    SetupFrame,
    StopFrame,
    SubmitFrame,
    encode,
    read_frame,
)
from bot.errors import PaintFailed
from bot.logs import setup_logging

log = logging.getLogger(__name__)

EXIT_DEVICE_LOST = 70
"""The device is in a state only a new process can leave (EX_SOFTWARE of BSD's sysexits.h)."""


def _watch(stream: BinaryIO, inbox: Inbox) -> None:
    """Put the bot's frames into the inbox until its pipe ends, and with it this process."""
    code = 0
    try:
        while (frame := read_frame(stream)) is not None:
            inbox.put(frame)
    except Exception as error:  # noqa: BLE001 - it is logged, and the bot starts another engine
        # Only the kind of the error, because a frame holds what people wrote.
        log.error("the engine cannot read what the bot sent: %s", type(error).__name__)  # noqa: TRY400
        code = 1
    finally:
        # The pipe ends with the bot, also when the bot was killed. Then there is nothing left to paint for.
        os._exit(code)


def serve(stdin: BinaryIO, send: Callable[[Frame], None]) -> None:
    """Set up as the first frame says, then paint until told to stop."""
    setup = read_frame(stdin)
    if not isinstance(setup, SetupFrame):
        return
    inbox = Inbox()
    threading.Thread(target=_watch, args=(stdin, inbox), name="inbox", daemon=True).start()
    setup_logging(setup.log_level)
    models = [ModelConfig(**fields) for fields in setup.models]
    settings = EngineConfig(**setup.engine)

    # Ten seconds and 400 MB: after the pipe is watched, so that the bot may leave meanwhile.
    from bot.worker.device_errors import is_device_lost
    from bot.worker.loop import WorkerLoop
    from bot.worker.pipelines import ModelStore

    try:
        store = ModelStore(models, settings)
    except PaintFailed as error:
        _refuse_everything(inbox, send, str(error))
        return
    troubles = {}
    try:
        store.load(models[0].name)
    except PaintFailed as error:
        troubles[models[0].name] = str(error)
    timings = Timings(store.machine.name, settings.rows)
    timings.load(setup.timings)
    send(ReadyFrame(troubles, store.machine.name))
    try:
        WorkerLoop(
            store,
            inbox,
            send,
            settings.rows,
            timings,
            alone=settings.reproducible,
            preview_seconds=settings.preview_seconds,
        ).run()
    except RuntimeError as error:
        if is_device_lost(error):
            raise SystemExit(EXIT_DEVICE_LOST) from error
        raise


def _refuse_everything(inbox: Inbox, send: Callable[[Frame], None], reason: str) -> None:
    """Answer every order with the reason why this machine cannot paint at all."""
    send(ReadyFrame({"": reason}, "none"))
    while True:
        for frame in inbox.take(wait=True):
            if isinstance(frame, StopFrame):
                return
            if isinstance(frame, SubmitFrame):
                send(FailedFrame(frame.job_id, frame.attempt, reason))


def main() -> None:
    """Run the engine on this process's standard input and output."""
    # Ctrl-C reaches the whole terminal; when to stop is the bot's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames go out through a copy of standard output; whatever a library prints lands in the log instead.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    turn = threading.Lock()

    def send(frame: Frame) -> None:
        with turn:
            output.write(encode(frame))
            output.flush()

    code = 0
    try:
        serve(sys.stdin.buffer, send)
    except SystemExit as error:
        code = EXIT_DEVICE_LOST if error.code else 0
    except Exception:
        log.exception("the engine process ends on a bug")
        code = 1
    # An ordinary end would wait for the reader's thread, which holds standard input, and abort.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
