"""Paints a picture that no person asked for: what makes a model faster is tried before somebody waits for it."""

from __future__ import annotations

import logging

from bot.errors import PaintFailed
from bot.jobs import GenerationRequest
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Failed
from bot.worker.library_errors import told
from bot.worker.pipelines import ModelStore
from bot.worker.row_policy import PlainRows

log = logging.getLogger(__name__)

STEPS = 3
"""The first forward tries the switches, the second records a graph, and the third replays it."""


def rehearse(store: ModelStore, name: str, rows: int) -> None:
    """Paint in a model's own size, with guidance as people do; a model that cannot is left to its first request.

    Raises what torch raises when the device is lost.
    """
    model = store.rehearsing(name)
    request = GenerationRequest(
        prompt="a picture",
        model=model.name,
        width=model.width,
        height=model.height,
        num_inference_steps=STEPS,
        guidance_scale=model.guidance_scale,
        seed=0,
    )
    try:
        call = Call(
            model.name,
            "",
            store.pipeline(request),
            store.scheduler(request),
            store.arguments(request),
            shape=("", 0, 0),
        )
    except PaintFailed as error:
        log.info("nothing is tried for model %s before its first request: %s", model.name, error)
        return
    batcher = StepBatcher(PlainRows(store.row_loras.on_rows, store.graphs), row_cap=rows)
    batcher.add(call)
    while not batcher.is_idle:
        for _, event in batcher.step():
            if isinstance(event, Failed):
                log.warning("the trial picture of model %s failed: %s", model.name, told(event.error))
