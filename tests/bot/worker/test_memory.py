"""Models that are kept in less memory: they paint what they paint otherwise."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from diffusers.quantizers.bitsandbytes import bnb_quantizer
from safetensors.torch import load_file

from bot.config import EngineConfig, ModelConfig
from bot.engine.wire import (
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    ProgressFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
)
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, JobId, UserId
from bot.worker import forwards, quantization
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Returned
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from bot.worker.placement import Guest
from tests.bot.worker.test_pipelines import paint, pixels
from tests.bot.worker.tiny_models import SIZE, make_tiny_single_file

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    # torchao and its torch are not of the same month.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torchao"),
]

REQUEST = GenerationRequest("a red apple", "mine", SIZE, SIZE, 4, 3.0, 7, negative_prompt="grey")


def store_of(path: Path, *savings: str, **more: Any) -> ModelStore:
    model = ModelConfig(name="mine", source=str(path), memory=savings, **more)
    return ModelStore([model], EngineConfig(device="cpu", threads=1))


@pytest.mark.parametrize(
    "savings",
    [("text-when-needed",), ("text-on-cpu",), ("offload",), ("text-on-cpu", "offload")],
    ids=lambda savings: "+".join(savings),
)
def test_where_parts_are_kept_changes_no_pixel(
    tiny: Path, savings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guest, "copied", lambda _guest, tensor: tensor.clone())
    plain, small = store_of(tiny), store_of(tiny, *savings)
    (image,), (original,) = paint(small, REQUEST), paint(plain, REQUEST)
    assert (pixels(image) == pixels(original)).all()
    assert small.size("mine") < plain.size("mine")
    pipeline = small.load("mine").pipeline
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    assert pipeline._execution_device == torch.device("cpu")


def test_parts_that_take_turns_are_never_on_the_device_together(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[Guest] = []
    most, visits = 0, []
    enter, leave = Guest.enter, Guest.leave

    def entering(guest: Guest) -> None:
        nonlocal most
        if not guest.is_here:
            here.append(guest)
            visits.append(type(guest.module).__name__)
        enter(guest)
        most = max(most, len(here))

    def leaving(guest: Guest) -> None:
        if guest in here:
            here.remove(guest)
        leave(guest)

    monkeypatch.setattr(Guest, "enter", entering)
    monkeypatch.setattr(Guest, "leave", leaving)
    store = store_of(tiny, "offload")
    batcher = StepBatcher(row_cap=8)
    batcher._policy.run = store.run  # type: ignore[attr-defined]
    requests = [REQUEST, GenerationRequest("a pear", "mine", SIZE, SIZE, 6, 3.0, 8)]
    calls = [
        Call(n, n, store.pipeline(r), store.scheduler(r), store.arguments(r), batch="mine")
        for n, r in enumerate(requests)
    ]
    visits.clear()
    ended = []
    news: list[Call] = calls
    while news or not batcher.is_idle:
        ended += [event for _, event in batcher.step(news) if isinstance(event, Returned)]
        news = []
    assert len(ended) == 2
    assert most == 1
    assert visits == ["UNet2DConditionModel", "AutoencoderKL"], "one decodes only when the other one is done, too"


def test_a_part_that_finds_no_memory_is_at_home_again(monkeypatch: pytest.MonkeyPatch) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    home = [parameter.data_ptr() for parameter in module.parameters()]
    guest = Guest(module, "cpu")
    room = 3

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal room
        room -= 1
        if room < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tensor.clone()

    monkeypatch.setattr(guest, "copied", copied)
    with pytest.raises(torch.OutOfMemoryError):
        guest.enter()
    assert not guest.is_here
    assert [parameter.data_ptr() for parameter in module.parameters()] == home
    room = 4
    with torch.inference_mode():
        guest.enter()
    assert not {parameter.data_ptr() for parameter in module.parameters()} & set(home)
    guest.leave()
    assert [parameter.data_ptr() for parameter in module.parameters()] == home


@pytest.mark.parametrize("single", [False, True], ids=["folder", "file"])
def test_eight_bits_are_the_same_picture_but_for_the_rounding(tiny: Path, tmp_path: Path, single: bool) -> None:
    more = {}
    source = tiny
    if single:
        source = make_tiny_single_file(tiny, tmp_path / "mine.safetensors")
        more = {"config": str(tiny)}
    plain, small = store_of(source, **more), store_of(source, "8bit", **more)
    unet = small.load("mine").pipeline.unet
    assert quantization.is_quantized(unet)
    packed = [m for m in unet.modules() if isinstance(m, torch.nn.Linear) and type(m.weight.data) is not torch.Tensor]
    assert packed, "linear layers are packed"
    (image,), (original,) = paint(small, REQUEST), paint(plain, REQUEST)
    assert 0 < np.abs(pixels(image) - pixels(original)).max() <= 40
    assert small.size("mine") < plain.size("mine")


def test_four_bits_on_the_cpu_are_refused_in_words(tiny: Path) -> None:
    with pytest.raises(PaintFailed) as refused:
        store_of(tiny, "4bit").load("mine")
    assert str(refused.value) == (
        "The model mine cannot be loaded: 4bit needs an NVIDIA or AMD GPU that torch can use, and this machine paints "
        "on cpu. Take 8bit instead, or remove it from `memory`."
    )


@pytest.mark.parametrize("single", [False, True], ids=["folder", "file"])
def test_four_bits_are_the_same_picture_but_for_the_rounding(
    tiny: Path, tmp_path: Path, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bitsandbytes can pack on a CPU; only diffusers and this bot insist on a GPU."""
    kind = bnb_quantizer.BnB4BitDiffusersQuantizer
    monkeypatch.setattr("bot.engine.memory.trouble", lambda *_arguments, **_options: None)
    monkeypatch.setattr(kind, "validate_environment", lambda *_arguments, **_options: None)
    monkeypatch.setattr(kind, "update_device_map", lambda *_arguments: {"": torch.device("cpu")})
    # On processors with bfloat16 it would pack for a kernel of its own, which takes no layers as small as these.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    source, more = tiny, {}
    if single:
        source, more = make_tiny_single_file(tiny, tmp_path / "mine.safetensors"), {"config": str(tiny)}
    small = store_of(source, "4bit", **more)
    linear = [m for m in small.load("mine").pipeline.unet.modules() if isinstance(m, torch.nn.Linear)]
    assert {type(module.weight).__name__ for module in linear} == {"Params4bit"}
    (image,), (original,) = paint(small, REQUEST), paint(store_of(tiny), REQUEST)
    assert 0 < np.abs(pixels(image) - pixels(original)).max() <= 40


def test_what_only_the_library_refuses_is_said_in_words(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.engine.memory.trouble", lambda *_arguments, **_options: None)
    with pytest.raises(PaintFailed) as refused:
        store_of(tiny, "4bit").load("mine")
    assert "this card or installation cannot do 4bit (No GPU found. A GPU is needed for quantization.)" in str(
        refused.value
    )


def write_gguf(path: Path, tensors: dict[str, torch.Tensor], packed: gguf.GGMLQuantizationType | None) -> Path:
    writer = gguf.GGUFWriter(path, "flux")
    writer.add_string("general.license", "none")
    writer.add_array("list", ["a", "b"])
    for name, tensor in tensors.items():
        data = tensor.float().numpy()
        if packed is not None and data.ndim == 2 and data.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(data, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("packed", [None, gguf.GGMLQuantizationType.Q8_0], ids=["F32", "Q8_0"])
def test_a_gguf_file_paints_with_the_rest_from_a_folder(tiny: Path, tmp_path: Path, packed: Any) -> None:
    rest = tmp_path / "rest"
    shutil.copytree(tiny, rest)
    weights = rest / "unet" / "diffusion_pytorch_model.safetensors"
    file = write_gguf(tmp_path / "unet.gguf", load_file(weights), packed)
    weights.unlink()
    small = store_of(file, config=str(rest))
    (image,), (original,) = paint(small, REQUEST), paint(store_of(tiny), REQUEST)
    difference = np.abs(pixels(image) - pixels(original)).max()
    if packed is None:
        assert difference == 0
    else:
        assert 0 < difference <= 40
        assert small.size("mine") < store_of(tiny).size("mine")


def test_a_gguf_file_without_the_rest_is_refused_in_words(tiny: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "unet.gguf", load_file(tiny / "unet" / "diffusion_pytorch_model.safetensors"), None)
    with pytest.raises(PaintFailed, match="has only the denoiser of a model"):
        store_of(file).load("mine")


def test_a_picture_is_decoded_in_tiles_where_little_memory_is_free(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tiny)
    vae = store.load("mine").pipeline.vae
    seen: list[tuple[bool, int]] = []
    decode = vae._decode

    def watched(z: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        seen.append((vae.use_tiling, vae.tile_latent_min_size))
        return decode(z, *arguments, **options)

    monkeypatch.setattr(vae, "_decode", watched)
    tiled = []
    in_tiles = vae.tiled_decode
    monkeypatch.setattr(vae, "tiled_decode", lambda z, **options: tiled.append(z.shape) or in_tiles(z, **options))
    free = {"bytes": 10**9}
    monkeypatch.setattr(forwards, "free_bytes", lambda _device: free["bytes"])

    def serve() -> None:
        batcher = StepBatcher()
        call = Call(1, 1, store.pipeline(REQUEST), store.scheduler(REQUEST), store.arguments(REQUEST))
        news = [call]
        while news or not batcher.is_idle:
            assert all(not hasattr(event, "error") for _, event in batcher.step(news))
            news = []

    own = vae.tile_latent_min_size
    serve()
    assert seen == [(False, own)]
    free["bytes"] = 1000
    serve()
    # The tiles of this VAE are as large as the picture, as SDXL's at 1024 pixels: they would save nothing.
    assert seen[1] == (True, own // 2)
    assert len(tiled) == 1
    assert (vae.use_tiling, vae.tile_latent_min_size) == (False, own)


def test_requests_for_an_offloaded_model_begin_together_and_others_after_them(tiny: Path) -> None:
    store, inbox = store_of(tiny, "offload"), Inbox()
    told: list[tuple[str, int]] = []
    steps: dict[int, int] = {}
    told_steps: dict[int, int] = {}

    def ask(job_id: int, steps: int) -> None:
        request = replace(REQUEST, num_inference_steps=steps)
        inbox.put(SubmitFrame(JobId(job_id), 1, UserId(job_id), request, {}))

    def send(frame: Frame) -> None:
        if not isinstance(frame, StartedFrame | ProgressFrame | FinishedFrame | FailedFrame):
            return
        said = (type(frame).__name__, frame.job_id)
        if said == ("ProgressFrame", 1) and said not in told:
            ask(3, 2)
        if isinstance(frame, ProgressFrame):
            steps[frame.job_id] = frame.step
        if said == ("StartedFrame", 3):
            told_steps.update(steps)
        if said not in told:
            told.append(said)
        if said == ("FinishedFrame", 3):
            inbox.put(StopFrame())

    ask(1, 3)
    ask(2, 9)
    WorkerLoop(store, inbox, send, rows=16).run()
    started = [told.index(("StartedFrame", job)) for job in (1, 2, 3)]
    assert started[0] < started[1] < told.index(("ProgressFrame", 1)), "they begin together"
    assert all(("FinishedFrame", job) in told for job in (1, 2, 3))
    assert told_steps == {1: 3, 2: 9}, "the third begins when both have taken all their steps"
    assert not any(name == "FailedFrame" for name, _ in told)
