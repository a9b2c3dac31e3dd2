"""The host's upscaler: read by spandrel, run in tiles on the engine's device, for models without their own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bot.config import EMBEDDED_MODEL, EngineConfig, ModelConfig
from bot.engine.model_files.header import read_header
from bot.engine.model_files.host_upscaler import Enlargement, check_upscaler, enlargement_of
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    Stage,
    StageFrame,
    StopFrame,
    SubmitFrame,
    kind_of,
)
from bot.errors import UnusableFiles
from bot.jobs import GenerationRequest, JobId, Operation, UserId
from bot.worker import host_upscaler
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.bot.worker.at_once import at_once
from tests.picture_cases import quarters, saved

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

UPSCALE = GenerationRequest(
    prompt="",
    model="plain",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=3.0,
    seed=9,
    operation=Operation.UPSCALE,
)
MOST_DIFFERENCE = 1 / 255
"""How far a pixel may be from that of a picture enlarged as a whole, of 1."""


def network(path: Path, **changes: Any) -> Path:
    """An ESRGAN with random weights, as a file."""
    host_upscaler._spandrel()
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(3)
    settings = {"num_filters": 8, "num_blocks": 1, "scale": 4, **changes}
    save_file(RRDBNet(**settings).state_dict(), path)
    return path


@pytest.fixture
def esrgan(tmp_path: Path) -> Path:
    return network(tmp_path / "4x-small.safetensors")


class Shop:
    """A loop with a model without an upscaler, the model in the box, and a host's upscaler."""

    def __init__(self, tiny: Path, upscaler: Path) -> None:
        models = [ModelConfig(name="plain", source=str(tiny)), EMBEDDED_MODEL]
        self.store = ModelStore(models, EngineConfig(device="cpu", threads=1, upscaler=str(upscaler)))
        self.inbox = Inbox()
        self.said: list[Frame] = []
        self.react: Callable[[Frame], None] = lambda _: None

    def ask(self, job_id: int, request: GenerationRequest, data: bytes = b"", owner: int = 0) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if data:
            request = replace(request, image=sha256)
        uploads = {sha256: data} if data else {}
        self.inbox.put(SubmitFrame(JobId(job_id), 1, UserId(owner or job_id), request, uploads))

    def run(self, *, stop: bool = True) -> None:
        def send(frame: Frame) -> None:
            self.said.append(frame)
            self.react(frame)

        if stop:
            self.inbox.put(StopFrame())
        at_once(WorkerLoop(self.store, self.inbox, send, rows=16)).run()

    def about(self, job_id: int) -> list[str]:
        return [kind_of(frame) for frame in self.said if getattr(frame, "job_id", None) == job_id]

    def finished(self, job_id: int) -> FinishedFrame:
        (frame,) = (f for f in self.said if isinstance(f, FinishedFrame) and f.job_id == job_id)
        return frame

    def picture(self, job_id: int) -> Image.Image:
        return Image.open(io.BytesIO(self.finished(job_id).images[0].png))

    def tiles(self, job_id: int) -> list[int]:
        """Where in what was said the work on the device for a job began."""
        return [
            number
            for number, frame in enumerate(self.said)
            if isinstance(frame, StageFrame)
            and frame.stage is Stage.FINISH
            and frame.orders == ((JobId(job_id), 1),)
            and not frame.thread.startswith("encoder")
        ]


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(5).random((height, width, 3), np.float32)


def test_a_model_without_a_network_is_enlarged_by_the_hosts(tiny: Path, esrgan: Path) -> None:
    shop, source = Shop(tiny, esrgan), quarters(150, 70)
    shop.ask(1, UPSCALE, saved(source))
    shop.run()
    assert shop.about(1) == ["started", "finished"]
    loaded = host_upscaler.load(esrgan, "cpu")
    whole = loaded._network(torch.from_numpy(np.asarray(source, np.float32) / 255).permute(2, 0, 1)[None])
    made = np.asarray(shop.picture(1)) / 255
    assert made.shape == (280, 600, 3)
    assert np.abs(made - whole[0].permute(1, 2, 0).numpy()).max() < MOST_DIFFERENCE
    assert shop.finished(1).model_hash == hashlib.sha256(esrgan.read_bytes()).hexdigest()
    assert "Postprocess upscaler: 4x-small" in shop.picture(1).info["parameters"]
    assert not shop.store.is_resident("plain")


def test_a_models_own_network_is_preferred(tiny: Path, esrgan: Path) -> None:
    shop = Shop(tiny, esrgan)
    shop.ask(1, replace(UPSCALE, model="emoji"), saved(quarters(20, 20)))
    shop.run()
    assert "Postprocess upscaler: emoji" in shop.picture(1).info["parameters"]
    assert shop.finished(1).model_hash == shop.store.hash_of("emoji")
    assert not shop.tiles(1)


def test_tiles_come_between_the_steps_of_others_and_people_take_turns(tiny: Path, esrgan: Path) -> None:
    shop = Shop(tiny, esrgan)
    data = saved(quarters(8 * host_upscaler.TILE, 16))
    paint = replace(UPSCALE, operation=Operation.TEXT2IMAGE, prompt="a fox", num_inference_steps=40)
    shop.ask(1, paint)

    def react(frame: Frame) -> None:
        if kind_of(frame) == "progress":
            shop.ask(2, UPSCALE, data)
            shop.ask(3, UPSCALE, data)
            shop.inbox.put(StopFrame())
            shop.react = lambda _: None

    shop.react = react
    shop.run(stop=False)
    first, second = sorted((shop.tiles(2), shop.tiles(3)))
    assert len(first) == len(second) == 9, "eight tiles, and the whole"
    assert any(second[0] < tile < second[1] for tile in first), "in turns"
    steps = [number for number, frame in enumerate(shop.said) if kind_of(frame) == "progress"]
    for begun, following in ((first[0], first[1]), (first[1], first[2])):
        assert any(begun < step < following for step in steps), "a step of another between two tiles"
    assert np.array_equal(np.asarray(shop.picture(2)), np.asarray(shop.picture(3)))
    assert shop.about(1)[-1] == "finished"


def test_cancelled_order_does_no_further_tile(tiny: Path, esrgan: Path) -> None:
    shop = Shop(tiny, esrgan)

    def react(frame: Frame) -> None:
        if len(shop.tiles(1)) == 2:
            shop.react = lambda _: None
            shop.inbox.put(CancelFrame(JobId(1), 1))
            shop.ask(2, UPSCALE, saved(quarters(8, 8)))
            shop.inbox.put(StopFrame())

    shop.react = react
    shop.ask(1, UPSCALE, saved(quarters(8 * host_upscaler.TILE, 16)))
    shop.run(stop=False)
    assert shop.about(1) == ["started"]
    assert len(shop.tiles(1)) <= 3
    assert shop.about(2) == ["started", "finished"]


@pytest.mark.parametrize("blocks", [1, 6])
def test_seams_do_not_show(tmp_path: Path, blocks: int) -> None:
    loaded = host_upscaler.load(network(tmp_path / "net.safetensors", num_blocks=blocks), "cpu")
    pixels = noise(host_upscaler.TILE + 60, host_upscaler.TILE + 40)
    made = np.zeros((4 * pixels.shape[0], 4 * pixels.shape[1], 3), np.float32)
    for left, top, piece in loaded.pieces(pixels):
        made[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    whole = loaded._network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.ptp(whole) > 0.01, "it makes a picture"
    assert np.abs(made - whole).max() < MOST_DIFFERENCE


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 300), (129, 127), (1024, 3)])
def test_any_size_is_covered(esrgan: Path, width: int, height: int) -> None:
    covered = np.zeros((4 * height, 4 * width), int)
    for left, top, piece in host_upscaler.load(esrgan, "cpu").pieces(noise(width, height)):
        covered[top : top + piece.shape[0], left : left + piece.shape[1]] += 1
        assert piece.min() >= 0
        assert piece.max() <= 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("changes", "does", "words"),
    [
        ({}, Enlargement(4, 3, 3), None),
        ({"scale": 2}, Enlargement(2, 3, 3), "enlarges pictures 2 times"),
        ({"scale": 8}, Enlargement(8, 3, 3), "enlarges pictures 8 times"),
        ({"scale": 1}, Enlargement(1, 3, 3), "does not enlarge them"),
        ({"in_nc": 1, "out_nc": 1}, Enlargement(4, 1, 1), "made for grey pictures"),
        ({"in_nc": 4, "out_nc": 4}, Enlargement(4, 4, 4), "made for pictures with transparency"),
        ({"in_nc": 12, "shuffle_factor": 2}, Enlargement(2, 3, 3), "enlarges pictures 2 times"),
    ],
)
def test_the_header_says_what_spandrel_says(
    tmp_path: Path, changes: dict[str, Any], does: Enlargement, words: str | None
) -> None:
    file = network(tmp_path / "net.safetensors", **changes)
    descriptor = host_upscaler._spandrel().ModelLoader().load_from_file(file)
    assert (descriptor.scale, descriptor.input_channels, descriptor.output_channels) == (
        does.factor,
        does.takes,
        does.makes,
    )
    assert enlargement_of(read_header(file)) == does
    if words is None:
        check_upscaler(file)
    else:
        for check in (check_upscaler, lambda path: host_upscaler.load(path, "cpu")):
            with pytest.raises(UnusableFiles, match=words):
                check(file)


def test_the_names_of_newer_files_are_read_too(tmp_path: Path, esrgan: Path) -> None:
    """Real-ESRGAN's layout, with the wrapper that its training leaves."""
    from safetensors.torch import load_file

    old = load_file(esrgan)
    renamed = {}
    for name, tensor in old.items():
        start, _, kind = name.rpartition(".")
        number, inner = start.split(".")[1], start.split(".")[2:]
        if number == "1" and len(inner) > 2:
            _, block, dense, conv = inner[:4]
            new = f"body.{block}.{dense.lower()}.{conv}"
        else:
            new = {"0": "conv_first", "1": "conv_body", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr"}.get(
                number, "conv_last"
            )
        renamed[f"params_ema.{new}.{kind}"] = tensor
    file = tmp_path / "newer.safetensors"
    save_file(renamed, file)
    assert enlargement_of(read_header(file)) == Enlargement(4, 3, 3)
    pixels = noise(20, 12)
    ((_, _, made),) = host_upscaler.load(file, "cpu").pieces(pixels)
    ((_, _, same),) = host_upscaler.load(esrgan, "cpu").pieces(pixels)
    assert np.array_equal(made, same)


def _vae(path: Path) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(4, 4, 3, 3), "encoder.conv_in.weight": torch.zeros(4)}, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "its file net.safetensors is missing"),
        (lambda path: path.write_bytes(b""), "net.safetensors is empty"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "pickles can run code"),
        (lambda path: path.write_bytes(network(path).read_bytes()[:-9]), "is cut short"),
        (_vae, "holds a VAE, not a network that enlarges pictures"),
        (lambda path: save_file({"what.weight": torch.zeros(3, 3)}, path), "spandrel knows no architecture"),
        (
            lambda path: save_file(
                {"conv_first.weight": torch.zeros(8, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.zeros(4)}
                | {
                    f"{name}.weight": torch.zeros(3, 8, 3, 3)
                    for name in ("conv_body", "conv_last", "conv_up1", "conv_up2")
                },
                path,
            ),
            "is damaged, or of a kind that spandrel does not know",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_words(
    tmp_path: Path, tiny: Path, make: Callable[[Path], object], words: str
) -> None:
    file = tmp_path / "net.safetensors"
    make(file)
    shop = Shop(tiny, file)
    shop.ask(1, UPSCALE, saved(quarters(8, 8)))
    shop.ask(2, replace(UPSCALE, model="emoji"), saved(quarters(8, 8)))
    shop.run()
    (failed,) = (frame for frame in shop.said if isinstance(frame, FailedFrame))
    assert failed.job_id == 1
    assert failed.reason.startswith("The host's upscaler cannot be used: ")
    assert words in failed.reason
    assert str(tmp_path) not in failed.reason, "no folder of the host"
    assert shop.about(2) == ["started", "finished"]


def test_a_network_of_no_numbers_is_said_in_words(tmp_path: Path, tiny: Path) -> None:
    from safetensors.torch import load_file

    file = network(tmp_path / "net.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in load_file(file).items()}, file)
    shop = Shop(tiny, file)
    shop.ask(1, UPSCALE, saved(quarters(8, 8)))
    shop.run()
    assert "made something that is no picture" in str([f for f in shop.said if isinstance(f, FailedFrame)])


def test_spandrel_that_is_not_installed_is_said(esrgan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    for check in (check_upscaler, lambda path: host_upscaler.load(path, "cpu")):
        with pytest.raises(
            UnusableFiles, match=r"is not installed\. Install Atelier with its extra: pip install .*upscaler"
        ):
            check(esrgan)


def test_memory_that_runs_out_ends_that_request_alone(
    tiny: Path, esrgan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tiny, esrgan)
    shop.ask(1, UPSCALE, saved(quarters(8, 8)))
    shop.ask(2, replace(UPSCALE, model="emoji"), saved(quarters(8, 8)))
    loaded = host_upscaler.load(esrgan, "cpu")

    def lack(_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loaded, "_network", lack)
    monkeypatch.setattr(host_upscaler, "load", lambda *_: loaded)
    shop.run()
    assert "too little memory to enlarge" in str([f for f in shop.said if isinstance(f, FailedFrame)])
    assert shop.about(2) == ["started", "finished"]
