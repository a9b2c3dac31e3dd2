"""LoRAs per row: each row of a forward has its own LoRAs and weights. Imported in the engine process only.

diffusers loads them through PEFT, whose layers hold the matrices and are switched off, so that they compute what the
plain model does. What a row wears is added by a hook: x → output + Σ weight · alpha / rank · B(A(x)), as in
https://arxiv.org/abs/2106.09685. PEFT's own `adapter_names` mixes adapters in a batch too, but with one
weight for each adapter and one adapter a row.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
class _Worn:
    """The number of rows, and for each LoRA its rows and their weights; `rows` None means that all rows are alike."""

    rows: int | None
    weights: Mapping[str, tuple[Sequence[int], Sequence[float]]]


class RowLoras:
    """Puts LoRAs on the modules of all pipelines: one forward runs at a time."""

    def __init__(self) -> None:
        self._worn = _Worn(None, {})

    def load(self, pipeline: Any, loras: Sequence[LoraConfig]) -> dict[str, str]:
        """Load LoRAs into a pipeline's modules; returns those that cannot be used, each with the reason."""
        troubles = {}
        layers = _shapes(pipeline) if loras else {}
        for lora in loras:
            try:
                file = checkpoints.fetch_lora(lora)
                check_lora(read_header(file), layers, file.name)
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
        """Apply LoRAs, one entry a row, to the forward within."""
        weights: dict[str, tuple[list[int], list[float]]] = {}
        for row, adapters in enumerate(rows):
            for name, weight in adapters:
                numbers, strengths = weights.setdefault(name, ([], []))
                numbers.append(row)
                strengths.append(weight)
        with self._wearing(_Worn(len(rows), weights)):
            yield

    @contextmanager
    def on_all(self, adapters: Adapters) -> Iterator[None]:
        """Apply the same LoRAs to every row of the forwards within."""
        with self._wearing(_Worn(None, {name: ((), (weight,)) for name, weight in adapters})):
            yield

    @contextmanager
    def _wearing(self, worn: _Worn) -> Iterator[None]:
        self._worn = worn
        try:
            yield
        finally:
            self._worn = _Worn(None, {})

    def _add(self, layer: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """Add to a layer's output what the LoRAs of its rows say; rows are its first dimension."""
        worn = self._worn
        for name, (rows, weights) in worn.weights.items():
            if name not in layer.lora_A:
                continue
            x, scaling = arguments[0], layer.scaling[name]
            if worn.rows is None:
                output = output + _delta(layer, name, x).to(output.dtype) * (scaling * weights[0])
                continue
            if output.shape[0] != worn.rows:
                raise ValueError(f"a layer with a LoRA got {output.shape[0]} rows instead of {worn.rows}")
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
                "it is of a kind that cannot be worn row by row (DoRA, or not on a linear layer).",
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
