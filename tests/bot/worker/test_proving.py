"""Nothing accelerated is trusted before it was compared: recorders, compilers and switches that lie, crash or are slow.

All run on the CPU. No test measures a real time, so what is slow moves a clock on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.engine.calibration import TRIES, Subject
from bot.engine.timing import DECODE
from bot.jobs import Adapters
from bot.worker import acceleration, rows
from bot.worker.acceleration import BUCKETS, Graphs
from bot.worker.kernels import KernelTrace, RunLog
from bot.worker.proving import TOLERANCES, Prover, apart, machine_facts
from bot.worker.switches import ENCODE, TRIAL_ROWS, TRIAL_SIDES, Switch, Switches, half_precision, switches_for
from tests.bot.worker import tiny_pipelines

MODEL = Subject("sd15", "abc in float32")
HERE = {"device": "here"}
NOTHING: Adapters = ()
LOST = RuntimeError("CUDA error: an illegal memory access was encountered")
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


class Net(torch.nn.Module):
    """A denoiser of one convolution."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.dtype = dtype
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.to(dtype)
        self.ran: list[int] = []

    def forward(self, sample: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor]:
        self.ran.append(sample.shape[0])
        return (self.conv(sample) + step.reshape(-1, 1, 1, 1).to(sample.dtype) / 1000,)


class Clock:
    """Time passes only where something is said to take it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """Replays with the outputs changed by `lie`; `seconds` pass at each replay. `before` is called at a recording."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.seconds = 0.0
        self.recorded = self.replayed = 0
        self.lie: Callable[[torch.Tensor], torch.Tensor] = lambda output: output
        self.before: Callable[[], None] = lambda: None

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        self.before()
        self.recorded += 1

        def replay() -> Any:
            self.replayed += 1
            self.clock.now += self.seconds
            return tuple(self.lie(output) for output in function())

        return replay


def call(net: Any, count: int = 2, side: int = 8, *, seed: int = 0, part: str = "unet") -> rows.Parked:
    torch.manual_seed(seed)
    sample = torch.randn(count, 4, side, side, dtype=next(net.parameters()).dtype)
    return rows.Parked(net, "__call__", ((sample, torch.tensor(float(seed))), {}), part=part)


def through(graphs: Graphs, *group: rows.Parked) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [output[0] for output in rows.forward(group, 64, run=graphs)]


def plain(parked: rows.Parked) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = rows.run_eagerly(parked, parked.leaves, [NOTHING])[0]
        return output


def made(recorder: Any, net: Net, path: Path | None = None, *, clock: Clock | None = None, **more: Any) -> Graphs:
    """Graphs of a process that begins: it reads the file that an earlier one left."""
    prover = Prover(Prover.reading(path, HERE).calibration, path, clock=clock or Clock())
    graphs = Graphs(recorder, prover=prover, switches=Switches(prover), **more)
    graphs.switches.adopt(MODEL, net, ("unet",))
    return graphs


def verdicts(path: Path) -> dict[str, bool | None]:
    return {one["thing"]: one["is_right"] for one in json.loads(path.read_text())["verdicts"]}


# ---- graphs ----------------------------------------------------------------------------------------------------------


def nan(output: torch.Tensor) -> torch.Tensor:
    return torch.full_like(output, math.nan)


def of_another(output: torch.Tensor) -> torch.Tensor:
    """The rows in another order: each person gets another one's."""
    return output.flip(0)


def stale(output: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(output)


def one_row(output: torch.Tensor) -> torch.Tensor:
    """Right but for the last row."""
    return torch.cat([output[:-1], output[-1:] * 1.5])


@pytest.mark.parametrize("lie", [nan, of_another, stale, one_row])
def test_a_graph_that_replays_something_else_is_never_shown_and_stays_off(
    lie: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"
    recorder.lie = lie
    graphs = made(recorder, net, path)
    for count in (2, 2, 2, 4, 4, 4):
        parked = call(net, count, seed=count)
        assert torch.equal(through(graphs, parked)[0], plain(parked))
    assert recorder.recorded == 1, "nor is another tried"
    assert "CUDA graphs for model sd15: off on this machine, wrong: " in caplog.text
    assert verdicts(path) == {"CUDA graphs": False}

    again, honest = made(Recorder(), net, path), Net()
    for _ in range(3):
        through(again, call(net))
    assert again._recorder.recorded == 0  # type: ignore[union-attr]
    again.switches.adopt(Subject("other", "def"), honest, ("unet",))
    for _ in range(3):
        through(again, call(honest))
    assert again._recorder.recorded == 1, "another model may still be tried"  # type: ignore[union-attr]


def test_a_later_graph_that_lies_takes_the_earlier_ones_of_its_model_along(tmp_path: Path) -> None:
    net, recorder = Net(), Recorder()
    graphs = made(recorder, net, tmp_path / "calibration.json")
    for _ in range(2):
        through(graphs, call(net, 2))
    assert verdicts(tmp_path / "calibration.json") == {"CUDA graphs": True}
    recorder.lie = stale
    for _ in range(2):
        through(graphs, call(net, 4))
    replayed = recorder.replayed
    assert torch.equal(through(graphs, call(net, 2))[0], plain(call(net, 2)))
    assert recorder.replayed == replayed


def test_a_graph_that_is_slower_is_left_out_alone_and_in_the_next_process_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"
    recorder.seconds = 0.2
    graphs = made(recorder, net, path, clock=recorder.clock)
    for _ in range(3):
        through(graphs, call(net, 2))
    assert "off on this machine, slower: 200 ms instead of 0 ms" in caplog.text
    recorder.seconds, replayed = 0.0, recorder.replayed
    for _ in range(3):
        through(graphs, call(net, 4))
    assert recorder.replayed > replayed, "another is as fast"
    assert verdicts(path) == {"CUDA graphs: unet, 2×4×8×8": False, "CUDA graphs": True}
    later = Recorder()
    again = made(later, net, path)
    for _ in range(3):
        through(again, call(net, 2))
    assert later.recorded == 0


def test_a_graph_that_cannot_be_recorded_is_left_out_alone(tmp_path: Path) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"

    def before() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    recorder.before = before
    graphs = made(recorder, net, path)
    for _ in range(3):
        assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
    recorder.before = lambda: None
    for _ in range(3):
        through(graphs, call(net, 4))
    assert recorder.recorded == 1
    assert verdicts(path) == {"CUDA graphs: unet, 2×4×8×8": False, "CUDA graphs": True}


def test_a_device_error_in_a_trial_ends_the_process_and_the_next_one_does_not_try_it_again(tmp_path: Path) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"

    def before() -> None:
        raise LOST

    recorder.before = before
    graphs = made(recorder, net, path)
    through(graphs, call(net))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        through(graphs, call(net))
    assert verdicts(path) == {"CUDA graphs": False}
    later = Recorder()
    again = made(later, net, path)
    for _ in range(3):
        assert torch.equal(through(again, call(net))[0], plain(call(net)))
    assert later.recorded == 0


def test_a_process_that_dies_in_a_trial_is_excused_once_and_if_the_bot_ended_it(tmp_path: Path) -> None:
    path, net = tmp_path / "calibration.json", Net()

    class Killed(BaseException):
        """As SIGKILL: nothing of ours runs any more."""

    def die(excused: bool) -> int:
        recorder = Recorder()
        graphs = made(recorder, net, path)

        def before() -> None:
            recorder.recorded += 1
            if excused:
                graphs.prover.excuse()
            raise Killed

        recorder.before = before
        through(graphs, call(net))
        with suppress(Killed):
            through(graphs, call(net))
        return recorder.recorded

    assert [die(excused=True) for _ in range(TRIES + 1)] == [1] * (TRIES + 1)
    assert [die(excused=False) for _ in range(TRIES + 1)] == [1] * TRIES + [0]


def test_too_little_memory_for_a_trial_says_nothing_about_what_was_tried(tmp_path: Path) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"

    def before() -> None:
        raise OUT_OF_MEMORY

    recorder.before = before
    graphs = made(recorder, net, path)
    for _ in range(3):
        assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
    assert verdicts(path) == {}


def test_a_row_that_is_not_numbers_says_nothing_about_a_graph(tmp_path: Path) -> None:
    net, recorder, path = Net(), Recorder(), tmp_path / "calibration.json"
    graphs, broken = made(recorder, net, path), call(net)
    broken.leaves[0][0] = math.nan
    for _ in range(2):
        through(graphs, broken)
    assert verdicts(path) == {}
    through(graphs, call(net))
    assert verdicts(path) == {"CUDA graphs": True}


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, recorder = Net(), Recorder()
    graphs = made(recorder, net, tmp_path / "gone" / "calibration.json")
    for _ in range(3):
        assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
    assert recorder.recorded == 1
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


@pytest.mark.parametrize(("written", "words"), [(b"\xff\xfe{", "cannot be read"), (b"{", "is damaged")])
def test_a_damaged_file_is_said_once_and_replaced(
    written: bytes, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, path = Net(), tmp_path / "calibration.json"
    path.write_bytes(written)
    graphs = made(Recorder(), net, path)
    assert len([record for record in caplog.records if words in record.message]) == 1
    for _ in range(2):
        through(graphs, call(net))
    assert verdicts(path) == {"CUDA graphs": True}


def test_recording_ahead_takes_the_rows_that_did_not_come_until_larger_ones_gain_nothing() -> None:
    net, clock = Net(), Clock()
    forward = net.forward

    def timed(sample: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor]:
        # Saturated from four rows on.
        clock.now += 0.01 * max(4, sample.shape[0])
        return forward(sample, step)

    net.forward = timed  # type: ignore[method-assign]
    recorder = Recorder(clock)
    graphs = made(recorder, net, clock=clock)
    assert not graphs.record_ahead(16), "nothing was seen"
    through(graphs, call(net, 2))
    while graphs.record_ahead(16):
        pass
    assert [graph.rows for graph in graphs._graphs.values()] == [1, 2, 4, 6, 8]
    assert not graphs.can_record_ahead
    recorded = recorder.recorded
    for count in (1, 2, 3, 4, 7):
        parked = call(net, count, seed=count)
        torch.testing.assert_close(through(graphs, parked)[0], plain(parked))
    assert recorder.recorded == recorded, "nobody waits for a recording"


def test_recording_ahead_keeps_to_the_rows_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    graphs = made(Recorder(), net)
    through(graphs, call(net, 2))
    monkeypatch.setattr(acceleration, "_has_room", lambda: False)
    assert not graphs.record_ahead(16)
    monkeypatch.undo()
    while graphs.record_ahead(4):
        pass
    assert [graph.rows for graph in graphs._graphs.values()] == [size for size in BUCKETS if size <= 4]


# ---- compiled code ---------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled() -> Iterator[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """A backend of torch.compile whose code is changed by a function of the outputs."""

    def backend(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
        def compile_(graph: Any, _inputs: Any) -> Any:
            return lambda *inputs: tuple(change(output) for output in graph(*inputs))

        return compile_

    yield backend  # type: ignore[misc]
    torch.compiler.reset()


@pytest.mark.parametrize("lie", [nan, stale, of_another])
def test_compiled_code_that_is_wrong_is_not_used_and_the_graph_stays(
    lie: Callable[[torch.Tensor], torch.Tensor], compiled: Any, tmp_path: Path
) -> None:
    net, path = Net(), tmp_path / "calibration.json"
    graphs = made(Recorder(), net, path, backend=compiled(lie))
    for _ in range(2):
        through(graphs, call(net))
    assert graphs.improve()
    assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
    assert verdicts(path) == {"CUDA graphs": True, "compiled code": False}
    assert not graphs.can_improve


def test_compiled_code_that_is_slower_than_the_graph_is_not_used(compiled: Any, tmp_path: Path) -> None:
    net, path, clock = Net(), tmp_path / "calibration.json", Clock()

    def slow(output: torch.Tensor) -> torch.Tensor:
        clock.now += 0.1
        return output

    graphs = made(Recorder(clock), net, path, clock=clock, backend=compiled(slow))
    for _ in range(2):
        through(graphs, call(net))
    assert graphs.improve()
    began = clock.now
    through(graphs, call(net))
    assert clock.now == began
    assert verdicts(path) == {"CUDA graphs": True, "compiled code: unet, 2×4×8×8": False}


# ---- switches --------------------------------------------------------------------------------------------------------


def switch(on: Callable[[Any], None], off: Callable[[Any], None]) -> Switch:
    return Switch("a switch", frozenset({"unet"}), on, off, lambda _net: True)


def scaled(net: Net, by: float) -> None:
    """Replace the convolution, so that other kernels run and the outputs are so many times as large."""
    forward = type(net).forward
    net.forward = lambda sample, step: (forward(net, sample, step)[0] * by,)  # type: ignore[method-assign]


def restored(net: Net) -> None:
    net.__dict__.pop("forward", None)


def switched(one: Switch, net: Net, path: Path | None = None, clock: Clock | None = None) -> Graphs:
    prover = Prover(Prover.reading(path, HERE).calibration, path, clock=clock or Clock())
    graphs = Graphs(prover=prover, switches=Switches(prover, [one]))
    graphs.switches.adopt(MODEL, net, ("unet",))
    return graphs


@pytest.mark.parametrize(
    ("by", "words"), [(1.5, "wrong: its results are 0.5 apart"), (math.nan, "wrong: its results are not numbers")]
)
def test_a_switch_that_changes_the_picture_stays_off_for_good(
    by: float, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, path = Net(), tmp_path / "calibration.json"
    for _ in range(2):
        graphs = switched(switch(lambda net: scaled(net, by), restored), net, path)
        for _ in range(2):
            assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
        assert verdicts(path) == {"a switch of the unet": False}
    assert caplog.text.count(words) == 1, "it is tried once"


def test_a_switch_that_fails_or_is_slower_or_does_nothing_stays_off(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    def fail(net: Net) -> None:
        scaled(net, 1.0)
        raise ValueError("not on this card")

    def slow(net: Net) -> None:
        def forward(sample: torch.Tensor, step: torch.Tensor) -> Any:
            clock.now += 0.1
            return (type(net).forward(net, sample, step)[0] * 1,)

        net.forward = forward  # type: ignore[method-assign]

    for on, words in (
        (fail, "it failed: not on this card"),
        (slow, "slower: 100 ms instead of 0 ms"),
        (lambda _net: None, "it has no effect"),
    ):
        net = Net()
        graphs = switched(switch(on, restored), net, clock=clock)
        assert torch.equal(through(graphs, call(net))[0], plain(call(net)))
        assert "forward" not in vars(net)
        assert words in caplog.text


def test_a_switch_that_helps_is_on_from_the_first_forward_of_the_next_process(tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "calibration.json"
    good = switch(lambda net: scaled(net, 1.0), restored)
    first = switched(good, net, path)
    assert "forward" not in vars(net), "off until it was tried"
    through(first, call(net))
    assert "forward" in vars(net)
    assert max(net.ran) == TRIAL_ROWS
    other = Net()
    later = switched(good, other, path)
    assert "forward" in vars(other)
    through(later, call(other))
    assert other.ran == [2], "it is not tried again"


def test_reproducibly_no_switch_is_ever_on(tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "calibration.json"
    good = switch(lambda net: scaled(net, 1.0), restored)
    through(switched(good, net, path), call(net))
    prover = Prover.reading(path, HERE)
    graphs = Graphs(prover=prover, switches=Switches(prover, [good], trying=False))
    graphs.switches.adopt(MODEL, net, ("unet",))
    through(graphs, call(net))
    assert "forward" not in vars(net)


def test_a_forward_that_fails_itself_turns_nothing_off(tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "calibration.json"

    def fall(_sample: torch.Tensor, _step: torch.Tensor) -> Any:
        raise ValueError("I fell")

    graphs = switched(switch(lambda _net: None, lambda _net: None), net, path)
    net.forward = fall  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="I fell"):
        through(graphs, call(net))
    assert not path.exists()


# ---- the switches there are ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("tokenizer"), torch.float32)


def heavy(pipeline: Any, part: str) -> rows.Parked:
    """A call of a part of a pipeline."""
    torch.manual_seed(1)
    if part == "unet":
        arguments = (torch.randn(2, 4, 8, 8), torch.tensor(7))
        kwargs = {"encoder_hidden_states": torch.randn(2, 16, 32), "return_dict": False}
        return rows.Parked(pipeline.unet, "__call__", (arguments, kwargs), part=part)
    sample = torch.randn(1, 4, 8, 8) if part == DECODE else torch.rand(1, 3, 16, 16)
    return rows.Parked(pipeline.vae, part, ((sample,), {}), part=part, single=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_switch_has_an_effect_is_right_and_can_be_undone(dtype: torch.dtype, tmp_path: Path) -> None:
    pipeline = tiny_pipelines.stable_diffusion(tmp_path, torch.float32)
    found = switches_for("cuda", dtype)
    assert len(found) == 4
    for one in found:
        for part in one.parts - {"controlnet"}:
            parked = heavy(pipeline, part)
            prover = Prover(clock=Clock())
            graphs = Graphs(prover=prover, switches=Switches(prover, [one]))
            graphs.switches.adopt(MODEL, parked.module, (part,))
            before = {name: (tensor.dtype, tensor.stride()) for name, tensor in parked.module.state_dict().items()}
            expected = tensors_of(rows.run_eagerly(parked, parked.leaves, [NOTHING]))
            with torch.inference_mode():
                output = tensors_of(graphs(parked, parked.leaves, [NOTHING]))
            assert [entry.is_trusted for entry in prover.calibration] == [True], list(prover.calibration)
            after = {name: (tensor.dtype, tensor.stride()) for name, tensor in parked.module.state_dict().items()}
            assert after != before, one.name
            far = apart(expected, output)
            assert far is not None
            assert far[0] <= far[1]
            if one.keep.__name__ == "<lambda>":
                one.off(parked.module)
                now = {name: (tensor.dtype, tensor.stride()) for name, tensor in parked.module.state_dict().items()}
                assert now == before
            else:
                pipeline.unet = tiny_pipelines.stable_diffusion(tmp_path, torch.float32).unet


def tensors_of(output: Any) -> list[torch.Tensor]:
    """The numbers of an output: a VAE encodes to a distribution."""
    latent = getattr(output, "latent_dist", None)
    return [latent.mean] if latent is not None else rows.tensors(output)


def test_diffusers_own_choice_of_an_attention_backend_has_no_effect_on_a_unet_and_that_is_seen(
    pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def on(net: Any) -> None:
        net.set_attention_backend("_native_math")

    def off(net: Any) -> None:
        net.reset_attention_backend()

    parked, prover = heavy(pipeline, "unet"), Prover(clock=Clock())
    one = Switch("attention backend", frozenset({"unet"}), on, off, lambda _net: True)
    graphs = Graphs(prover=prover, switches=Switches(prover, [one]))
    graphs.switches.adopt(MODEL, parked.module, ("unet",))
    with torch.inference_mode():
        graphs(parked, parked.leaves, [NOTHING] * 2)
    assert "it has no effect: the same kernels run with it and without it" in caplog.text


def test_another_kernel_of_attention_is_seen_even_in_inference_mode(pipeline: Any) -> None:
    parked, log = heavy(pipeline, "unet"), RunLog()
    log.is_observing = True
    seen = []
    for backend in (torch.nn.attention.SDPBackend.FLASH_ATTENTION, torch.nn.attention.SDPBackend.MATH):
        with torch.inference_mode(), torch.nn.attention.sdpa_kernel([backend]):
            log.observed(backend.name, "unet", lambda: rows.run_eagerly(parked, parked.leaves, [NOTHING]))
            log.count("unet", "as they are")
        seen.append(log.take())
    assert [["flash" in lines[0], "attention: plain" in lines[0]] for lines in seen] == [[True, False], [False, True]]
    assert "convolutions: channels-first in float32" in seen[0][0]
    assert log.take() == []


def test_a_trace_changes_nothing(pipeline: Any) -> None:
    parked = heavy(pipeline, DECODE)
    with torch.inference_mode(), KernelTrace():
        traced = parked.function(*parked.tree[0]).sample
    with torch.inference_mode():
        assert torch.equal(traced, parked.function(*parked.tree[0]).sample)


def test_a_vae_is_tried_on_a_part_of_a_large_picture_and_takes_calls_that_waited_meanwhile(pipeline: Any) -> None:
    vae, sizes = pipeline.vae, []
    prover = Prover(clock=Clock())
    graphs = Graphs(prover=prover, switches=Switches(prover, [half_precision(torch.bfloat16)]))
    graphs.switches.adopt(MODEL, vae, (DECODE, ENCODE))
    hook = vae.decoder.register_forward_pre_hook(lambda _module, given: sizes.append(given[0].shape[-1]))
    large = torch.randn(1, 4, 2, TRIAL_SIDES[DECODE] + 8)
    waiting = [rows.Parked(vae, DECODE, ((large,), {}), part=DECODE, single=True) for _ in range(2)]
    with torch.inference_mode():
        outputs = [graphs(parked, parked.leaves, [NOTHING]).sample for parked in waiting]
    hook.remove()
    assert vae.dtype is torch.bfloat16
    assert all(output.dtype is torch.bfloat16 for output in outputs)
    assert set(sizes[:-2]) == {TRIAL_SIDES[DECODE]}
    assert sizes[-2:] == [TRIAL_SIDES[DECODE] + 8] * 2
    half_precision(torch.bfloat16).off(vae)


def test_an_encoder_that_half_precision_ruins_brings_the_whole_vae_back_to_single(
    pipeline: Any, tmp_path: Path
) -> None:
    vae, path = pipeline.vae, tmp_path / "calibration.json"
    prover = Prover(path=path, clock=Clock())
    graphs = Graphs(prover=prover, switches=Switches(prover, [half_precision(torch.bfloat16)]))
    graphs.switches.adopt(MODEL, vae, (DECODE, ENCODE))
    hook = vae.encoder.register_forward_hook(
        lambda _module, given, output: output * math.nan if given[0].dtype is torch.bfloat16 else output
    )
    decode, encode = heavy(pipeline, DECODE), heavy(pipeline, ENCODE)
    with torch.inference_mode():
        graphs(decode, decode.leaves, [NOTHING])
        assert vae.dtype is torch.bfloat16
        graphs(encode, encode.leaves, [NOTHING])
    hook.remove()
    assert vae.dtype is torch.float32
    assert verdicts(path) == {"half precision of the VAE": True, "half precision of the VAE encoder": False}
    vae.to(torch.bfloat16)
    graphs.switches.adopt(MODEL, vae, (DECODE, ENCODE))
    assert vae.dtype is torch.float32, "in the next process too"


# ---- comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", list(TOLERANCES))
def test_rounding_is_within_the_tolerance_of_each_dtype_and_a_wrong_row_is_not(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    right = torch.randn(4, 4, 16, 16, dtype=torch.float64)
    rounded = right.to(dtype if dtype is not torch.float64 else torch.float64)
    far = apart((right.to(dtype),), (rounded * (1 + torch.finfo(dtype).eps),))
    assert far is not None
    assert far[0] <= far[1] == TOLERANCES[dtype]
    wrong = rounded.clone()
    wrong[2] = wrong[1]
    far = apart((rounded,), (wrong,))
    assert far is not None
    assert far[0] > 1


def test_outputs_of_another_shape_are_infinitely_apart_and_none_can_be_compared_without_numbers() -> None:
    assert apart((torch.zeros(2, 3),), (torch.zeros(2, 4),)) == (math.inf, TOLERANCES[torch.float32])
    assert apart((torch.zeros(2, 3),), ()) is None or apart((torch.zeros(2, 3),), ())[0] == math.inf  # type: ignore[index]
    assert apart(("words",), ("words",)) is None
    assert apart((torch.tensor([math.nan]),), (torch.tensor([1.0]),)) is None


def test_what_a_verdict_depends_on_names_the_versions() -> None:
    facts = machine_facts()
    assert facts["torch"] == torch.__version__
    assert facts["device"]
