"""What ends one request leaves the others as they are: cancellations, too little memory, and errors."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch

from bot.errors import PaintFailed
from bot.worker import forwards as running
from bot.worker import rows
from bot.worker.calls import Call, Cancel, Cancelled, Failed, Returned
from tests.bot.worker.batches import EXACT, Refusing, SampleRequest, Stage, distance
from tests.bot.worker.scripts import batcher_of, play
from tests.bot.worker.tiny_pipelines import SIDE, Kind

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_a_cancelled_call_frees_its_rows_at_once(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["txt2img"], "dpm++ 2m karras", steps=6, seed=n) for n in range(3)]
    calls: list[Call | Cancel] = [one.call(n) for n, one in enumerate(requests)]
    calls.append(SampleRequest(kinds["txt2img"], "euler", steps=6).call("leaver", owner="bob"))
    stage = Stage()
    stage.play({0: calls, 3: [Cancel("leaver"), Cancel("nobody")]})
    assert unet.rows == [8, 8, 8, 6, 6, 6]
    assert isinstance(stage.end("leaver"), Cancelled)
    assert stage.steps("leaver") == [1, 2, 3]
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT


def test_stopped_is_raised_inside_the_cancelled_call_alone(kinds: dict[str, Kind]) -> None:
    seen = []

    class Pipeline:
        """Ends in its own way."""

        def __init__(self, name: str) -> None:
            self.name = name
            self.unet = kinds["txt2img"].pipeline.unet

        def set_progress_bar_config(self, **_: Any) -> None: ...

        def __call__(self) -> str:
            sample, context = torch.zeros(1, 4, 16, 16).double(), torch.zeros(1, 16, 32).double()
            try:
                for step in range(3):
                    self.unet(sample, torch.tensor(step), encoder_hidden_states=context)
            except Exception:  # noqa: BLE001 - what a careless pipeline would do
                seen.append((self.name, "swallowed it"))
            finally:
                seen.append((self.name, "tidied up"))
            return self.name

    calls = [Call(name, name, Pipeline(name), object(), {}) for name in ("stays", "leaves")]
    stage = Stage()
    stage.play({0: [*calls], 1: [Cancel("leaves")]})
    assert seen == [("leaves", "tidied up"), ("stays", "tidied up")]
    assert stage.end("stays") == Returned("stays")
    assert stage.end("leaves") == Cancelled()


def test_a_call_may_be_cancelled_before_it_started(kinds: dict[str, Kind]) -> None:
    stage = Stage()
    stage.play({0: [SampleRequest(kinds["txt2img"]).call("a"), Cancel("a"), SampleRequest(kinds["txt2img"]).call("b")]})
    assert stage.events["a"] == [Cancelled()]
    assert isinstance(stage.end("b"), Returned)


# ---- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shortage",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:23],
)
def test_memory_is_short_in_the_words_of_every_device_and_is_tried_again_later(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    monkeypatch.setattr(running, "_CAUTIOUS_FORWARDS", 3)
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)

    def before(number: int, _rows: int) -> None:
        if number == 1:
            raise shortage

    unet.before = before
    stage = Stage()
    stage.play([SampleRequest(kinds["txt2img"], steps=8, seed=n).call(n) for n in range(2)])
    assert all(isinstance(stage.end(n), Returned) for n in range(2))
    assert unet.rows[:4] == [4, 4, 2, 2], "in halves"
    assert sum(unet.rows[4:]) == 6 * 4
    assert 4 in unet.rows[4:], "and whole again"


@pytest.mark.parametrize("bad", range(6))
def test_out_of_memory_at_any_forward_loses_nobody(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [
        SampleRequest(kinds["txt2img"], sampler, seed=3) for sampler in ("unipc", "euler a", "dpm++ 2m", "ddpm")
    ]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def before(number: int, _rows: int) -> None:
        if number == bad:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    unet.before = before
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, images in enumerate(expected):
        assert distance(stage.images(number), images) <= EXACT
    # At the forward that was one too large, the same rows again in halves; no more than half a batch from then on.
    assert unet.rows[: bad + 3] == ([8] * (bad + 1) + [4, 4] if bad < 4 else [8] * 4)


def test_memory_for_three_rows_serves_everyone_in_threes_or_less(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["controlnet"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["controlnet"], "dpm++ 2m", seed=n, images=n + 1) for n in range(3)]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def before(_number: int, rows: int) -> None:
        if rows > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    unet.before = before
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, images in enumerate(expected):
        assert distance(stage.images(number), images) <= EXACT
    assert [rows for rows in unet.rows if rows > 3] == [12, 6], "learnt once, kept"


def test_a_row_that_does_not_fit_fails_its_call_alone_in_words(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = kinds["txt2img"].pipeline.unet
    original = unet.forward

    def narrow(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.shape[-1] > SIDE // 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", narrow)
    small, large = SampleRequest(kinds["txt2img"]), SampleRequest(kinds["txt2img"], side=SIDE + 16)
    stage = Stage()
    stage.play([large.call("large"), small.call("small"), large.call("large too")])
    for name in ("large", "large too"):
        assert isinstance(stage.error(name), PaintFailed)
        assert "too large for this machine's memory" in str(stage.error(name))
    assert distance(stage.images("small"), small.alone()) <= EXACT


def test_rows_that_are_not_numbers_fail_their_call_alone(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["txt2img"], "euler a", seed=n) for n in range(4)]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def spoil(sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        if len(unet.rows) == 2:
            output = output.clone()
            output[2, 0, 3, 3] = torch.nan
        return output

    unet.after = spoil
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    assert isinstance(stage.error(1), PaintFailed)
    assert "not a number" in str(stage.error(1))
    assert unet.rows == [8, 8, 6, 6]
    for number in (0, 2, 3):
        assert distance(stage.images(number), expected[number]) <= EXACT


def test_a_picture_that_overflows_in_half_precision_is_decoded_again_in_single(kinds: dict[str, Kind]) -> None:
    one = SampleRequest(kinds["txt2img"], latents=False)
    vae = copy.deepcopy(one.kind.pipeline.vae).float()
    with torch.no_grad():
        # Weights that float16 can hold, and sums that it cannot; the first normalisation makes little of them again.
        weight = vae.decoder.conv_in.weight
        weight *= 60_000 / weight.abs().max()
    one.kind = replace(one.kind, pipeline=copy.copy(one.kind.pipeline))
    expected = Stage()
    one.kind.pipeline.vae = vae
    expected.play([one.call(0)])
    half = copy.deepcopy(vae).half()
    one.kind.pipeline.vae = half
    stage = Stage()
    stage.play([one.call(0)])

    # The latents were rounded to half precision on their way.
    assert distance(stage.images(0), expected.images(0)) < 0.02
    assert half.dtype is torch.float16
    assert not rows.are_numbers([half.decode(torch.ones(1, 4, 8, 8).half()).sample])


def test_a_decoder_that_gives_no_numbers_fails_that_call_alone(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = kinds["txt2img"].pipeline.vae
    decode, calls = vae.decode, itertools.count()

    def spoiling(z: torch.Tensor, **kwargs: Any) -> Any:
        (image,) = decode(z, **kwargs)
        return (image * torch.nan if next(calls) == 0 else image,)

    monkeypatch.setattr(vae, "decode", spoiling)
    stage = Stage()
    stage.play([SampleRequest(kinds["txt2img"], latents=False, seed=n).call(n, owner=n) for n in range(2)])
    assert isinstance(stage.error(0), PaintFailed)
    assert isinstance(stage.end(1), Returned)


def test_a_forward_that_raises_is_redone_call_by_call(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = kinds["txt2img"].pipeline.unet
    original = unet.forward
    poison = torch.full((1, 16, 32), 9.0, dtype=torch.float64)

    def allergic(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if (kwargs["encoder_hidden_states"] == 9.0).any():
            raise RuntimeError("no nines")
        return original(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", allergic)
    good = [SampleRequest(kinds["txt2img"], seed=n) for n in range(2)]
    bad = SampleRequest(
        kinds["txt2img"], more={"prompt": None, "prompt_embeds": poison, "negative_prompt_embeds": poison}
    )
    stage = Stage()
    stage.play([good[0].call(0), bad.call("bad"), good[1].call(1)])
    assert str(stage.error("bad")) == "no nines"
    for number, one in enumerate(good):
        assert distance(stage.images(number), one.alone()) <= EXACT


def test_a_lost_device_leaves_the_batcher(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)

    def before(number: int, _rows: int) -> None:
        if number == 2:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    unet.before = before
    stage = Stage()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        stage.play([SampleRequest(kinds["txt2img"], seed=n).call(n) for n in range(2)])
    assert stage.steps(0) == [1, 2]
    assert not any(isinstance(stage.end(n), Returned | Failed | Cancelled) for n in range(2))


# ---- what is shared ------------------------------------------------------------------------------------------------


def test_grad_mode_is_off_in_every_call_whatever_another_does(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    modes = []
    unet.before = lambda number, rows: modes.append(torch.is_grad_enabled())

    def look(_pipe: object, _step: int, _timestep: object, values: dict[str, Any]) -> dict[str, Any]:
        modes.append(torch.is_grad_enabled())
        return values

    def switch_on(_pipe: object, step: int, _timestep: object, values: dict[str, Any]) -> dict[str, Any]:
        torch.set_grad_enabled(True)
        return values

    more = [{"callback_on_step_end": hook} for hook in (switch_on, look, look)]
    requests = [SampleRequest(kinds["txt2img"], steps=2 + 2 * n, seed=n, more=m) for n, m in enumerate(more)]
    around = []
    with torch.enable_grad():
        for _ in play(batcher_of(), {0: [one.call(number) for number, one in enumerate(requests)]}):
            around.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())  # noqa: PERF401
        assert torch.is_grad_enabled()
    assert len(modes) == 6 + 4 + 6
    assert not any(modes)
    assert around
    assert all(around), "the caller is in the thread's own mode, and may load a model"


def test_a_shared_vae_is_never_cast(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    """SDXL's `force_upcast` casts the VAE around encoding: in the batcher it stays, and is given what it takes."""
    xl = kinds["txt2img sdxl"].pipeline
    parts = {name: part for name, part in xl.components.items() if name not in ("image_encoder", "feature_extractor")}
    parts["vae"] = copy.deepcopy(xl.vae)
    parts["vae"].register_to_config(force_upcast=True)
    img2img = diffusers.StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    casts, taken = [], []
    encode = img2img.vae.encode
    monkeypatch.setattr(type(img2img.vae), "to", lambda vae, *args, **kwargs: casts.append((args, kwargs)) or vae)
    monkeypatch.setattr(img2img.vae, "encode", lambda x: taken.append(x.dtype) or encode(x))
    one = SampleRequest(Kind(img2img, dict(kinds["img2img"].needs), ()), latents=False)
    stage = Stage()
    stage.play([one.call(n) for n in range(2)])
    assert casts == []
    assert taken == [torch.float64] * 2
    assert isinstance(stage.end(1), Returned)


def test_the_pipeline_itself_is_left_as_it_was(kinds: dict[str, Kind]) -> None:
    pipeline = kinds["controlnet"].pipeline
    before = (dict(vars(pipeline)), dict(pipeline.config))
    Stage().play([SampleRequest(kinds["controlnet"], latents=False).call(0)])
    assert (dict(vars(pipeline)), dict(pipeline.config)) == before
