"""The engine process: reads orders from standard input, paints, and writes what happened to standard output.

`bot/engine/local/supervisor.py` starts it as `python -m bot.worker`. A reader thread takes frames off the pipe at once,
so that a cancel arrives between two steps and the process ends together with the bot. `loop.py` decides which orders
are painted together.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bot.config import EngineConfig, ModelConfig
from bot.engine.memory import LIBRARIES
from bot.engine.model_files.known_files import KnownFiles
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
from bot.worker import reveal

if TYPE_CHECKING:
    from bot.worker.cutout import Find

log = logging.getLogger(__name__)

EXIT_DEVICE_LOST = 70
"""Exit code if the device is lost, so that only a new process can paint (EX_SOFTWARE of BSD's sysexits.h)."""


def _watch(stream: BinaryIO, inbox: Inbox, leaving: Callable[[], None] = lambda: None) -> None:
    """Put the bot's frames into the inbox until its pipe ends; then end this process.

    `leaving` is called when the bot stops the engine, or has ended itself.
    """
    code = 0
    try:
        while (frame := read_frame(stream)) is not None:
            if isinstance(frame, StopFrame):
                leaving()
            inbox.put(frame)
        leaving()
    except Exception as error:  # noqa: BLE001 - it is logged, and the bot starts another engine
        # Log only the class of the error, because a frame contains prompts.
        log.error("the engine cannot read what the bot sent: %s", type(error).__name__)  # noqa: TRY400
        code = 1
    finally:
        # The pipe ends with the bot, also if the bot was killed.
        os._exit(code)


def serve(stdin: BinaryIO, send: Callable[[Frame], None]) -> None:
    """Set up as the first frame says, then paint until told to stop."""
    setup = read_frame(stdin)
    if not isinstance(setup, SetupFrame):
        return
    inbox = Inbox()
    # A trial that the bot's end cuts off is not blamed for it.
    excuses: list[Callable[[], None]] = []
    watching = (stdin, inbox, lambda: [excuse() for excuse in excuses])
    threading.Thread(target=_watch, args=watching, name="inbox", daemon=True).start()
    setup_logging(setup.log_level)
    models = [ModelConfig(**fields) for fields in setup.models]
    settings = EngineConfig(**setup.engine)

    reveal(LIBRARIES[way] for model in models for way in model.memory if way in LIBRARIES)
    # These imports take ten seconds and 400 MB. The pipe is watched before, so that the bot can end meanwhile.
    from bot.worker.device_errors import is_device_lost
    from bot.worker.labels import Labels
    from bot.worker.loop import WorkerLoop
    from bot.worker.machine import Machine
    from bot.worker.pipelines import ModelStore

    try:
        labels = Labels(settings, Path(setup.provenance)) if setup.provenance else None
        known = KnownFiles(Path(setup.known_files) if setup.known_files else None)
        machine = Machine.choose(settings, setup.device, setup.sharing)
        calibration = Path(setup.calibration) if setup.calibration else None
        store = ModelStore(models, settings, calibration, labels, known, machine)
    except PaintFailed as error:
        _refuse_everything(inbox, send, error.reason)
        return
    excuses.append(store.graphs.prover.excuse)
    store.graphs.ran.is_observing = setup.observe
    troubles = dict(setup.troubles)
    try:
        store.load(models[0].name)
    except PaintFailed as error:
        troubles[models[0].name] = error.reason
    find = _finder(settings.segmenter)
    timings = Timings(store.machine.name, settings.rows)
    timings.load(setup.timings)
    send(ReadyFrame(troubles, f"{store.machine.name} on {setup.host}" if setup.host else store.machine.name))
    try:
        WorkerLoop(
            store,
            inbox,
            send,
            settings.rows,
            timings,
            alone=settings.reproducible,
            preview_seconds=settings.preview_seconds,
            find=find,
        ).run()
    except RuntimeError as error:
        if is_device_lost(error):
            raise SystemExit(EXIT_DEVICE_LOST) from error
        raise


def _finder(segmenter: str) -> Find | None:
    """The host's model that finds the thing in a picture; None if there is none, or if it cannot be used."""
    if not segmenter:
        return None
    from bot.worker import segmenting

    try:
        return segmenting.load(segmenter).thing
    except PaintFailed as error:
        log.error("%s Things are told from their backgrounds by a threshold instead.", error)  # noqa: TRY400
        return None


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
    # Ctrl-C reaches all processes of the terminal, but the bot decides when the engine stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames are written to a copy of standard output, so that prints of libraries go to the log instead.
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
    # A normal end would wait for the reader's thread, which holds standard input, and abort.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
