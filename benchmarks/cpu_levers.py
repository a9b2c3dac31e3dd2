"""What could make a forward of the model in the box faster on the CPU: each lever beside the plain forward.

    python -m benchmarks.cpu_levers [--model FOLDER] [--rounds 5]

One thread, turns interleaved, the CPU time of the best round counts, so that other programs on the machine disturb it
little. A lever is left out where this machine has no instructions for it; bfloat16 without AMX or AVX512-BF16 is
emulated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from benchmarks.report import table
from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of

ROWS = (2, 4, 8, 16, 32)


def inputs(unet: Any, rows: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    torch.manual_seed(0)
    side, config = 32, unet.config
    words = {"encoder_hidden_states": torch.randn(rows, 77, config.cross_attention_dim, dtype=dtype)}
    return {
        "sample": torch.randn(rows, config.in_channels, side, side, dtype=dtype),
        "timestep": torch.tensor(500),
        **words,
    }


class Tuple(torch.nn.Module):
    """The U-Net with positional tensors, as tracing wants it."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.unet(sample, timestep, words, return_dict=False)[0]
        return output


def levers(unet: Any) -> dict[str, Callable[[int], Callable[[], Any]]]:
    """Each lever by its name: it makes a forward of some rows."""

    def plain(module: Any, dtype: torch.dtype = torch.float32) -> Callable[[int], Callable[[], Any]]:
        def make(rows: int) -> Callable[[], Any]:
            arguments = inputs(module, rows, dtype)
            return lambda: module(**arguments)

        return make

    last = deepcopy(unet).to(memory_format=torch.channels_last)
    fused = deepcopy(unet)
    fused.fuse_qkv_projections()

    def frozen(rows: int) -> Callable[[], Any]:
        arguments = tuple(inputs(unet, rows).values())
        with torch.no_grad():
            traced = torch.jit.freeze(torch.jit.trace(Tuple(deepcopy(unet)).eval(), arguments, check_trace=False))
            traced = torch.jit.optimize_for_inference(traced)
            traced(*arguments), traced(*arguments)
        return lambda: traced(*arguments)

    return {
        "float32": plain(unet),
        "channels-last": plain(last),
        "fused query, key and value": plain(fused),
        "bfloat16": plain(deepcopy(unet).to(torch.bfloat16), torch.bfloat16),
        "traced and frozen": frozen,
    }


def measure(unet: Any, rounds: int, counts: Sequence[int] = ROWS) -> str:
    forwards = levers(unet)
    lines = []
    for rows in counts:
        ready = {}
        for name, make in forwards.items():
            try:
                ready[name] = make(rows)
                ready[name]()
            except Exception as error:  # noqa: BLE001 - a lever that cannot run here is said
                ready.pop(name, None)
                print(f"{name}: {type(error).__name__}: {str(error)[:120]}")
        best = dict.fromkeys(ready, float("inf"))
        for _ in range(rounds):
            for name, run in ready.items():
                with torch.inference_mode():
                    started = time.process_time()
                    run()
                    best[name] = min(best[name], time.process_time() - started)
        whole = best["float32"]
        cells = [f"{best[name] / whole:.2f}" if name in best else "" for name in forwards]
        print(rows, {name: round(1000 * seconds / rows, 2) for name, seconds in best.items()}, flush=True)
        lines.append([str(rows), f"{1000 * whole / rows:.2f}", *cells])
    return table(["rows", "float32, ms a row", *forwards], lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path(folder_of(EMBEDDED_MODEL)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    unet = UNet2DConditionModel.from_pretrained(asked.model / "unet", local_files_only=True).eval()
    print(torch.backends.cpu.get_cpu_capability())
    print(measure(unet, asked.rounds, asked.rows))
