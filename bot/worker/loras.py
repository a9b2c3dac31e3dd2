"""LoRAs per row: each row of a forward has its own LoRAs and weights. Imported in the engine process only.

diffusers loads the LoRAs through PEFT. PEFT's layers keep the matrices, but are switched off, so they compute what the
plain model does. The LoRAs of a row are added by a hook: x → output + Σ weight · alpha / rank · B(A(x)), as in
https://arxiv.org/abs/2106.09685. PEFT's own `adapter_names` mixes adapters in a batch too, but
only one adapter for each row, with the same weight in all rows.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from bot.config import LoraConfig
from bot.engine.model_files.adapters import check_lora, flat_layers
from bot.engine.model_files.header import read_header
from bot.errors import UnusableFiles
from bot.jobs import Adapters
from bot.worker import checkpoints
from bot.worker.device_errors import is_device_lost
from bot.worker.library_errors import refused

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Applied:
    """The LoRAs of the forward that runs now: for each LoRA its rows and their weights.

    `rows` is the number of rows; None means that all rows use the same LoRAs.
    """

    rows: int | None
    weights: Mapping[str, tuple[Sequence[int], Sequence[float]]]


class RowLoras:
    """Applies LoRAs to the rows of forwards, in the modules of all pipelines; one forward runs at a time."""

    def __init__(self) -> None:
        self._applied = _Applied(None, {})

    def load(
        self, pipeline: Any, loras: Sequence[LoraConfig], check: Callable[[LoraConfig, Path], None] | None = None
    ) -> dict[str, str]:
        """Load LoRAs into a pipeline's modules; returns those that cannot be used, each with the reason.

        `check` raises UnusableFiles for a file that may not be used.
        """
        troubles = {}
        layers = _shapes(pipeline) if loras else {}
        for lora in loras:
            try:
                file = checkpoints.fetch_lora(lora)
                check_lora(read_header(file), layers, file.name)
                if check is not None:
                    check(lora, file)
                with warnings.catch_warnings():
                    # PEFT warns about a second adapter.
                    warnings.simplefilter("ignore", UserWarning)
                    pipeline.load_lora_weights(
                        str(file.parent), weight_name=file.name, adapter_name=lora.name, use_safetensors=True
                    )
                _check(pipeline, lora.name)
            except UnusableFiles as error:
                log.warning("LoRA %s: %s", lora.name, error)
                troubles[lora.name] = str(error)
            except Exception as error:
                if is_device_lost(error):
                    raise
                log.exception("LoRA %s cannot be loaded", lora.name)
                troubles[lora.name] = refused(error)
        for _, layer in _layers(pipeline):
            layer.enable_adapters(False)
            layer.register_forward_hook(self._add)
        return troubles

    @contextmanager
    def on_rows(self, rows: Sequence[Adapters]) -> Iterator[None]:
        """Apply LoRAs, one entry for each row, to the forward that runs within the context."""
        weights: dict[str, tuple[list[int], list[float]]] = {}
        for row, adapters in enumerate(rows):
            for name, weight in adapters:
                numbers, strengths = weights.setdefault(name, ([], []))
                numbers.append(row)
                strengths.append(weight)
        with self._applying(_Applied(len(rows), weights)):
            yield

    @contextmanager
    def on_all(self, adapters: Adapters) -> Iterator[None]:
        """Apply the same LoRAs to all rows of the forwards that run within the context."""
        with self._applying(_Applied(None, {name: ((), (weight,)) for name, weight in adapters})):
            yield

    @contextmanager
    def _applying(self, applied: _Applied) -> Iterator[None]:
        self._applied = applied
        try:
            yield
        finally:
            self._applied = _Applied(None, {})

    def _add(self, layer: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """The forward hook of a layer: add the LoRAs of each row to its output, whose first dimension is the rows."""
        applied = self._applied
        for name, (rows, weights) in applied.weights.items():
            if name not in layer.lora_A:
                continue
            x, scaling = arguments[0], layer.scaling[name]
            if applied.rows is None:
                output = output + _delta(layer, name, x).to(output.dtype) * (scaling * weights[0])
                continue
            if output.shape[0] != applied.rows:
                raise ValueError(f"a layer with a LoRA got {output.shape[0]} rows instead of {applied.rows}")
            index = torch.tensor(rows, device=output.device)
            delta = _delta(layer, name, x[index]).to(output.dtype)
            strength = torch.tensor(weights, device=output.device, dtype=output.dtype) * scaling
            output = output.index_add(0, index, delta * strength.view(-1, *[1] * (delta.ndim - 1)))
        return output


def _delta(layer: Any, name: str, x: torch.Tensor) -> torch.Tensor:
    change: torch.Tensor = layer.lora_B[name](layer.lora_A[name](x.to(layer.lora_A[name].weight.dtype)))
    return change


def _check(pipeline: Any, name: str) -> None:
    """Raise UnusableFiles unless the LoRA fits layers of the model, of a kind that `_add` can compute."""
    layers = [(module, layer) for module, layer in _layers(pipeline) if name in layer.lora_A]
    if not layers:
        raise UnusableFiles(
            "it fits no layer of this model.", "Name it under a model of the kind that it was trained on."
        )
    for module, layer in layers:
        if name in layer.lora_variant or not isinstance(layer.get_base_layer(), torch.nn.Linear | torch.nn.Conv2d):
            raise UnusableFiles(
                "it is of a kind that cannot be applied row by row (DoRA, or not on a linear layer).",
                "Take a plain LoRA instead.",
            )
        for part in (layer.lora_A[name], layer.lora_B[name]):
            part.to(module.device, module.dtype)


def _shapes(pipeline: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the layers of a pipeline without LoRAs, as `adapters.check_lora` names them."""
    return flat_layers(
        {
            f"{part}.{name}": tuple(tensor.shape)
            for part, module in pipeline.components.items()
            if isinstance(module, torch.nn.Module)
            for name, tensor in module.named_parameters()
        }
    )


def _layers(pipeline: Any) -> Iterator[tuple[Any, Any]]:
    """Every layer with LoRAs, with the module it belongs to."""
    for module in pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            yield from ((module, layer) for layer in module.modules() if isinstance(layer, LoraLayer))
