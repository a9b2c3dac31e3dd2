"""A pipeline's own `__call__` that stops at every heavy module until its output is there.

The call runs on a shallow copy of the pipeline inside a greenlet. The copy's denoiser, ControlNet and VAE are proxies:
a call of one parks the whole pipeline, and `resume` lets it run on to its next heavy call.

Grad mode belongs to the thread, not to the greenlet: a guard around every switch sets it and puts it back, whatever the
pipeline did to it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from copy import copy
from typing import Any

import greenlet  # type: ignore[import-untyped,unused-ignore]
import torch

from bot.engine import Progress
from bot.engine.timing import DECODE
from bot.worker.calls import Call, Failed, Returned
from bot.worker.forwards import own_failure
from bot.worker.rows import Parked, join

log = logging.getLogger(__name__)

_DENOISERS = ("unet", "transformer", "controlnet")


class Stopped(BaseException):
    """Raised inside a call that is cancelled. It is not an Exception, so that no pipeline catches it."""


class PipelineCoroutine:
    """A call of a pipeline; `parked` is the heavy call whose output it waits for.

    The greenlet that starts it must be the one that resumes and stops it.
    """

    def __init__(self, call: Call, tickets: Iterator[int]) -> None:
        """Make a coroutine that is not started; `tickets` numbers the heavy calls of all coroutines by age."""
        self.call = call
        self.parked: Parked | None = None
        self._tickets = tickets
        self._progress: Progress | None = None
        self._greenlet: Any = None

    @property
    def is_started(self) -> bool:
        """Whether the pipeline was called."""
        return self._greenlet is not None

    def start(self) -> Iterator[Progress | Returned | Failed]:
        """Call the pipeline and let it run to its first heavy call or its end."""
        self._greenlet = greenlet.greenlet(lambda _: self._call_pipeline())
        return self.resume()

    def resume(self, output: Any = None, *, error: Exception | None = None) -> Iterator[Progress | Returned | Failed]:
        """Give the pipeline an output or an error, and let it run to its next heavy call or its end.

        Returns the denoising step that it finished, if any, and how it ended, if it did. Raises an error of the device
        that concerns all calls.
        """
        self.parked, self._progress = None, None
        ended: Returned | Failed | None = None
        try:
            with torch.inference_mode():
                returned = self._greenlet.switch(output) if error is None else self._greenlet.throw(error)
        except Exception as failure:  # noqa: BLE001 - the call's own failure, whatever it is
            ended = Failed(own_failure(failure))
        else:
            if self._greenlet.dead:
                ended = Returned(returned)
        return (event for event in (self._progress, ended) if event is not None)

    def stop(self) -> None:
        """Raise Stopped inside the pipeline. If it parks again nevertheless, its greenlet is dropped."""
        if self._greenlet is None or self._greenlet.dead:
            return
        try:
            with torch.inference_mode():
                self._greenlet.throw(Stopped())
        except Stopped:
            log.debug("call %r stopped", self.call.id)
        except Exception:
            # The pipeline failed while it cleaned up. The call is cancelled, so no answer is needed.
            log.exception("call %r failed while it was stopped", self.call.id)

    def park(self, module: Any, method: str, args: Any, kwargs: dict[str, Any], *, part: str, single: bool) -> Any:
        """Wait, inside the pipeline, for a module's output."""
        self.parked = Parked(
            module,
            method,
            (args, kwargs),
            call_id=self.call.id,
            owner=self.call.owner,
            adapters=() if single else self.call.adapters,
            since=next(self._tickets),
            part=part,
            single=single,
        )
        return self._greenlet.parent.switch()

    def _call_pipeline(self) -> Any:
        """Call the pipeline; runs inside the greenlet."""
        view = copy(self.call.pipeline)
        # Bypass the pipeline's own __setattr__, which would write the proxies into its configuration.
        attributes = vars(view)
        attributes["scheduler"] = self.call.scheduler
        for name in _DENOISERS:
            if getattr(view, name, None) is not None:
                attributes[name] = _Denoiser(self, getattr(view, name), name)
        if getattr(view, "vae", None) is not None:
            attributes["vae"] = _Vae(self, view.vae, "vae")
        view.set_progress_bar_config(disable=True)
        arguments = dict(self.call.arguments)
        if "callback_on_step_end" in inspect.signature(view.__call__).parameters:
            theirs = arguments.get("callback_on_step_end")

            def on_step(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                self._progress = Progress(step + 1, pipe.num_timesteps)
                changed: dict[str, Any] = values if theirs is None else theirs(pipe, step, timestep, values)
                return changed

            arguments["callback_on_step_end"] = on_step
        return view(**arguments)


class _Denoiser:
    """A proxy of a denoiser or ControlNet: it looks like the module, but a call of it parks the pipeline."""

    def __init__(self, coroutine: PipelineCoroutine, module: Any, name: str) -> None:
        self._park = coroutine.park
        self._module = module
        self._name = name

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of the module, because pipelines use isinstance."""
        return type(self._module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._park(self._module, "__call__", args, kwargs, part=self._name, single=False)

    def to(self, *_args: Any, **_kwargs: Any) -> Any:
        """Do nothing: SDXL's `force_upcast` would cast the module, but it is shared."""
        return self


class _Vae(_Denoiser):
    """A proxy of a VAE: encoding and decoding park the pipeline, one picture at a time. It casts its inputs."""

    def encode(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self._park(self._module, "encode", (x.to(self.dtype), *args), kwargs, part="encode", single=True)

    def decode(self, z: Any, *args: Any, **kwargs: Any) -> Any:
        pictures = z.to(self.dtype).split(1)
        outputs = [self._park(self._module, "decode", (p, *args), kwargs, part=DECODE, single=True) for p in pictures]
        return join(outputs)
