"""Paints pictures with each model through the real engine, for `atelier doctor --paint`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from bot.app import calibration_of, known_files_of, lock_folder
from bot.config import Config, ModelConfig
from bot.engine import Event, Order, building, catalog
from bot.engine.local import COMMAND, LocalEngine
from bot.engine.local.devices import Place, find_places
from bot.errors import ConfigError, EngineDied, PaintFailed
from bot.findings import CheckStatus, Finding
from bot.jobs import JobId, Operation, UserId
from bot.requests.morphs import FILM_FRAMES
from bot.requests.resolve import usual_request

_PAINT_SECONDS = 1800
_PAINT_STEPS = 8
_LOOK_SECONDS = 0.2


async def painted(config: Config, *, command: Sequence[str] = COMMAND) -> AsyncIterator[Finding]:
    """Paint two pictures with each model through the real engine, and say what ran; Atelier must be stopped."""
    try:
        with lock_folder(config.data):
            for place in await find_places(config.engine):
                async for finding in _painted_at(config, place, command):
                    yield finding
    except ConfigError as error:
        yield Finding("Painting", CheckStatus.BAD, str(error), "Two engines do not fit on one GPU.")


async def _painted_at(config: Config, place: Place, command: Sequence[str]) -> AsyncIterator[Finding]:
    """Paint with each model on one device."""
    calibrated, known = building.calibration_of(calibration_of(config.data), place), known_files_of(config.data)
    ours = config.model_copy(update={"models": config.local_models})
    engine = LocalEngine(ours, command=command, calibration=calibrated, known_files=known, observe=True, place=place)
    running = asyncio.create_task(engine.run())
    try:
        models = catalog.Catalog(config.local_models)
        await asyncio.to_thread(models.look)
        for number, model in enumerate(config.local_models):
            yield await _painted(engine, model, models.operations(model.name), 2 * number + 1, painted_on(place))
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def painted_on(place: Place) -> str:
    """Where something was found out, in words; nothing on a machine of one device."""
    return f" on {place.lane}" if place.device else ""


async def _painted(
    engine: LocalEngine, model: ModelConfig, can: Collection[Operation], first: int, there: str
) -> Finding:
    """Paint the same picture twice: the first time includes loading the model and trying what makes it faster."""
    what = f"Painting with {model.name}{there}"
    request = replace(usual_request(model), prompt="a red apple", num_images_per_prompt=1)
    request = replace(request, num_inference_steps=min(model.steps, _PAINT_STEPS), seed=7)
    if Operation.FILM in can and Operation.TEXT2IMAGE not in can:
        request = replace(request, operation=Operation.FILM, frames=FILM_FRAMES[0])
    elif Operation.IMAGE2FILM in can and Operation.TEXT2IMAGE not in can:
        return Finding(what, CheckStatus.NOTE, "not tried: its films begin with a picture", "Try it with /film.")
    seconds = []
    try:
        async with asyncio.timeout(_PAINT_SECONDS):
            for number in (first, first + 1):
                started = time.monotonic()
                async for _ in _events(engine, Order(JobId(number), 1, request, UserId(0))):
                    pass
                seconds.append(time.monotonic() - started)
    except TimeoutError:
        return Finding(what, CheckStatus.BAD, f"no picture within {_PAINT_SECONDS:.0f} s", "The log says why.")
    except (PaintFailed, EngineDied) as error:
        return Finding(what, CheckStatus.BAD, str(error), "The log has the details.")
    ran = engine.observed.get(model.name)
    words = f"{request.width}×{request.height}, {request.num_inference_steps} steps: {seconds[-1]:.2f} s"
    words += f" (the first time {seconds[0]:.1f} s, with loading and trials)"
    if ran is not None:
        words = ". ".join([f"{words}, {ran.peak_bytes / 2**30:.2f} GiB at most", *ran.ran])
    return Finding(what, CheckStatus.GOOD, words)


async def _events(engine: LocalEngine, order: Order) -> AsyncIterator[Event]:
    """The events of an order. Raises PaintFailed if the engine does not start."""
    ready = asyncio.create_task(engine.ready())
    try:
        while not ready.done():
            if words := engine.troubles.get(""):
                raise PaintFailed(words)
            await asyncio.wait([ready], timeout=_LOOK_SECONDS)
    finally:
        ready.cancel()
    async for event in engine.submit(order):
        yield event
