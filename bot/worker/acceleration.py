"""How forwards run faster on a GPU: CUDA graphs and compiled code, each once it was shown to be right.

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

from bot.engine.calibration import Comparison, Subject, judge
from bot.jobs import Adapters
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.kernels import RunLog
from bot.worker.library_errors import told
from bot.worker.proving import Prover, apart
from bot.worker.rows import Parked, first_rows, one_row, pad, rebuild, run_eagerly
from bot.worker.switches import Switches, switches_for

log = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 6, 8, 12, 16, 24, 32)
"""Row counts that graphs are recorded for; a forward of more rows runs without one."""
GRAPHS = 12
"""How many graphs are kept: the most recently used ones."""
_REMEMBERED = 1000
"""The most kinds of forwards that are remembered; then all are forgotten, because there may be endlessly many."""
_WORTH = 0.95
"""Twice the rows take less than twice this time where a larger graph is worth recording ahead."""
_GRAPHS = "CUDA graphs"
_COMPILED = "compiled code"

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

    part: str
    subject: Subject
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Any]
    replay: Function
    rows: int
    seconds: float
    replays: int = 0
    tried: bool = False
    """Whether compiled code was tried for it."""
    compiled: bool = False
    """Whether it replays compiled code."""

    def plain(self) -> Any:
        """The output without a graph."""
        return self.function(*self.args, **self.kwargs)

    @property
    def words(self) -> str:
        """The part and the shape of its input, in words."""
        return _described(self.part, self.inputs)


class Graphs:
    """Runs forwards, with graphs if possible, on the thread that owns the device.

    Before a forward is replayed or compiled code is used, its output and its time are compared with the plain
    forward's; so are the switches of a module (`switches.py`).
    """

    def __init__(
        self,
        recorder: Recorder | None = None,
        *,
        backend: str | Callable[..., Any] | None = None,
        prover: Prover | None = None,
        switches: Switches | None = None,
    ) -> None:
        """Record with `recorder` and compile with `backend`, a backend of torch.compile; None turns either off."""
        self._recorder = recorder
        self._backend = backend
        self.prover = prover or Prover()
        self.switches = switches or Switches(self.prover)
        self.ran = RunLog()
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._ahead: OrderedDict[Hashable, tuple[Parked, list[Any]]] = OrderedDict()
        """A call and the leaves of one of its rows, for each kind of forward that may be recorded ahead."""

    def __call__(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        """Return the output for these rows (see `rows.Run`). If memory runs out, drop the graphs and try again."""
        if not any(adapters):
            leaves = self.switches.ready(parked, leaves)
        try:
            return self._through(parked, leaves, adapters)
        except Exception as error:
            if not self._graphs or not is_out_of_memory(error):
                raise
            # The frames of the traceback keep the forward's tensors in memory.
            traceback.clear_frames(error.__traceback__)
        log.warning("out of memory: all graphs are dropped")
        self.clear()
        return self._as_it_is(parked, leaves, adapters)

    def clear(self) -> None:
        """Forget all graphs, and with them the modules they hold in memory."""
        self._graphs.clear()
        self._seen.clear()
        self._refused.clear()
        self._ahead.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def can_prove(self) -> bool:
        """Whether there is anything on this device that has to show that it is right."""
        return self._recorder is not None or self.switches.can_try

    @property
    def can_record_ahead(self) -> bool:
        """Whether a graph may be recorded before it is needed."""
        return bool(self._ahead) and self._recorder is not None

    def record_ahead(self, row_cap: int) -> bool:
        """Record a graph for row counts that did not come yet, fewest first; returns whether any was left.

        No graph makes room for it, and larger ones are not worth their memory where twice the rows take almost twice
        the time. It takes about a second.
        """
        while self._ahead and len(self._graphs) < GRAPHS and _has_room():
            kind, (parked, row) = next(iter(self._ahead.items()))
            for size in BUCKETS:
                padded = pad(parked, row, 1, size)
                key = _key(parked, padded)
                if key in self._graphs or key in self._refused:
                    continue
                if size > row_cap or self._is_saturated(kind):
                    break
                self._seen.add(key)
                with torch.inference_mode():
                    graph = self._record(key, parked, padded)
                if graph is None:
                    self._refused.add(key)
                return True
            self._ahead.pop(kind, None)
        return False

    def _is_saturated(self, kind: Hashable) -> bool:
        """Whether twice the rows gained less than 5 % in rows per second, among the graphs of a kind."""
        known = {graph.rows: graph.seconds for key, graph in self._graphs.items() if _kind(key) == kind}
        return any(
            2 * few <= many and known[many] / many > _WORTH * known[few] / few for few in known for many in known
        )

    @property
    def can_improve(self) -> bool:
        """Whether any graph is left to compile."""
        return bool(self._uncompiled())

    def _uncompiled(self) -> list[_Graph]:
        can = self._recorder is not None and self._backend is not None
        return [
            graph
            for graph in self._graphs.values()
            if can and not graph.tried and not self._refusal(graph.subject, _COMPILED, graph.words)
        ]

    def improve(self) -> bool:
        """Compile the graph that is replayed most; returns whether any was left to compile.

        It takes seconds to minutes, and no forward runs meanwhile: torch's compiler cannot share its process with
        forwards in another thread, https://github.com/pytorch/pytorch/issues/118260. So the caller compiles one graph
        at a time, while no request waits.
        """
        waiting = self._uncompiled()
        if self._recorder is None or self._backend is None or not waiting:
            return False
        graph, recorder = max(waiting, key=lambda graph: graph.replays), self._recorder
        function, args, kwargs = graph.function, graph.args, graph.kwargs
        compiled = torch.compile(_apply, backend=self._backend, dynamic=False)
        made: list[tuple[Function, float]] = []

        def compare() -> Comparison | None:
            plain = graph.plain()
            _, before = self.prover.measure(graph.replay)
            replay = recorder(lambda: compiled(function, args, kwargs))
            fast, seconds = self.prover.measure(replay)
            made.append((replay, seconds))
            return self._unless_slow(graph.subject, _COMPILED, graph.words, apart(plain, fast), before, seconds)

        graph.tried = True
        try:
            # Every graph is another version of the same code, and torch's default limit is 8.
            with torch._dynamo.config.patch(recompile_limit=256), torch.inference_mode():
                if self.prover.prove(graph.subject, _COMPILED, compare):
                    graph.replay, graph.seconds = made[0]
                    graph.compiled = True
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
            log.warning("memory is too short to compile a forward of the %s", graph.words)
        if self.prover.refusal(graph.subject, _COMPILED):
            self._drop(lambda other: other.compiled and other.subject == graph.subject)
        return True

    def _through(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        rows = len(adapters)
        size = next((bucket for bucket in BUCKETS if bucket >= rows), None)
        # A LoRA's hook makes tensors of its own in every forward; a graph would replay those of the recording.
        if self._recorder is None or parked.single or any(adapters) or size is None or not all(map(_is_static, leaves)):
            return self._as_it_is(parked, leaves, adapters)
        padded = pad(parked, leaves, rows, size)
        key = _key(parked, padded)
        graph = self._graphs.get(key) or self._second(key, parked, padded)
        if graph is None:
            return self._as_it_is(parked, leaves, adapters)
        self._graphs.move_to_end(key)
        for buffer, leaf in zip(graph.inputs, padded, strict=True):
            if isinstance(leaf, torch.Tensor):
                buffer.copy_(leaf)
        graph.replays += 1
        self.ran.count(parked.part, "from a compiled graph" if graph.compiled else "from a graph")
        return first_rows(graph.replay(), rows, size)

    def _as_it_is(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        self.ran.count(parked.part, "as they are")
        model = self.switches.subject_of(parked.module).model
        return self.ran.observed(model, parked.part, lambda: run_eagerly(parked, leaves, adapters))

    def _second(self, key: Hashable, parked: Parked, padded: list[Any]) -> _Graph | None:
        """Record the forward if it can be recorded and was seen before; otherwise return None."""
        if key in self._refused:
            return None
        if key in self._seen:
            return self._record(key, parked, padded)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen.add(key)
        if _kind(key) not in self._ahead and not any(_kind(other) == _kind(key) for other in self._graphs):
            if len(self._ahead) >= GRAPHS:
                self._ahead.popitem(last=False)
            self._ahead[_kind(key)] = (parked, one_row(parked, padded))
        return None

    def _record(self, key: Hashable, parked: Parked, padded: list[Any]) -> _Graph | None:
        """Record a forward, and compare its first replays with the plain forward; None if it cannot be trusted."""
        recorder, subject = self._recorder, self.switches.subject_of(parked.module)
        words = _described(parked.part, padded)
        if recorder is None or self._refusal(subject, _GRAPHS, words):
            self._refused.add(key)
            return None
        while len(self._graphs) >= GRAPHS:
            oldest, _ = self._graphs.popitem(last=False)
            self._seen.discard(oldest)
        inputs = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in padded]
        function, (args, kwargs) = parked.function, rebuild(parked.tree, inputs)
        graph = _Graph(parked.part, subject, function, args, kwargs, inputs, _nothing, _rows_of(padded), 0.0)

        def compare() -> Comparison | None:
            try:
                graph.replay = recorder(graph.plain)
                fast, graph.seconds = self.prover.measure(graph.replay)
            except Exception as error:
                if is_out_of_memory(error) or is_device_lost(error):
                    raise
                traceback.clear_frames(error.__traceback__)
                # Other forwards may be recorded all the same.
                self.prover.refuse(subject, f"{_GRAPHS}: {words}", f"it cannot be recorded: {told(error)}")
                return None
            return self._unless_slow(subject, _GRAPHS, words, apart(plain, fast), seconds, graph.seconds)

        try:
            plain, seconds = self.prover.measure(graph.plain)
            is_right = self.prover.prove(subject, _GRAPHS, compare)
        except Exception as error:
            if is_device_lost(error):
                raise
            # An error of the forward itself comes again when it runs as it is.
            traceback.clear_frames(error.__traceback__)
            log.warning("a forward of the %s cannot be recorded and runs as it is: %s", words, told(error))
            if is_out_of_memory(error):
                self.clear()
            self._refused.add(key)
            return None
        if is_right:
            self._graphs[key] = graph
            return graph
        if self._refusal(subject, _GRAPHS, words):
            self._refused.add(key)
        if self.prover.refusal(subject, _GRAPHS):
            # What was wrong once is not trusted elsewhere.
            self._drop(lambda graph: graph.subject == subject)
        return None

    def _drop(self, which: Callable[[_Graph], bool]) -> None:
        for key in [key for key, graph in self._graphs.items() if which(graph)]:
            del self._graphs[key]

    def _refusal(self, subject: Subject, thing: str, words: str) -> str:
        """Why a thing is off, for all forwards of a model or for one of them; empty if it is not."""
        return self.prover.refusal(subject, thing) or self.prover.refusal(subject, f"{thing}: {words}")

    def _unless_slow(
        self, subject: Subject, thing: str, words: str, far: tuple[float, float] | None, before: float, after: float
    ) -> Comparison | None:
        """The comparison; None, and this forward alone is refused, if it is right but slower than before."""
        if far is None:
            return None
        found = Comparison(*far, plain_seconds=before, fast_seconds=after)
        is_right, reason = judge(found)
        if not is_right and found.error <= found.tolerance:
            self.prover.refuse(subject, f"{thing}: {words}", reason)
            return None
        return found


def graphs(
    machine: tuple[str, torch.dtype], prover: Prover, *, recording: bool, compiling: bool, rows: int, trying: bool
) -> Graphs:
    """The `Graphs` for a device and a dtype.

    Recording can be off, because padding and compiled code round differently; without `trying` all switches are off.
    """
    device, dtype = machine
    switches = Switches(prover, switches_for(device, dtype), rows=rows, trying=trying)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    if device != "cuda" or not recording:
        return Graphs(prover=prover, switches=switches)
    return Graphs(CudaRecorder(), backend="inductor" if compiling else None, prover=prover, switches=switches)


def _apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function that is compiled; it refers to no module."""
    return function(*args, **kwargs)


def _is_static(leaf: Any) -> bool:
    """Whether a graph can take it: a tensor goes into a buffer, a constant into the graph's key."""
    return isinstance(leaf, torch.Tensor | int | float | str | torch.dtype | None)


def _key(parked: Parked, padded: Sequence[Any]) -> Hashable:
    return parked.function, parked.paths, tuple(map(_sign, padded))


def _kind(key: Any) -> Hashable:
    """What graphs have in common that differ in their rows alone."""
    function, paths, signs = key
    rowless = [(sign[0][1:], *sign[1:]) if isinstance(sign[0], torch.Size) else sign for sign in signs]
    return function, paths, tuple(rowless)


def _rows_of(padded: Sequence[Any]) -> int:
    return next(leaf.shape[0] for leaf in padded if isinstance(leaf, torch.Tensor) and leaf.ndim > 1)


def _described(part: str, padded: Sequence[Any]) -> str:
    first = next(leaf for leaf in padded if isinstance(leaf, torch.Tensor) and leaf.ndim > 1)
    return f"{part}, {'×'.join(map(str, first.shape))}"


def _has_room() -> bool:
    """Whether a fifth of the device's memory is free, which is left for people's pictures."""
    if not torch.cuda.is_available():
        return True
    free, total = torch.cuda.mem_get_info()
    return free > total / 5


def _nothing() -> None:
    """What a graph replays before it is recorded."""


def _sign(leaf: Any) -> Hashable:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    return type(leaf), leaf
