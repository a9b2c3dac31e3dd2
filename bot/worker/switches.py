"""What can be switched on in a module so that it runs faster on a GPU: each is used once it was shown to be right.

A module is loaded with everything off, but for what this machine has shown before. Its first forward is run without and
with each switch on the same inputs; a wrong or slower one, or one without effect, stays off (`proving.py`). Imported in
the engine process only.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch.utils.weak import WeakIdKeyDictionary

from bot.engine.calibration import Comparison, Subject
from bot.engine.timing import DECODE
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.kernels import Kernel, KernelTrace
from bot.worker.library_errors import told
from bot.worker.proving import Prover, apart
from bot.worker.rows import Parked, pad, rebuild, tensors

log = logging.getLogger(__name__)

ENCODE = "encode"
TRIAL_ROWS = 8
"""Rows of a trial: with fewer, a GPU waits for Python, and the times say nothing about its kernels."""
TRIAL_SIDES = {DECODE: 64, ENCODE: 512}
"""A VAE is tried on a part of the picture of at most so many latents or pixels, so that it takes little memory."""
_PARTS = {DECODE: "VAE", ENCODE: "VAE encoder"}
"""What people call the parts whose names say little."""
FUSED = "fused attention projections"

Change = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of a module that leaves its results as they are, but for rounding.

    `off` undoes `on`, and both may be repeated. `fits` says whether it is for a module. `keep` is called when it was
    tried with success, and then it is not switched off any more.
    """

    name: str
    parts: frozenset[str]
    on: Change
    off: Change
    fits: Callable[[Any], bool]
    keep: Change = lambda _module: None


def lay_out(module: Any) -> None:
    """Use the channels-last format, which is fast on tensor cores."""
    module.to(memory_format=torch.channels_last)


def fuse(module: Any) -> None:
    """Compute query, key and value of plain attention in one product."""
    if not _is_fused(module):
        module.fuse_qkv_projections()


def unfuse(module: Any) -> None:
    """Undo `fuse`."""
    if not _is_fused(module):
        return
    module.unfuse_qkv_projections()
    for attention in _attentions(module):
        attention.fused_projections = False
        for name in ("to_qkv", "to_kv"):
            if hasattr(attention, name):
                delattr(attention, name)


def drop_unfused(module: Any) -> None:
    """Free the projections of which only the fused copy runs."""
    for attention in _attentions(module):
        for name in ("to_q", "to_k", "to_v") if not attention.is_cross_attention else ("to_k", "to_v"):
            if hasattr(attention, name):
                delattr(attention, name)


_LAYOUT = Switch(
    "channels-last convolutions",
    frozenset({"unet", "controlnet", DECODE, ENCODE}),
    lay_out,
    lambda module: module.to(memory_format=torch.contiguous_format),
    # Not for video models, whose convolutions have five axes.
    lambda module: {parameter.ndim for parameter in module.parameters()} <= {0, 1, 2, 3, 4},
)
_FUSED_UNET = Switch(FUSED, frozenset({"unet"}), fuse, unfuse, lambda module: _is_plain(module), drop_unfused)
# The encoder is tried later than the decoder, and for that it must be possible to switch it off again.
_FUSED_VAE = Switch(FUSED, frozenset({DECODE, ENCODE}), fuse, unfuse, lambda module: _is_plain(module))


def half_precision(dtype: torch.dtype) -> Switch:
    """A VAE that decodes and encodes in a dtype instead of single precision."""
    return Switch(
        "half precision",
        frozenset({DECODE, ENCODE}),
        lambda module: module.to(dtype),
        lambda module: module.float(),
        lambda module: not (dtype is torch.float16 and module.config.get("force_upcast")),
    )


def switches_for(device: str, dtype: torch.dtype) -> tuple[Switch, ...]:
    """What may help on a device; nothing on a CPU."""
    half = (half_precision(dtype),) if device != "cpu" and dtype in (torch.float16, torch.bfloat16) else ()
    return (*half, _LAYOUT, _FUSED_UNET, _FUSED_VAE) if device == "cuda" else half


@dataclass(slots=True)
class _Adopted:
    """A module of a model, the switches that fit it, and the parts of it that were tried."""

    subject: Subject
    switches: tuple[Switch, ...]
    tried: set[str] = field(default_factory=set)


class Switches:
    """The modules that were loaded, and what is on in each."""

    def __init__(
        self, prover: Prover, switches: Sequence[Switch] = (), *, rows: int = TRIAL_ROWS, trying: bool = True
    ) -> None:
        """Offer these switches to every module; no forward of a trial has more than `rows` rows.

        Without `trying` all are off for good, so that a request always gets the same pixels.
        """
        self._prover = prover
        self._switches = tuple(switches)
        self._rows = min(rows, TRIAL_ROWS)
        self._trying = trying
        self._adopted: MutableMapping[Any, _Adopted] = WeakIdKeyDictionary()

    @property
    def can_try(self) -> bool:
        """Whether there is anything to try on this device."""
        return self._trying and bool(self._switches)

    def subject_of(self, module: Any) -> Subject:
        """The model that a module belongs to."""
        adopted = self._adopted.get(module)
        return adopted.subject if adopted is not None else Subject()

    def adopt(self, subject: Subject, module: Any, parts: Sequence[str], *, without: Sequence[str] = ()) -> None:
        """Take a module that was loaded, with everything off, and switch on what was shown to be right before.

        `without` names switches that are not for this model.
        """
        fitting = []
        for switch in self._switches:
            if switch.parts & set(parts) and switch.name not in without and switch.fits(module):
                fitting.append(switch)
                things = [_thing(switch, part) for part in parts if part in switch.parts]
                trusted = [self._prover.is_trusted(subject, thing) for thing in things]
                is_refused = any(self._prover.refusal(subject, thing) for thing in things)
                if self._trying and any(trusted) and not is_refused:
                    _change(module, switch.on, switch.keep)
                else:
                    _change(module, switch.off)
        self._adopted[module] = _Adopted(subject, tuple(fitting))

    def ready(self, parked: Parked, leaves: Sequence[Any]) -> Sequence[Any]:
        """The leaves for the next forward of a module, which is tried first if it was not yet."""
        adopted = self._adopted.get(parked.module)
        if adopted is None:
            return leaves
        if parked.part not in adopted.tried:
            adopted.tried.add(parked.part)
            if waiting := self._untried(adopted, parked.part):
                self._try(adopted, waiting, parked, leaves)
        return _in_dtype_of(parked, leaves) if parked.single else leaves

    def _untried(self, adopted: _Adopted, part: str) -> list[Switch]:
        """The switches of a module that are still to be tried on this part of it, and that no part has refused."""
        return [
            switch
            for switch in adopted.switches
            if self._trying
            and part in switch.parts
            and not self._prover.is_trusted(adopted.subject, _thing(switch, part))
            and not any(self._prover.refusal(adopted.subject, _thing(switch, other)) for other in switch.parts)
        ]

    def _try(self, adopted: _Adopted, waiting: Sequence[Switch], parked: Parked, leaves: Sequence[Any]) -> None:
        """Try the switches one after the other, each beside those that are on; at most a few seconds."""
        for switch in waiting:
            _change(parked.module, switch.off)
        try:
            run = partial(_run, parked, self._sample(parked, leaves))
            plain, seconds = self._prover.measure(run)
            seen = _traced(run)
        except Exception as error:
            if is_device_lost(error):
                raise
            # The plain forward fails, perhaps only in the rows of a trial. It runs as it is, and says so itself.
            log.warning("nothing can be tried for the %s: %s", _PARTS.get(parked.part, parked.part), told(error))
            traceback.clear_frames(error.__traceback__)
            return
        for switch in waiting:
            found: list[Any] = [seconds, seen]

            def compare(switch: Switch = switch, found: list[Any] = found) -> Comparison | None:
                before, kernels = found
                _change(parked.module, switch.on)
                found[1] = _traced(run)
                fast, found[0] = self._prover.measure(run)
                far = apart(plain, fast)
                if far is None:
                    return None
                return Comparison(*far, plain_seconds=before, fast_seconds=found[0], has_effect=found[1] != kernels)

            is_on = False
            try:
                is_on = self._prover.prove(adopted.subject, _thing(switch, parked.part), compare)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)
                log.warning("memory is too short to try %s", _thing(switch, parked.part))
            finally:
                if not is_on:
                    _change(parked.module, switch.off)
            if is_on:
                _change(parked.module, switch.keep)
                seconds, seen = found

    def _sample(self, parked: Parked, leaves: Sequence[Any]) -> list[Any]:
        """The inputs of a trial: rows enough to keep a GPU busy, or a part of a picture."""
        if parked.single:
            side = TRIAL_SIDES.get(parked.part)
            return [
                leaf[..., :side, :side].contiguous() if isinstance(leaf, torch.Tensor) and leaf.ndim > 3 else leaf
                for leaf in leaves
            ]
        rows = next(leaf.shape[0] for leaf in tensors(list(leaves)) if leaf.ndim > 1)
        return pad(parked, leaves, rows, self._rows) if rows < self._rows else list(leaves)


def _change(module: Any, *changes: Change) -> None:
    """Change a module's parameters, which must not become tensors that only inference can use."""
    with torch.inference_mode(False), torch.no_grad():
        for change in changes:
            change(module)


def _thing(switch: Switch, part: str) -> str:
    return f"{switch.name} of the {_PARTS.get(part, part)}"


def _run(parked: Parked, leaves: Sequence[Any]) -> Any:
    args, kwargs = rebuild(parked.tree, _in_dtype_of(parked, leaves) if parked.single else leaves)
    return parked.function(*args, **kwargs)


def _in_dtype_of(parked: Parked, leaves: Sequence[Any]) -> Sequence[Any]:
    """The leaves in the dtype of a VAE, which may have changed while the call waited."""
    dtype = parked.module.dtype
    floats = [isinstance(leaf, torch.Tensor) and leaf.is_floating_point() for leaf in leaves]
    if all(leaf.dtype is dtype for leaf, is_float in zip(leaves, floats, strict=True) if is_float):
        return leaves
    return [leaf.to(dtype) if is_float else leaf for leaf, is_float in zip(leaves, floats, strict=True)]


def _traced(run: Callable[[], Any]) -> Counter[Kernel]:
    with KernelTrace() as trace:
        run()
    seen: Counter[Kernel] = trace.seen
    return seen


def _attentions(module: Any) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, Attention)]


def _is_fused(module: Any) -> bool:
    return any(getattr(attention, "fused_projections", False) for attention in _attentions(module))


def _is_plain(module: Any) -> bool:
    """Whether all attention is diffusers' plain one."""
    processors = getattr(module, "attn_processors", {}).values()
    return bool(processors) and all(type(processor) is AttnProcessor2_0 for processor in processors)
