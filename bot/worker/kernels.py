"""Which kernels really run: what torch dispatches, below everything that may have no effect.

A setting of a library says what was asked for. This says what happened, so a setting without an effect is seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bot import system

_ATTENTION = {
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_flash_attention_for_cpu": "flash on the CPU",
    "_scaled_dot_product_efficient_attention": "memory-efficient",
    "_scaled_dot_product_cudnn_attention": "cuDNN",
    "_scaled_dot_product_fused_attention_overrideable": "fused",
    "_scaled_dot_product_attention_math": "plain",
    "_scaled_dot_product_attention_math_for_mps": "Metal",
    "_softmax": "plain",
    "_safe_softmax": "plain",
}
"""What torch calls the kernels of attention, and what people call them."""
_CONVOLUTIONS = ("convolution", "_convolution", "conv2d", "cudnn_convolution", "mkldnn_convolution")

Kernel = tuple[str, str, str]
"""An operator, the dtype of its first tensor, and that tensor's layout."""


class KernelTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, it counts every operator that torch runs, on this thread."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[Kernel] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.prim.device.default:
            # In inference mode torch leaves it to us to look into what consists of other operators.
            with self:
                output = func.decompose(*args, **(kwargs or {}))
            if output is not NotImplemented:
                return output
        name = func.overloadpacket.__name__
        first = next((leaf for leaf in args if isinstance(leaf, torch.Tensor)), None)
        dtype = "" if first is None else str(first.dtype).removeprefix("torch.")
        self.seen[name, dtype, _layout(first)] += 1
        return func(*args, **(kwargs or {}))


class RunLog:
    """How the forwards of each part ran, and with which kernels where that is observed."""

    def __init__(self) -> None:
        self.is_observing = False
        """Whether the kernels of each model's first forwards are traced, which makes those slower."""
        self._forwards: dict[str, Counter[str]] = defaultdict(Counter)
        self._kernels: dict[str, tuple[str, Counter[Kernel]]] = {}

    def count(self, part: str, how: str) -> None:
        """A forward of a part ran in some way, such as "from a graph"."""
        self._forwards[part][how] += 1

    def observed(self, model: str, part: str, function: Callable[[], Any]) -> Any:
        """Call a function and return its result; if kernels are observed, note those of a model's first call."""
        if not self.is_observing or self._kernels.get(part, ("",))[0] == model:
            return function()
        with KernelTrace() as trace:
            output = function()
        self._kernels[part] = (model, trace.seen)
        return output

    def take(self) -> list[str]:
        """A sentence for each part that ran since the last call."""
        lines = []
        for part, ways in self._forwards.items():
            ran = ", ".join(f"{count} {how}" for how, count in ways.items())
            kernels = f"; {described(self._kernels[part][1])}" if part in self._kernels else ""
            lines.append(f"{part}: forwards: {ran}{kernels}")
        self._forwards.clear()
        return lines


def peak_bytes() -> int:
    """The most memory in use since this was asked last: of the GPU, or on a CPU of this process since it began."""
    if torch.cuda.is_available():
        peak = int(torch.cuda.max_memory_reserved())
        torch.cuda.reset_peak_memory_stats()
        return peak
    return system.peak_bytes()


def described(seen: Counter[Kernel]) -> str:
    """The kernels that decide the time, in words."""
    attention = {_ATTENTION[name] for name, _, _ in seen if name in _ATTENTION}
    convolutions = {f"{layout} in {dtype}" for name, dtype, layout in seen if name in _CONVOLUTIONS}
    parts = []
    if attention:
        parts.append(f"attention: {', '.join(sorted(attention))}")
    if convolutions:
        parts.append(f"convolutions: {', '.join(sorted(convolutions))}")
    return "; ".join(parts) or f"{sum(seen.values())} operators"


def _layout(tensor: Any) -> str:
    if tensor is None or tensor.ndim != 4:
        return ""
    is_last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return "channels-last" if is_last else "channels-first"
