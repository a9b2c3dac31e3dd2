"""How fast is this device, and what does sharing a batch gain on it? Parts 1 and 3 to 6 of `benchmarks.gpu`.

Models are built on the device, with random weights of the real architecture, and never touch the disk. Naive diffusers
paints with the model as it was built; then it is prepared as the engine prepares one, and the engine paints.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import diffusers
import torch
import transformers

from benchmarks import models, probes
from benchmarks.arms import Arm, Arms
from benchmarks.gpu_child import Book, BrokenError, Scene, SkippedError, release
from benchmarks.gpu_correctness import Again
from benchmarks.loads import Arrival, Outcome, closed, mixed, poisson, quantile
from bot.config import EngineConfig, ModelConfig
from bot.engine.timing import DECODE
from bot.jobs import GenerationRequest
from bot.worker.acceleration import CudaRecorder, Graphs
from bot.worker.checkpoints import Checkpoint
from bot.worker.pipelines import Loaded, Machine, ModelStore
from bot.worker.placement import Placement
from bot.worker.prompts import Prompts
from bot.worker.proving import Prover
from bot.worker.rows import Run, run_eagerly
from bot.worker.switches import switches_for

TFLOP_PER_ROW = {"sd15": 0.803, "sdxl": 6.76}
"""Of one row of a forward at 512 and at 1024 pixels."""
ROWS = {"sd15": (1, 2, 4, 8, 16, 32), "sdxl": (1, 2, 4, 8)}
STEPS = (10, 30)


class Readymade(ModelStore):
    """A store whose one model is in memory already and was never a file."""

    def __init__(self, pipeline: Any, model: ModelConfig, settings: EngineConfig) -> None:
        super().__init__([model], settings)
        # It has no files, and nothing looks for any, because it is in memory.
        files: Any = None
        self._checkpoints[model.name] = Checkpoint("", files, "0" * 64, (), {}, {})
        self.finisher.remember(model.name, type(pipeline.scheduler).__name__, None)
        prompts = Prompts(pipeline, self.row_loras.on_all)
        self._loaded[model.name] = Loaded(
            pipeline, pipeline.scheduler, prompts, Placement(pipeline, model.memory, self.machine.device), {}
        )


class Bench:
    """A large model with random weights, on the device."""

    def __init__(self, kind: str, scene: Scene, *, slots: int = 8) -> None:
        threads = 0 if scene.device == "cuda" else 1
        settings = EngineConfig(device=scene.device, threads=threads, slots=slots, safety="off")
        started = time.monotonic()
        self.scene, self.kind, self.settings = scene, kind, settings
        self.machine = Machine.choose(settings)
        pipeline = models.build(kind, toy=scene.toy, dtype=self.machine.dtype, device=scene.device).to(scene.device)
        side = 64 if scene.toy else 1024 if kind == "sdxl" else 512
        self.model = ModelConfig(name=kind, source="random", width=side, height=side, guidance_scale=5.0)
        self.arms = Arms(self.model, settings, Readymade(pipeline, self.model, settings))
        if scene.device != "cuda":
            self.arms.store.graphs = Graphs(Again(), prover=Prover(clock=lambda: 0.0))
        self.steps = (2, 3) if scene.toy else STEPS
        probes.synchronize()
        self.built = time.monotonic() - started

    def prepare(self) -> None:
        """Lay the model out as the engine does."""
        store, pipeline = self.arms.store, self.arms.pipeline
        for switch in switches_for(self.scene.device, store.machine.dtype):
            for module, part in ((getattr(pipeline, "unet", None), "unet"), (pipeline.vae, DECODE)):
                if module is not None and part in switch.parts and switch.fits(module):
                    switch.on(module)

    def requests(self, count: int) -> list[GenerationRequest]:
        return mixed(self.model, count, self.steps)

    def short(self, request: GenerationRequest) -> GenerationRequest:
        """The same in few steps, to warm up."""
        return replace(request, num_inference_steps=2 if self.scene.toy else 6)

    def sampled(self) -> Outcome:
        """Naive diffusers with a few of the requests, after one to warm up."""
        few = self.requests(4 if self.kind == "sd15" and not self.scene.toy else 2)
        self.arms.naive(closed([self.short(few[0])]))
        return self.arms.naive(closed(few))

    def warmed(self) -> None:
        """Let the engine learn how long forwards take, and record its graphs."""
        count, rounds = (2, 1) if self.scene.toy else (8, 2) if self.kind == "sd15" else (6, 1)
        for _ in range(rounds):
            self.arms.ours(closed([self.short(request) for request in self.requests(count)]))


def machine(book: Book, scene: Scene) -> None:
    """What it is, and what it could do at most."""
    cuda = scene.device == "cuda"
    facts = [
        ["torch", torch.__version__],
        ["CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}"],
        ["diffusers, transformers", f"{diffusers.__version__}, {transformers.__version__}"],
        ["Python, cores, load", f"{platform.python_version()}, {os.cpu_count()}, {os.getloadavg()[0]:.1f}"],
    ]
    if cuda:
        free, total = torch.cuda.mem_get_info()
        facts.append(["device", torch.cuda.get_device_name()])
        facts.append(["memory", f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free"])
        facts.append(
            ["capability, bfloat16", f"{torch.cuda.get_device_capability()}, {torch.cuda.is_bf16_supported()}"]
        )
    facts.append(["driver", _driver()])
    book.table("The machine", ["", ""], facts)
    chosen = Machine.choose(EngineConfig())
    book.check("the engine chooses the device and a dtype", lambda: _chosen(chosen, scene.device))
    found: list[list[Any]] = []

    def ceiling(name: str, measure: Callable[[], str]) -> str:
        found.append([name, measure()])
        book.table("Ceilings", ["", ""], found)
        return found[-1][1]

    dtypes = (torch.bfloat16, torch.float16, torch.float32) if cuda else (torch.float32,)
    for dtype in dtypes:
        name = f"product of matrices, {dtype}".replace("torch.", "")
        book.check(name, lambda dtype=dtype, name=name: ceiling(name, lambda: _product(scene.device, dtype)))
    book.check("copy", lambda: ceiling("copy, read and written", lambda: _copy(scene.device)))


def _chosen(chosen: Machine, device: str) -> str:
    words = f"{chosen.name}, {chosen.threads} threads, {chosen.budget / 2**30:.1f} GiB for models"
    if chosen.device != device or (device == "cuda" and chosen.dtype is torch.float32):
        raise BrokenError(words)
    return words


def _product(device: str, dtype: torch.dtype) -> str:
    return f"{probes.peak_flops(device, dtype) / 1e12:.4g} TFLOP/s"


def _copy(device: str) -> str:
    count = 2**30 if device == "cuda" else 2**22
    source = torch.empty(count, dtype=torch.float32, device=device).normal_()
    target = torch.empty_like(source)
    return f"{8 * count / probes.best_seconds(lambda: target.copy_(source), 5) / 1e9:.4g} GB/s"


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,temperature.gpu", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"not known: {type(error).__name__}"


def curves(book: Book, scene: Scene) -> None:
    """t(B) of SD 1.5."""
    bench = Bench("sd15", scene)
    _curves(book, bench, book.left)


def _curves(book: Book, bench: Bench, seconds: float, *, built: bool = True) -> None:
    """A forward by its rows: as built, unless that is over, laid out for a GPU, and from a graph."""
    measured = probes.Model(bench.arms.store, bench.requests(1)[0])
    graphs = (
        Graphs(CudaRecorder()) if bench.scene.device == "cuda" else Graphs(Again(), prover=Prover(clock=lambda: 0.0))
    )
    taken: dict[str, dict[int, float]] = {}
    counts = ROWS[bench.kind][: 2 if bench.scene.toy else None]
    ends_at = time.monotonic() + seconds

    def measure(name: str, run: Run) -> str:
        for rows in counts:
            if time.monotonic() > ends_at:
                return f"stopped before {rows} rows: the time was spent"
            # The first recorded forward is seen, the second recorded.
            for _ in range(2):
                measured.forward(rows, run)
            once = probes.best_seconds(lambda rows=rows: measured.forward(rows, run), 1)
            more = 1 if bench.scene.toy else max(1, min(10, int(0.3 / once)))
            found = probes.best_seconds(
                lambda rows=rows, more=more: [measured.forward(rows, run) for _ in range(more)], 1
            )
            taken.setdefault(name, {})[rows] = min(once, found / more)
            _tell_curves(book, bench, counts, taken)
        refused = f"; {len(graphs._refused)} refused" if run is graphs else ""
        first, last = taken[name][counts[0]], taken[name][counts[-1]]
        return f"{first * 1e3:.1f} ms for 1 row, {last * 1e3:.1f} for {counts[-1]}{refused}"

    if built:
        book.check(f"{bench.kind}: t(B), as built", lambda: measure("as built", run_eagerly))

    def prepare() -> str:
        bench.prepare()
        return measure("laid out", run_eagerly)

    book.check(f"{bench.kind}: t(B), laid out for a GPU", prepare)
    book.check(f"{bench.kind}: t(B), from a graph", lambda: measure("graph", graphs))

    def decoded() -> str:
        once = probes.best_seconds(measured.decode, 3)
        book.table(f"{bench.kind}: decoding a picture", ["ms"], [[once * 1e3]])
        return f"{once * 1e3:.1f} ms"

    book.check(f"{bench.kind}: decoding", decoded)
    graphs.clear()


def _tell_curves(book: Book, bench: Bench, counts: Sequence[int], taken: dict[str, dict[int, float]]) -> None:
    rows = []
    work = 0.0 if bench.scene.toy else TFLOP_PER_ROW[bench.kind]
    for count in counts:
        cells: list[Any] = [count]
        for name in taken:
            seconds = taken[name].get(count)
            cells += [f"{seconds * 1e3:.2f}", f"{work * count / seconds:.0f}"] if seconds else ["", ""]
        rows.append(cells)
    head = ["rows", *(words for name in taken for words in (f"{name}, ms", "TFLOP/s"))]
    side, built = bench.model.width, f"built in {bench.built:.1f} s, {bench.machine.dtype}"
    book.table(f"{bench.kind} at {side}: a forward of B rows", head, rows, built)


class Closed:
    """A load that waits as a whole at the start, served by one arm after the other."""

    def __init__(self, book: Book, bench: Bench, most: int, share: float) -> None:
        self.book, self.bench = book, bench
        self.served: dict[str, Outcome] = {}
        self.count, self._most, self._share = 0, most, share

    def naive(self) -> str:
        """As many of the requests as fit into a share of the time."""
        few = self.bench.sampled()
        each = few.seconds / len(few.latencies)
        self.count = max(len(few.latencies), min(self._most, int(self._share * self.book.left / each)))
        return self.serve("diffusers, `pipe()` per request", self.bench.arms.naive)

    def ours(self) -> str:
        self._need()
        self.bench.prepare()
        self.bench.warmed()
        words = self.serve("Atelier", self.bench.arms.ours)
        graphs = self.bench.arms.store.graphs
        knee = self.bench.arms.timings.knee(self.bench.requests(1)[0].work.shape)
        return f"{words}; {len(graphs._graphs)} graphs, {len(graphs._refused)} refused; knee: {knee}"

    def again(self) -> str:
        """Our engine when all graphs are recorded."""
        self._need()
        return self.serve("Atelier once more", self.bench.arms.ours)

    def eager(self) -> str:
        """Our engine without graphs."""
        self._need()
        arms = self.bench.arms
        recorded, arms.store.graphs = arms.store.graphs, Graphs()
        try:
            return self.serve("Atelier without graphs", arms.ours)
        finally:
            arms.store.graphs = recorded

    def compiled(self) -> str:
        self._need()
        self.bench.arms.compiled(closed([self.bench.short(r) for r in self.bench.requests(2)]))
        return self.serve("the same, laid out and compiled", self.bench.arms.compiled)

    def serve(self, name: str, arm: Arm) -> str:
        outcome = self.served[name] = arm(closed(self.bench.requests(self.count)))
        naive = next(iter(self.served.values()))
        rows = [
            [
                name,
                f"{o.seconds:.2f}",
                f"{o.per_second:.2f}",
                f"{naive.seconds / o.seconds:.2f}",
                f"{o.latency(0.5):.2f}",
                f"{o.latency(0.95):.2f}",
                f"{o.cpu_seconds:.1f}",
            ]
            for name, o in self.served.items()
        ]
        self.book.table(
            f"{self.bench.kind} at {self.bench.model.width}: {self.count} mixed requests at once",
            ["", "seconds", "pictures/s", "ratio", "p50 s", "p95 s", "CPU s"],
            rows,
            f"{self.bench.steps[0]} to {self.bench.steps[1]} steps, {self.bench.machine.name}",
        )
        return f"{outcome.seconds:.2f} s, {naive.seconds / outcome.seconds:.2f} times naive"

    def _need(self) -> None:
        if not self.served:
            raise SkippedError("naive diffusers was not measured")


def closed_sd15(book: Book, scene: Scene) -> None:
    """Forty-eight mixed requests of SD 1.5."""
    load = Closed(book, Bench("sd15", scene), 3 if scene.toy else 48, 0.3)
    book.check("sd15: naive diffusers, all at once", load.naive)
    book.check("sd15: Atelier, all at once", load.ours)
    book.check("sd15: Atelier once more", load.again, needs=0 if scene.toy else 6)
    book.check("sd15: Atelier without graphs, all at once", load.eager, needs=0 if scene.toy else 8)
    if scene.device == "cuda":
        book.check("sd15: naive diffusers compiled", load.compiled, needs=75)


def sdxl(book: Book, scene: Scene) -> None:
    """t(B) of SDXL, and twelve mixed requests."""
    bench = Bench("sdxl", scene)
    load = Closed(book, bench, 2 if scene.toy else 12, 0.38)
    book.check("sdxl: naive diffusers, all at once", load.naive)
    book.check("sdxl: Atelier, all at once", load.ours)
    bench.arms.store.graphs.clear()
    release()
    _curves(book, bench, book.left - 2, built=False)


def over_time(book: Book, scene: Scene) -> None:
    """Requests that come over time, a flood, and a cancellation."""
    bench = Bench("sd15", scene)
    naive = bench.sampled()
    seconds = max(3.0, 0.2 * book.left) if not scene.toy else 2.0
    rate = 0.8 * naive.per_second
    load = poisson(bench.requests(max(2, min(200, int(rate * seconds)))), rate)
    rows: list[list[Any]] = []

    def serve(name: str, arm: Arm) -> str:
        outcome = arm(load)
        cells = [f"{outcome.latency(0.5):.2f}", f"{outcome.latency(0.95):.2f}", outcome.trend]
        rows.append([name, *cells])
        words = f"{len(load)} requests at {rate:.2f}/s, which is 0.8 of what naive diffusers serves"
        book.table("sd15: requests over time", ["", "p50 s", "p95 s", "the line is"], rows, words)
        return ", ".join(cells)

    book.check("sd15: naive diffusers over time", lambda: serve("diffusers, `pipe()` per request", bench.arms.naive))

    def ours() -> str:
        bench.prepare()
        bench.warmed()
        return serve("Atelier", bench.arms.ours)

    book.check("sd15: Atelier over time", ours)
    book.check("sd15: a cancellation", lambda: _cancelled(book, bench))
    book.check("sd15: one who floods", lambda: _flooded(book, bench), needs=0 if scene.toy else 6)


def _cancelled(book: Book, bench: Bench) -> str:
    usual = replace(bench.requests(1)[0], num_inference_steps=sum(bench.steps) // 2)
    taken = probes.cancellations(bench.arms.store, usual, 2 if bench.scene.toy else 8, 2 if bench.scene.toy else 6)
    most, longest = max(one.steps for one in taken), max(one.seconds for one in taken)
    middle = statistics.median(one.seconds for one in taken)
    head = ["cancelled", "forwards that still began, at most", "median ms", "longest ms"]
    book.table("sd15: a cancellation", head, [[len(taken), most, middle * 1e3, longest * 1e3]])
    words = f"{most} forwards began after it at most, {longest * 1e3:.0f} ms at most"
    if most > 1:
        raise BrokenError(words)
    return words


def _flooded(book: Book, bench: Bench) -> str:
    """Five people ask for a picture each while one has as many as the engine takes, without a line before it."""
    arms = bench.arms
    usual = replace(
        bench.requests(1)[0], num_inference_steps=sum(bench.steps) // 2, guidance_scale=5.0, sampler="default"
    )
    alone = [arms.ours(closed([replace(usual, seed=n)])).latencies[0] for n in range(2)]
    flood = 4 if bench.scene.toy else 32
    span = 2 * max(alone) if bench.scene.toy else 8 * min(alone)
    arrivals = [Arrival(0.0, 1000, replace(usual, seed=n)) for n in range(flood)]
    arrivals += [Arrival(span * (n + 1) / 6, n, replace(usual, seed=100 + n)) for n in range(5)]
    arms._settings = bench.settings.model_copy(update={"slots": 64})
    try:
        outcome = arms.ours(arrivals)
    finally:
        arms._settings = bench.settings
    light = outcome.latencies[flood:]
    p95, ratio = quantile(light, 0.95), quantile(light, 0.95) / min(alone)
    book.table(
        "sd15: one who floods",
        ["", "requests", "p50 s", "p95 s"],
        [
            ["alone", len(alone), quantile(alone, 0.5), quantile(alone, 0.95)],
            ["five others behind the flood", len(light), quantile(light, 0.5), p95],
            ["who floods", flood, quantile(outcome.latencies[:flood], 0.5), quantile(outcome.latencies[:flood], 0.95)],
        ],
        "In the engine alone, without the queue. The goal is 3 times or less.",
    )
    return f"their p95 is {ratio:.2f} times what it takes alone"
