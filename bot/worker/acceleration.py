"""How forwards run faster on a GPU: memory layouts, fused matrices, CUDA graphs and compiled code.

A graph replays a forward's kernels with one call of the driver, from inputs that stay where they are. So every forward
is padded to one of a few row counts and copied into the buffers of its graph, and its output is copied out before the
next replay. A forward that cannot be recorded runs without a graph. Only `CudaRecorder` needs CUDA; tests replace it by
another `Recorder`. Imported in the engine process only.
"""

from __future__ import annotations

import logging
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from bot.jobs import Adapters
from bot.worker.device_errors import is_out_of_memory
from bot.worker.library_errors import told
from bot.worker.rows import Parked, first_rows, pad, rebuild, run_eagerly

log = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 6, 8, 12, 16, 24, 32)
"""Row counts that graphs are recorded for; a forward of more rows runs without one."""
GRAPHS = 12
"""How many graphs are kept: the most recently used ones."""
_REMEMBERED = 1000
"""The most kinds of forwards that are remembered; then all are forgotten, because there may be endlessly many."""
_CONVOLUTIONAL = ("unet", "controlnet", "vae")

Function = Callable[[], Any]


class Recorder(Protocol):
    """Records what a function does on the device."""

    def __call__(self, function: Function) -> Function:
        """Run a function once and return one that repeats it with the same input and output buffers."""


class CudaRecorder:
    """Records CUDA graphs itself, because those of torch.compile's `reduce-overhead` belong to one thread.

    All graphs share a pool of memory. That is safe, because only one runs at a time and its output is copied before
    the next one runs: https://docs.pytorch.org/docs/stable/notes/cuda.html#graph-memory-management
    """

    def __init__(self) -> None:
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._alive: WeakSet[Any] = WeakSet()
        self._pool: Any = None

    def __call__(self, function: Function) -> Function:
        """Record after a first run on the same stream, in which the libraries set up their workspaces."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            function()
        torch.cuda.current_stream().wait_stream(self._stream)
        if not self._alive:
            # A pool ends with its last graph.
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            output = function()
        self._alive.add(graph)

        def replay() -> Any:
            graph.replay()
            return output

        return replay


@dataclass(slots=True)
class _Graph:
    """A recorded call of `function`: `inputs` are the buffers it reads, `replay` gives its output."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Any]
    replay: Function
    replays: int = 0
    compiled: bool = False


class Graphs:
    """Runs forwards, with graphs if possible, on the thread that owns the device."""

    def __init__(self, recorder: Recorder | None = None, *, backend: str | Callable[..., Any] | None = None) -> None:
        """Record with `recorder` and compile with `backend`, a backend of torch.compile; None turns either off."""
        self._recorder = recorder
        self._backend = backend
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()

    def __call__(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        """Return the output for these rows (see `rows.Run`). If memory runs out, drop the graphs and try again."""
        try:
            return self._through(parked, leaves, adapters)
        except Exception as error:
            if not self._graphs or not is_out_of_memory(error):
                raise
            # The frames of the traceback keep the forward's tensors in memory.
            traceback.clear_frames(error.__traceback__)
        log.warning("out of memory: all graphs are dropped")
        self.clear()
        return run_eagerly(parked, leaves, adapters)

    def clear(self) -> None:
        """Forget all graphs, and with them the modules they hold in memory."""
        self._graphs.clear()
        self._seen.clear()
        self._refused.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def can_improve(self) -> bool:
        """Whether any graph is left to compile."""
        return bool(self._uncompiled())

    def _uncompiled(self) -> list[_Graph]:
        can = self._recorder is not None and self._backend is not None
        return [graph for graph in self._graphs.values() if can and not graph.compiled]

    def improve(self) -> bool:
        """Compile the graph that is replayed most; returns whether any was left to compile.

        It takes seconds to minutes, and no forward runs meanwhile: torch's compiler cannot share its process with
        forwards in another thread, https://github.com/pytorch/pytorch/issues/118260. So the caller compiles one graph
        at a time, while no request waits.
        """
        waiting = self._uncompiled()
        if self._recorder is None or self._backend is None or not waiting:
            return False
        graph = max(waiting, key=lambda graph: graph.replays)
        function, args, kwargs = graph.function, graph.args, graph.kwargs
        compiled = torch.compile(_apply, backend=self._backend, dynamic=False)
        try:
            # Every graph is another version of the same code, and torch's default limit is 8.
            with torch._dynamo.config.patch(recompile_limit=256), torch.inference_mode():
                graph.replay = self._recorder(lambda: compiled(function, args, kwargs))
        except Exception as error:
            # Most likely this machine has no compiler. The graphs stay as they are.
            log.exception("forwards are not compiled any more, since one could not be")
            traceback.clear_frames(error.__traceback__)
            self._backend = None
        graph.compiled = True
        return True

    def _through(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        rows = len(adapters)
        size = next((bucket for bucket in BUCKETS if bucket >= rows), None)
        # A LoRA's hook makes tensors of its own in every forward; a graph would replay those of the recording.
        if self._recorder is None or parked.single or any(adapters) or size is None or not all(map(_is_static, leaves)):
            return run_eagerly(parked, leaves, adapters)
        padded = pad(parked, leaves, rows, size)
        key = (parked.function, parked.paths, tuple(map(_sign, padded)))
        graph = self._graphs.get(key) or self._record(key, parked, padded)
        if graph is None:
            return run_eagerly(parked, leaves, adapters)
        self._graphs.move_to_end(key)
        for buffer, leaf in zip(graph.inputs, padded, strict=True):
            if isinstance(leaf, torch.Tensor):
                buffer.copy_(leaf)
        graph.replays += 1
        return first_rows(graph.replay(), rows, size)

    def _record(self, key: Hashable, parked: Parked, padded: list[Any]) -> _Graph | None:
        """Record the forward if it can be recorded and was seen before; otherwise return None."""
        if self._recorder is None or key in self._refused:
            return None
        if key not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen.add(key)
            return None
        while len(self._graphs) >= GRAPHS:
            oldest, _ = self._graphs.popitem(last=False)
            self._seen.discard(oldest)
        inputs = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in padded]
        function, (args, kwargs) = parked.function, rebuild(parked.tree, inputs)
        try:
            replay = self._recorder(lambda: function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an error of the forward itself comes again when it runs as it is
            traceback.clear_frames(error.__traceback__)
            log.warning("a forward of %s cannot be recorded and runs as it is: %s", parked.part, told(error))
            if is_out_of_memory(error):
                self.clear()
            self._refused.add(key)
            return None
        graph = self._graphs[key] = _Graph(function, args, kwargs, inputs, replay)
        return graph


def graphs(device: str, *, recording: bool, compiling: bool) -> Graphs:
    """The `Graphs` for a device. Recording can be off, because padding and compiled code round differently."""
    if device != "cuda" or not recording:
        return Graphs()
    return Graphs(CudaRecorder(), backend="inductor" if compiling else None)


def prepare(pipeline: Any, device: str, *, fusing: bool) -> None:
    """Lay out a pipeline that was just loaded for a GPU; does nothing on other devices.

    `fusing` says whether its attention may be fused, which is only right without LoRAs on its projections.
    """
    if device != "cuda":
        return
    torch.set_float32_matmul_precision("high")
    for name in _CONVOLUTIONAL:
        if (module := getattr(pipeline, name, None)) is not None:
            lay_out(module)
    if fusing:
        fuse(pipeline)


def lay_out(module: Any) -> None:
    """Use the channels-last format, which is fast on tensor cores; not for video models, which have five axes."""
    if all(parameter.ndim <= 4 for parameter in module.parameters()):
        module.to(memory_format=torch.channels_last)


def fuse(pipeline: Any) -> None:
    """Compute query, key and value of plain attention in one product, without more memory than before."""
    for name in ("unet", "vae"):
        module: Any = getattr(pipeline, name, None)
        processors = getattr(module, "attn_processors", {}).values()
        if not processors or not all(type(processor) is AttnProcessor2_0 for processor in processors):
            continue
        with torch.no_grad():
            module.fuse_qkv_projections()
        for attention in module.modules():
            if isinstance(attention, Attention):
                # Only the fused copy of these runs.
                del attention.to_k, attention.to_v
                if not attention.is_cross_attention:
                    del attention.to_q


def _apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function that is compiled; it refers to no module."""
    return function(*args, **kwargs)


def _is_static(leaf: Any) -> bool:
    """Whether a graph can take it: a tensor goes into a buffer, a constant into the graph's key."""
    return isinstance(leaf, torch.Tensor | int | float | str | torch.dtype | None)


def _sign(leaf: Any) -> Hashable:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    return type(leaf), leaf
