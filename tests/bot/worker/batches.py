"""Requests for a batcher with tiny real pipelines, and how far their pictures are from each other."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from bot.engine import Progress
from bot.engine.catalog import SAMPLERS
from bot.worker.calls import Call, Cancel, Event, Failed, Returned
from tests.bot.worker.scripts import batcher_of, play
from tests.bot.worker.tiny_pipelines import SIDE, Kind, scheduler_for

EXACT = 1e-9
KINDS = ("txt2img", "txt2img sdxl", "img2img", "inpaint 4", "inpaint 9", "controlnet")


@dataclass
class SampleRequest:
    """What somebody asks for."""

    kind: Kind
    sampler: str = "default"
    steps: int = 4
    guidance: float = 5.0
    negative: str | None = None
    seed: int = 1
    side: int = SIDE
    images: int = 1
    latents: bool = True
    prompt: str = "red cat"
    more: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments, with generators nobody used yet."""
        arguments = {
            "prompt": self.prompt,
            "negative_prompt": self.negative,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "num_images_per_prompt": self.images,
            "generator": [torch.Generator().manual_seed(self.seed + n) for n in range(self.images)],
            "output_type": "latent" if self.latents else "pt",
            **self.kind.needs,
            **self.more,
        }
        if self.kind.sizes:
            arguments |= {"width": self.side, "height": self.side}
        return arguments

    def alone(self) -> torch.Tensor:
        """What diffusers paints."""
        pipeline = copy.copy(self.kind.pipeline)
        pipeline.scheduler = scheduler_for(pipeline, self.sampler)
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(**self.arguments()).images
        assert isinstance(images, torch.Tensor)
        return images

    def call(self, call_id: object, owner: object = "ada", **more: Any) -> Call:
        pipeline = self.kind.pipeline
        return Call(call_id, owner, pipeline, scheduler_for(pipeline, self.sampler), self.arguments(), **more)


class Stage:
    """Runs a batcher to the end of a script and keeps what became of everyone."""

    def __init__(self, **options: Any) -> None:
        self.events: dict[object, list[Event]] = defaultdict(list)
        self.batcher = batcher_of(**options)

    def play(self, script: Mapping[int, list[Call | Cancel]] | list[Call]) -> None:
        """Add and cancel before the forwards with these numbers."""
        for call, event in play(self.batcher, script if isinstance(script, Mapping) else {0: script}):
            self.events[call.id].append(event)

    def end(self, call_id: object) -> Event:
        return self.events[call_id][-1]

    def error(self, call_id: object) -> Exception:
        event = self.end(call_id)
        assert isinstance(event, Failed), event
        return event.error

    def images(self, call_id: object) -> torch.Tensor:
        event = self.end(call_id)
        assert isinstance(event, Returned), event
        return event.output.images

    def steps(self, call_id: object) -> list[int]:
        return [event.step for event in self.events[call_id] if isinstance(event, Progress)]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Never NaN, which would pass no comparison but fail none either."""
    assert one.shape == other.shape
    assert one.isfinite().all()
    assert other.isfinite().all()
    return (one - other).abs().max().item()


class Refusing:
    """Stands in for a module's forward: records the rows of each, and does to them what a test wants."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.before: Callable[[int, int], None] = lambda number, rows: None
        self.after: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda sample, output: output
        self._forward = module.forward
        monkeypatch.setattr(module, "forward", self)

    def __call__(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.rows.append(sample.shape[0])
        self.before(len(self.rows) - 1, sample.shape[0])
        output, *rest = self._forward(sample, *args, **kwargs)
        return (self.after(sample, output), *rest)


# ---- the promise ---------------------------------------------------------------------------------------------------


def crowd(kinds: dict[str, Kind], main: str, dice: random.Random) -> dict[str, SampleRequest]:
    """A one for every sampler of a kind, and strangers of all kinds."""
    requests = {}
    strangers = [(kind, sampler) for kind in KINDS for sampler in dice.sample(sorted(SAMPLERS), 2)]
    for number, (name, sampler) in enumerate([*((main, sampler) for sampler in SAMPLERS), *strangers]):
        kind = kinds[name]
        requests[f"{number}: {name}, {sampler}"] = SampleRequest(
            kind,
            sampler,
            steps=dice.randint(3, 6),
            guidance=dice.choice([1.0, 3.0, 7.5]),
            negative=dice.choice([None, "ugly", "low, bad"]),
            seed=dice.randrange(2**32),
            side=dice.choice(kind.sizes or (SIDE,)),
            images=dice.choice([1, 1, 2]) if "img2img" not in name else 1,
            latents=dice.random() < 0.6,
            prompt=dice.choice(["red cat", "old ship", "robot 7"]),
        )
    return requests


class Borrowed:
    """A scheduler that is another's: what every call would have if the batcher let them share."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def embeddings(length: int, seed: int, width: int = 32) -> dict[str, Any]:
    """A prompt and a negative prompt of some length, as a prompt parser gives them."""
    source = torch.Generator().manual_seed(seed)
    names = ("prompt_embeds", "negative_prompt_embeds")
    embeds = {name: torch.randn(1, length, width, generator=source, dtype=torch.float64) for name in names}
    return {"prompt": None, **embeds}
