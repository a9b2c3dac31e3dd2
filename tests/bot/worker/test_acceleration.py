"""What a GPU is given runs here through a recorder for the CPU: buffers, padding and what becomes of failures.

No graph of CUDA is recorded by these tests.
"""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from bot.config import EngineConfig, LoraConfig, ModelConfig
from bot.engine.catalog import SAMPLERS
from bot.jobs import Adapters
from bot.worker import acceleration, rows
from bot.worker.acceleration import BUCKETS, GRAPHS, Graphs
from bot.worker.calls import Call, Cancel, Cancelled, Returned
from bot.worker.loras import RowLoras
from bot.worker.pipelines import ModelStore
from bot.worker.prompts import Prompts
from bot.worker.proving import Prover
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.batches import EXACT, SampleRequest, Stage, crowd, distance
from tests.bot.worker.test_loras import alone, asked, make_lora
from tests.bot.worker.tiny_pipelines import SIDE, Kind, scheduler_for

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    return tiny_pipelines.kinds(tmp_path_factory.mktemp("tokenizer"))


def graphs_of(recorder: Any, **more: Any) -> Graphs:
    """Graphs whose forwards all take the same time, because a recorder for the CPU makes none faster."""
    return Graphs(recorder, prover=Prover(clock=lambda: 0.0), **more)


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for _, leaf in rows._leaves(tree) if isinstance(leaf, torch.Tensor)]


class Again:
    """Runs the function again where a device would replay it, and leaves the output in the same place as one does."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0
        self.before: Callable[[int], None] = lambda _number: None

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        self.before(self.recorded)
        self.recorded += 1
        output = function()

        def replay() -> Any:
            self.replayed += 1
            for place, tensor in zip(tensors(output), tensors(function()), strict=True):
                place.copy_(tensor)
            return output

        return replay


def parked(net: Any, count: int = 1, side: int = 16, *, step: Any = None, seed: int = 0, **more: Any) -> rows.Parked:
    """A call of a U-Net of tiny_pipelines."""
    random_ = torch.Generator().manual_seed(seed)
    sample = torch.randn(count, 4, side, side, generator=random_, dtype=net.dtype)
    context = torch.randn(count, 16, 32, generator=random_, dtype=net.dtype)
    step = torch.tensor(7) if step is None else step
    kwargs = {"encoder_hidden_states": context, "return_dict": False, **more}
    return rows.Parked(net, "__call__", ((sample, step), kwargs))


def through(run: rows.Run, *group: rows.Parked, cap: int = 64) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [output[0] for output in rows.forward(group, cap, run=run)]


# ---- graphs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", ["txt2img", "txt2img sdxl", "controlnet"])
def test_a_changing_crowd_paints_from_graphs_what_each_paints_alone(main: str, kinds: dict[str, Kind]) -> None:
    dice = random.Random(main)
    requests, script = crowd(kinds, main, dice), defaultdict(list)
    for number, (name, one) in enumerate(requests.items()):
        script[dice.randint(0, 12)].append(one.call(name, owner=number % 7))
    script[2].append(SampleRequest(kinds[main], steps=50).call("leaves"))
    script[5].append(Cancel("leaves"))
    recorder, sizes = Again(), set()
    unet = kinds[main].pipeline.unet
    hook = unet.register_forward_pre_hook(lambda _module, arguments: sizes.add(arguments[0].shape[0]))

    stage = Stage(row_cap=12, run=graphs_of(recorder))
    stage.play(script)
    hook.remove()

    for name, one in requests.items():
        assert distance(stage.images(name), one.alone()) <= EXACT, name
    assert isinstance(stage.end("leaves"), Cancelled)
    assert recorder.replayed > recorder.recorded > 2
    assert len(sizes & set(BUCKETS)) > 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_whoever_is_alone_paints_the_same_bits_with_a_graph(kinds: dict[str, Kind], sampler: str) -> None:
    """Without guidance too, where samplers with a memory keep the model's output itself."""
    for guidance in (1.0, 5.0):
        one, recorder = SampleRequest(kinds["txt2img"], sampler, steps=6, guidance=guidance), Again()
        stage = Stage(run=graphs_of(recorder))
        stage.play([one.call(0)])
        assert torch.equal(stage.images(0), one.alone())
        assert recorder.recorded == 1
        assert recorder.replayed >= 4


@pytest.mark.parametrize("count", [3, 5, 9, 32, 33])
def test_rows_are_padded_to_a_bucket_and_cut_off_again(kinds: dict[str, Kind], count: int) -> None:
    net, taken = kinds["txt2img"].pipeline.unet, []
    recorder, group = Again(), [parked(net, count - 2, seed=1), parked(net, 2, seed=2, step=torch.tensor(99))]
    graphs, expected = graphs_of(recorder), through(rows.run_eagerly, *group)
    hook = net.register_forward_pre_hook(lambda _module, arguments: taken.append(arguments[0].shape[0]))
    for _ in range(3):
        outputs = through(graphs, *group)
        assert [len(output) for output in outputs] == [count - 2, 2]
        assert max(map(distance, outputs, expected)) <= EXACT
    hook.remove()
    bucket = {3: 4, 5: 6, 9: 12, 32: 32}.get(count)
    # Seen once, then compared with what is recorded, and replayed for those who were there and for the next.
    assert taken[0] == count
    assert set(taken[1:]) == {bucket or 33}
    assert recorder.recorded == (bucket is not None)


def test_an_output_stays_when_its_graph_is_replayed_for_others(kinds: dict[str, Kind]) -> None:
    net, graphs = kinds["txt2img"].pipeline.unet, graphs_of(Again())
    calls = [parked(net, seed=seed, step=torch.tensor(100 * seed)) for seed in range(4)]
    outputs = [through(graphs, call)[0] for call in calls]
    for call, output in zip(calls, outputs, strict=True):
        assert torch.equal(output, through(rows.run_eagerly, call)[0])


def test_steps_reach_the_module_as_the_sampler_counts_them() -> None:
    """957.89 in bfloat16 is 956."""
    net = SimpleNamespace(config={}, forward=None)
    sample = torch.zeros(3, 4, 8, 8, dtype=torch.bfloat16)
    call = rows.Parked(net, "forward", ((sample, torch.tensor(957.89)), {}))
    _, steps = rows.pad(call, call.leaves, 3, 4)
    assert torch.equal(steps, torch.full((4,), 957.89))


def test_the_graphs_used_least_recently_make_room(kinds: dict[str, Kind]) -> None:
    net, recorder = kinds["txt2img"].pipeline.unet, Again()
    graphs = graphs_of(recorder)
    calls = [parked(net, side=2 * (n + 1)) for n in range(GRAPHS + 1)]
    for call in calls[:GRAPHS]:
        through(graphs, call)
        through(graphs, call)
    assert recorder.recorded == GRAPHS
    through(graphs, calls[0])
    assert recorder.recorded == GRAPHS, "kept"
    for _ in range(2):
        through(graphs, calls[GRAPHS])
    through(graphs, calls[0])
    assert recorder.recorded == GRAPHS + 1, "recently used, so still there"
    replayed = recorder.replayed
    through(graphs, calls[1])
    assert recorder.replayed == replayed, "it made room, and runs as it is until it is seen again"
    through(graphs, calls[1])
    assert recorder.recorded == GRAPHS + 2


def test_a_lora_that_is_worn_runs_as_it_is_beside_the_graphs_of_the_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = tiny_pipelines.stable_diffusion(tmp_path, torch.float64)
    plain.set_progress_bar_config(disable=True)
    loras = [LoraConfig(name="ink", source=str(make_lora(plain, tmp_path / "ink.safetensors", seed=1)))]
    row_loras, shared, recorder = RowLoras(), copy.deepcopy(plain), Again()
    assert row_loras.load(shared, loras) == {}
    prompts = Prompts(shared, row_loras.on_all)
    worn: list[Adapters] = [(), (("ink", 1.0),), (), (("ink", 0.3),)]

    def call(number: int) -> Call:
        arguments = asked(number, 6, 5.0) | prompts.arguments("red cat", "low", worn[number])
        return Call(number, number, shared, scheduler_for(shared, "dpm++ 2m"), arguments, worn[number])

    stage = Stage(apply_loras=row_loras.on_rows, run=graphs_of(recorder))
    stage.play({0: [call(0)], 3: [call(1), call(2)], 8: [call(3)]})
    for number, adapters in enumerate(worn):
        expected = alone(plain, loras, adapters, "dpm++ 2m", number, steps=6, guidance=5.0)
        assert distance(stage.images(number), expected) <= EXACT
    assert recorder.recorded == 1, "the first two rows, which wear nothing"


def test_what_is_no_tensor_or_constant_and_what_goes_through_whole_is_not_recorded(kinds: dict[str, Kind]) -> None:
    recorder, pipeline = Again(), kinds["txt2img"].pipeline
    graphs = graphs_of(recorder)
    strange = parked(pipeline.unet, cross_attention_kwargs={"any": object()})
    strange.function = lambda sample, *_args, **_kwargs: (sample,)
    latents = torch.zeros(1, 4, 16, 16, dtype=torch.float64)
    decode = rows.Parked(pipeline.vae, "decode", ((latents,), {"return_dict": False}), single=True)
    for _ in range(3):
        through(graphs, strange)
        through(graphs, decode)
    assert recorder.recorded == 0


@pytest.mark.parametrize("failure", [RuntimeError("operation not permitted when stream is capturing"), OUT_OF_MEMORY])
def test_what_cannot_be_recorded_runs_as_it_is_and_is_said_once(
    kinds: dict[str, Kind], caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    recorder = Again()

    def before(number: int) -> None:
        if number == 1:
            recorder.recorded += 1
            raise failure

    recorder.before = before
    requests = [SampleRequest(kinds["txt2img"], "euler a", steps=8, seed=n) for n in range(3)]
    stage = Stage(run=graphs_of(recorder))
    stage.play({0: [requests[0].call(0)], 4: [one.call(n) for n, one in enumerate(requests[1:], 1)]})
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT
    said = [record for record in caplog.records if "cannot be recorded" in record.message]
    assert len(said) == 1
    assert not any("out of memory in a forward" in record.message for record in caplog.records), "in one piece"


def test_when_memory_ends_graphs_go_before_the_batch_is_halved(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, net = Again(), kinds["txt2img"].pipeline.unet
    graphs, small, large = graphs_of(recorder), parked(net, 2), parked(net, 8)
    expected = through(rows.run_eagerly, large)[0]
    for _ in range(3):
        through(graphs, small)
    forward = net.forward

    def crowded(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(sample) > 2 and graphs._graphs:
            raise OUT_OF_MEMORY
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(net, "forward", crowded)
    assert torch.equal(through(graphs, large)[0], expected)
    assert recorder.recorded == 1
    for _ in range(2):
        through(graphs, small)
    assert recorder.recorded == 2, "and small ones are recorded again"

    def full(*_args: Any, **_kwargs: Any) -> Any:
        raise OUT_OF_MEMORY

    monkeypatch.setattr(net, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        through(graphs, large)


def test_a_model_that_leaves_takes_its_graphs_along(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    tiny_pipelines.stable_diffusion(tmp_path, torch.float32).save_pretrained(folder)
    store = ModelStore([ModelConfig(name="tiny", source=str(folder))], EngineConfig(device="cpu", threads=1))
    store.graphs = graphs_of(Again())
    net = store.load("tiny").pipeline.unet
    for _ in range(2):
        through(store.graphs, parked(net))
    gone = weakref.ref(net)
    del net
    store.evict("tiny")
    gc.collect()
    assert gone() is None


def test_on_a_cpu_nothing_is_recorded_and_nothing_reproducibly() -> None:
    precision = torch.get_float32_matmul_precision()
    for device, recording in (("cpu", True), ("cuda", False)):
        made = acceleration.graphs(
            (device, torch.bfloat16), Prover(), recording=recording, compiling=True, rows=16, trying=recording
        )
        assert made._recorder is None
    torch.set_float32_matmul_precision(precision)


# ---- compiled ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_forwards_paint_the_same_and_the_most_used_come_first(kinds: dict[str, Kind], backend: str) -> None:
    net, graphs = kinds["txt2img"].pipeline.unet, graphs_of(Again(), backend=backend)
    seldom, often = parked(net, 2, seed=1), parked(net, 3, seed=2)
    for call, times in ((seldom, 2), (often, 4)):
        for _ in range(times):
            through(graphs, call)
    assert graphs.improve()
    assert [graph.compiled for graph in graphs._graphs.values()] == [False, True]
    assert graphs.improve()
    assert not graphs.improve(), "all are"
    for call in (seldom, often, parked(net, 3, seed=5, step=torch.tensor(500))):
        assert distance(through(graphs, call)[0], through(rows.run_eagerly, call)[0]) <= EXACT
    torch.compiler.reset()


def test_a_compiler_that_fails_leaves_the_graphs_as_they_are(
    kinds: dict[str, Kind], caplog: pytest.LogCaptureFixture
) -> None:
    asked_for = []

    def backend(graph: Any, _inputs: Any) -> Any:
        asked_for.append(graph)
        raise RuntimeError("no compiler was found")

    net, graphs = kinds["txt2img"].pipeline.unet, graphs_of(Again(), backend=backend)
    call = parked(net, 2)
    for _ in range(2):
        through(graphs, call)
    assert graphs.improve()
    assert asked_for
    assert not graphs.improve()
    assert "compiled code for model : off on this machine, it failed" in caplog.text
    assert torch.equal(through(graphs, call)[0], through(rows.run_eagerly, call)[0])
    torch.compiler.reset()


# ---- the VAE -------------------------------------------------------------------------------------------------------


def test_a_decoder_without_memory_for_the_whole_picture_takes_it_in_tiles(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, sizes = kinds["txt2img"].pipeline.vae, []
    decoder = vae.decoder.forward

    def narrow(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(latents.shape[-1])
        if latents.shape[-1] > SIDE // 2:
            raise OUT_OF_MEMORY
        return decoder(latents, *args, **kwargs)

    monkeypatch.setattr(vae.decoder, "forward", narrow)
    large = SampleRequest(kinds["txt2img"], side=2 * SIDE, latents=False, steps=2)
    small = SampleRequest(kinds["txt2img"], latents=False, steps=2)
    stage = Stage()
    stage.play([large.call("large"), small.call("small")])
    assert sizes[0] == SIDE
    assert len(sizes) > 5
    assert not vae.use_tiling
    assert distance(stage.images("small"), small.alone()) <= EXACT
    vae.enable_tiling()
    try:
        assert distance(stage.images("large"), large.alone()) <= EXACT
    finally:
        vae.disable_tiling()

    reproducible = Stage(alone=True)
    reproducible.play([large.call("large")])
    assert "too large for this machine's memory" in str(reproducible.error("large"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_vae_that_overflows_in_half_precision_is_kept_in_single(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(0)
    pipeline = tiny_pipelines.stable_diffusion_xl(tmp_path, torch.float32)
    pipeline.vae.register_to_config(force_upcast=True)
    with torch.no_grad():
        # As the published one does: activations far over 65504, which a normalisation brings down again.
        pipeline.vae.decoder.conv_in.weight.mul_(1e5)
    pipeline.save_pretrained(tmp_path / "xl")
    settings = EngineConfig(device="cpu", threads=1, dtype=dtype)
    store = ModelStore([ModelConfig(name="xl", source=str(tmp_path / "xl"))], settings)
    loaded = store.load("xl").pipeline
    assert loaded.unet.dtype == getattr(torch, dtype)
    assert loaded.vae.dtype == (torch.float32 if dtype == "float16" else torch.bfloat16)
    call = SampleRequest(Kind(loaded), steps=2, latents=False).call(0)
    stage = Stage()
    stage.play([call])
    assert isinstance(stage.end(0), Returned)
    assert stage.images(0).std() > 0

    if dtype == "float16":
        loaded.vae.to(torch.float16)
        with torch.inference_mode():
            decoded = loaded.vae.decode(torch.randn(1, 4, 8, 8, dtype=torch.float16)).sample
        assert not decoded.isfinite().all(), "else there was nothing to keep"
