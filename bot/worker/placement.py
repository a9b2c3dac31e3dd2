"""Where the parts of a model are while it is not painting: on the device, or in the computer's memory until needed.

Weights never change, so a part that leaves the device is not copied back: its parameters point to the copy in the
computer's memory again. Imported in the engine process only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from bot.worker import quantization
from bot.worker.rows import mapped

_BATCHED = ("unet", "transformer", "controlnet", "vae")
"""Parts that the batcher calls; pipelines call the others by themselves."""


class Guest:
    """A module at home in the computer's memory that comes to the device for its forwards."""

    def __init__(self, module: Any, device: str) -> None:
        self.module = module
        self._device = torch.device(device)
        self._home: list[tuple[Any, torch.Tensor]] = []
        self.is_here = False
        """Whether the module is on the device now."""

    def enter(self) -> None:
        """Copy the module's numbers to the device. If memory runs out meanwhile, the module is at home again."""
        if self.is_here:
            return
        self.is_here = True
        try:
            if quantization.is_quantized(self.module):
                # Packed numbers are more than one tensor, which only the library knows.
                self.module.to(self._device)
                return
            # A parameter takes no numbers that were made in inference mode.
            with torch.inference_mode(mode=False):
                for tensor in (*self.module.parameters(), *self.module.buffers()):
                    self._home.append((tensor, tensor.data))
                    tensor.data = self.copied(tensor.data)
        except Exception:
            self.leave()
            raise

    def copied(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the device."""
        return tensor.to(self._device)

    def leave(self) -> None:
        """Forget the copies on the device."""
        if not self.is_here:
            return
        self.is_here = False
        if quantization.is_quantized(self.module):
            self.module.to("cpu")
        for tensor, data in self._home:
            tensor.data = data
        self._home.clear()


class Placement:
    """Keeps the parts of one pipeline where its `memory` setting says; all on the thread that owns the device."""

    def __init__(self, pipeline: Any, savings: Sequence[str], device: str) -> None:
        """Move the parts of a pipeline that was just loaded on the CPU."""
        self._device = device
        self._guests: dict[int, Guest] = {}
        self.offloads = "offload" in savings
        """Whether one part after the other comes to the device."""
        modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
        for name, module in modules.items():
            text = name.startswith("text_encoder")
            if text and "text-on-cpu" in savings:
                _between(module, "cpu", device)
            elif self.offloads or (text and "text-when-needed" in savings):
                guest = self._guests[id(module)] = Guest(module, device)
                if name not in _BATCHED:
                    self._on_call(guest)
            else:
                module.to(device)
        if savings:
            self.claim(pipeline)

    def add(self, module: Any) -> Any:
        """A part that is loaded later, such as a ControlNet, at its place."""
        if not self.offloads:
            return module.to(self._device)
        self._guests[id(module)] = Guest(module, self._device)
        return module

    def claim(self, pipeline: Any) -> None:
        """Let a pipeline with these parts make its tensors on the device, wherever its parts are."""
        device = torch.device(self._device)
        kind = type(pipeline)
        own = {name: property(lambda _self: device) for name in ("device", "_execution_device")}
        pipeline.__class__ = type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})

    def moves(self, module: Any) -> bool:
        """Whether a module is on the device only when it is needed, so that nothing may keep its addresses."""
        return id(module) in self._guests

    @contextmanager
    def present(self, module: Any) -> Iterator[None]:
        """Have a module on the device within the context; with offloading it stays until another one comes."""
        guest = self._guests.get(id(module))
        if guest is None:
            yield
            return
        if self.offloads:
            self.clear(guest)
        guest.enter()
        try:
            yield
        finally:
            if not self.offloads:
                guest.leave()

    def clear(self, but: Guest | None = None) -> None:
        """Send all guests home, but one."""
        for guest in self._guests.values():
            if guest is not but:
                guest.leave()

    def _on_call(self, guest: Guest) -> None:
        """Have a module come whenever it is called."""
        contexts: list[Any] = []

        def before(_module: Any, args: Any, kwargs: Any) -> Any:
            contexts.append(self.present(guest.module))
            contexts[-1].__enter__()
            # Its callers put tensors where it was before.
            return _moved(args, self._device), _moved(kwargs, self._device)

        def after(_module: Any, _arguments: Any, _output: Any) -> None:
            if contexts:
                contexts.pop().__exit__(None, None, None)

        guest.module.register_forward_pre_hook(before, with_kwargs=True)
        guest.module.register_forward_hook(after, always_call=True)


def _between(module: Any, home: str, device: str) -> None:
    """Let a module compute at home with arguments from the device, and give its output there."""

    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        return _moved(args, home), _moved(kwargs, home)

    def after(_module: Any, _arguments: Any, output: Any) -> Any:
        return _moved(output, device)

    module.to(home)
    module.register_forward_pre_hook(before, with_kwargs=True)
    module.register_forward_hook(after)


def _moved(tree: Any, device: str) -> Any:
    return mapped(tree, lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf)
