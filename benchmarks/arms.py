"""The arms: the programs that are compared. They serve a load with the same weights, requests and PNGs."""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks import direct
from benchmarks.loads import Arrival, Desk, Outcome
from bot.config import EngineConfig, ModelConfig
from bot.engine.timing import Timings
from bot.engine.wire import FailedFrame, FinishedFrame, Frame, Inbox, StopFrame, SubmitFrame
from bot.jobs import GenerationRequest, JobId, Shape, UserId
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore

Arm = Callable[[Sequence[Arrival]], Outcome]


class UnavailableError(Exception):
    """An arm cannot run here; says why in a few words."""


class NoKnee(Timings):
    """Timings with which every batch is filled to its cap."""

    def knee(self, shape: Shape) -> int | None:
        return None


class Arms:
    """One model in memory, and the arms that paint with it."""

    def __init__(self, model: ModelConfig, settings: EngineConfig, store: ModelStore | None = None) -> None:
        self.store = store or ModelStore([model], settings)
        self.pipeline = self.store.load(model.name).pipeline
        self.pipeline.set_progress_bar_config(disable=True)
        self.model = model
        self._settings = settings
        self.more: dict[str, Arm] = {}
        """Arms of other programs."""
        # Kept between runs, as the bot keeps them between engines.
        self.timings = Timings(self.store.machine.name, settings.rows)
        self._no_knee = NoKnee(self.store.machine.name, settings.rows)

    @property
    def all(self) -> dict[str, Arm]:
        """Every arm by the name it is chosen by; one that cannot run here raises UnavailableError."""
        return {
            "naive": self.naive,
            "compiled": self.compiled,
            "static": self.static,
            "ours": self.ours,
            "alone": self.alone,
            "no-knee": self.no_knee,
            "direct": self.direct,
            **self.more,
        }

    def naive(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Plain diffusers: the pipeline's own call per request, first come first served."""
        return self._one_by_one(self.pipeline, arrivals)

    def compiled(self, arrivals: Sequence[Arrival]) -> Outcome:
        """The same with the denoiser compiled; the first call of every shape compiles it."""
        if self.store.machine.device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
            raise UnavailableError("no compiler here")
        return self._one_by_one(self._compiled, arrivals)

    def static(self, arrivals: Sequence[Arrival]) -> Outcome:
        """As other servers batch: waiting requests with the same settings are painted in one call."""
        with Desk(self.store, arrivals) as desk, torch.inference_mode():
            waiting: list[int] = []
            while waiting or desk.more:
                waiting += desk.due(wait=not waiting)
                head = desk.request(waiting[0])
                alike = [n for n in waiting if _settings_of(desk.request(n)) == _settings_of(head)]
                group = alike[: max(1, self._settings.rows // head.work.rows)]
                waiting = [n for n in waiting if n not in group]
                self.pipeline.scheduler = self.store.scheduler(head)
                images = self.pipeline(**joined([self.store.arguments(desk.request(n)) for n in group])).images
                for place, number in enumerate(group):
                    desk.hand_in(number, SimpleNamespace(images=images[place : place + 1]))
            return desk.outcome()

    def ours(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Atelier's engine."""
        return self._by_the_loop(arrivals, self.timings)

    def alone(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Atelier's engine without shared forwards, as with `engine.reproducible`."""
        return self._by_the_loop(arrivals, self.timings, alone=True)

    def no_knee(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Atelier's engine with every forward filled to the cap."""
        return self._by_the_loop(arrivals, self._no_knee)

    def direct(self, arrivals: Sequence[Arrival]) -> Outcome:
        """A hand-written loop instead of diffusers' pipelines in coroutines."""
        if not direct.can_paint(self.pipeline):
            raise UnavailableError(f"not written for {type(self.pipeline).__name__}")
        slots = threading.Semaphore(self._settings.slots)
        with Desk(self.store, arrivals) as desk:
            waiting: deque[int] = deque()

            def take(idle: bool) -> list[direct.Painting] | None:
                waiting.extend(desk.due(wait=idle and not waiting))
                taken: list[direct.Painting] = []
                while waiting and slots.acquire(blocking=idle and not taken):
                    number = waiting.popleft()
                    taken.append(direct.Painting(self.store, number, desk.request(number)))
                return taken if taken or waiting or desk.more else None

            direct.serve(
                self.pipeline.unet,
                self._settings.rows,
                take,
                lambda number, output: desk.hand_in(number, output, slots.release),
            )
            return desk.outcome()

    @cached_property
    def _compiled(self) -> Any:
        view = copy(self.pipeline)
        vars(view)["unet"] = torch.compile(self.pipeline.unet, dynamic=False)
        return view

    def _one_by_one(self, pipeline: Any, arrivals: Sequence[Arrival]) -> Outcome:
        with Desk(self.store, arrivals) as desk, torch.inference_mode():
            while desk.more:
                for number in desk.due(wait=True):
                    request = desk.request(number)
                    pipeline.scheduler = self.store.scheduler(request)
                    desk.hand_in(number, pipeline(**self.store.arguments(request)))
            return desk.outcome()

    def _by_the_loop(self, arrivals: Sequence[Arrival], timings: Timings, *, alone: bool = False) -> Outcome:
        """At most `engine.slots` orders are in it together, as the bot's dispatcher has it."""
        slots, inbox, failures = threading.Semaphore(self._settings.slots), Inbox(), list[str]()
        with Desk(self.store, arrivals) as desk:

            def feed() -> None:
                while desk.more:
                    for number in desk.due(wait=True):
                        slots.acquire()
                        arrival = desk.arrival(number)
                        inbox.put(SubmitFrame(JobId(number), 1, UserId(arrival.owner), arrival.request, {}))
                inbox.put(StopFrame())

            def send(frame: Frame) -> None:
                if isinstance(frame, FinishedFrame):
                    desk.note(frame.job_id)
                elif isinstance(frame, FailedFrame):
                    failures.append(frame.reason)
                if isinstance(frame, FinishedFrame | FailedFrame):
                    slots.release()

            feeder = threading.Thread(target=feed, name="feeder")
            feeder.start()
            WorkerLoop(self.store, inbox, send, self._settings.rows, timings, alone=alone).run()
            feeder.join()
            if failures:
                raise RuntimeError(failures[0])
            return desk.outcome()


def _settings_of(request: GenerationRequest) -> GenerationRequest:
    """The settings that one call of a pipeline has for all its prompts."""
    return replace(request, prompt="", negative_prompt="", seed=0)


def joined(calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of one call that paints several requests."""
    joined = dict(calls[0])
    for name, value in calls[0].items():
        if isinstance(value, torch.Tensor):
            joined[name] = torch.cat([call[name] for call in calls])
        elif isinstance(value, list):
            joined[name] = [item for call in calls for item in call[name]]
    return joined
