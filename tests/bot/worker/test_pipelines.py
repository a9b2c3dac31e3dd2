"""The store in this process, with real weights: what is painted, what is said when it cannot be, what is kept."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image as Picture

from bot.config import EMBEDDED_MODEL, ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.engine.catalog import SAMPLERS
from bot.engine.wire import CancelFrame, FailedFrame, FinishedFrame, Frame, Inbox, ProgressFrame, StopFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Image, JobId, UserId
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder, make_tiny_single_file

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SETTINGS = EngineConfig(device="cpu", threads=1)

APPLE = GenerationRequest(
    prompt="a red apple on a blue background",
    model="emoji",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=3.0,
    seed=7,
)


@pytest.fixture(scope="module")
def store(own_threads: None) -> ModelStore:
    """A store with the embedded model."""
    return ModelStore([EMBEDDED_MODEL], SETTINGS)


@dataclass
class Told:
    """What the loop said about one order."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    images: list[Image] | None = None
    model_hash: str = ""


def ask(store: ModelStore, request: GenerationRequest, *, cancel_after: int | None = None) -> Told:
    """Give a loop one order, as frames; raises PaintFailed with the reason it gives."""
    told, reasons, inbox = Told(), [], Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), request, {}))
    if cancel_after is None:
        inbox.put(StopFrame())

    def send(frame: Frame) -> None:
        match frame:
            case ProgressFrame():
                told.steps.append((frame.step, frame.of))
                if len(told.steps) == cancel_after:
                    inbox.put(CancelFrame(JobId(1), 1))
                    inbox.put(StopFrame())
            case FinishedFrame():
                told.images, told.model_hash = list(frame.images), frame.model_hash
            case FailedFrame():
                reasons.append(frame.reason)

    WorkerLoop(store, inbox, send, SETTINGS.rows).run()
    if reasons:
        raise PaintFailed(reasons[0])
    return told


def paint(store: ModelStore, request: GenerationRequest) -> list[Image]:
    """The images alone."""
    images = ask(store, request).images
    assert images is not None
    return images


def pixels(image: Image) -> np.ndarray:
    """The picture as whole numbers, (h, w, 3)."""
    return np.asarray(Picture.open(io.BytesIO(image.png)).convert("RGB")).astype(int)


def fingerprint(image: Image) -> str:
    """The sha256 of the decoded pixels."""
    return hashlib.sha256(pixels(image).tobytes()).hexdigest()


def test_same_request_twice_gives_the_same_pixels(store: ModelStore) -> None:
    (first,), (second,) = paint(store, APPLE), paint(store, APPLE)
    assert fingerprint(first) == fingerprint(second)


def test_reproducible_store_runs_deterministic_algorithms_only() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        store = ModelStore([EMBEDDED_MODEL], SETTINGS.model_copy(update={"reproducible": True}))
        assert torch.are_deterministic_algorithms_enabled()
        (first,), (second,) = paint(store, APPLE), paint(store, APPLE)
    finally:
        torch.use_deterministic_algorithms(False)
    assert fingerprint(first) == fingerprint(second)


def test_another_seed_gives_other_pixels(store: ModelStore) -> None:
    (first,), (second,) = paint(store, APPLE), paint(store, replace(APPLE, seed=8))
    assert fingerprint(first) != fingerprint(second)


def test_second_of_two_images_is_what_the_next_seed_gives_alone(store: ModelStore) -> None:
    pair = paint(store, replace(APPLE, num_images_per_prompt=2))
    (alone,) = paint(store, replace(APPLE, seed=8))
    assert [image.seed for image in pair] == [7, 8]
    # A batch of two sums in another order than a batch of one, so a channel may round to its neighbour.
    assert np.abs(pixels(pair[1]) - pixels(alone)).max() <= 2
    assert np.abs(pixels(pair[0]) - pixels(pair[1])).max() > 50, "the two of the pair differ"


def test_seeds_wrap_around_at_the_highest(store: ModelStore) -> None:
    pair = paint(store, replace(APPLE, seed=2**32 - 1, num_images_per_prompt=2))
    assert [image.seed for image in pair] == [2**32 - 1, 0]


def test_picture_is_enlarged_as_its_model_says(store: ModelStore) -> None:
    (image,) = paint(store, APPLE)
    decoded = Picture.open(io.BytesIO(image.png))
    assert decoded.format == "PNG"
    assert decoded.size == (image.width, image.height) == (256, 256)
    assert image.sha256 == hashlib.sha256(image.png).hexdigest()


def test_file_says_that_a_model_made_it(store: ModelStore) -> None:
    (image,) = paint(store, APPLE)
    decoded = Picture.open(io.BytesIO(image.png))
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert f'DigitalSourceType="{source}"' in decoded.text["XML:com.adobe.xmp"]
    assert decoded.text["Software"] == "Atelier"


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_paints_and_counts_its_steps(store: ModelStore, sampler: str, steps: int) -> None:
    told = ask(store, replace(APPLE, sampler=sampler, num_inference_steps=steps))
    assert told.images is not None
    assert pixels(told.images[0]).std() > 1, "not a blank sheet"
    # Heun looks twice at every step but the last.
    of = 2 * steps - 1 if sampler == "heun" else steps
    assert told.steps == [(step, of) for step in range(1, of + 1)]


def test_samplers_that_differ_give_other_pixels(store: ModelStore) -> None:
    names = ("ddim", "euler", "euler a", "dpm++ 2m", "dpm++ 2m karras", "dpm++ sde")
    prints = {fingerprint(paint(store, replace(APPLE, sampler=name))[0]) for name in names}
    assert len(prints) == len(names)


def test_a_sampler_leaves_no_trace_in_the_next_request(store: ModelStore) -> None:
    (before,) = paint(store, APPLE)
    paint(store, replace(APPLE, sampler="euler a", num_inference_steps=9))
    (after,) = paint(store, APPLE)
    assert fingerprint(before) == fingerprint(after)


def test_cancelled_between_steps_leaves_the_store_usable(store: ModelStore) -> None:
    (before,) = paint(store, APPLE)
    told = ask(store, APPLE, cancel_after=2)
    assert told.images is None
    assert told.steps == [(1, 4), (2, 4)]
    (after,) = paint(store, APPLE)
    assert fingerprint(before) == fingerprint(after)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (24, 72), (136, 40)])
def test_any_multiple_of_eight_is_a_size(store: ModelStore, width: int, height: int) -> None:
    (image,) = paint(store, replace(APPLE, width=width, height=height))
    assert (image.width, image.height) == (4 * width, 4 * height)


def test_what_the_pipeline_refuses_fails_in_words(store: ModelStore) -> None:
    with pytest.raises(PaintFailed, match=r"The model emoji could not paint this: .*divisible by 8"):
        paint(store, replace(APPLE, width=63))
    assert paint(store, APPLE), "and the next request is painted"


def test_an_error_that_quotes_the_request_is_logged_without_it(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    request = replace(APPLE, prompt="a foxglove", negative_prompt="an edelweiss")
    store.explain(request, ValueError("What is 'foxglove' without edelweiss?"))
    assert "ValueError: What is '…' without …?" in caplog.text


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not a number"), (0.0, "a black picture")])
def test_picture_of_nothing_is_never_shown(store: ModelStore, value: float, words: str) -> None:
    request = replace(APPLE, num_images_per_prompt=2)
    store.load(request.model)
    frames = np.full((2, 64, 64, 3), 0.5)
    assert len(list(store.finisher.images(request, SimpleNamespace(images=frames)))) == 2
    frames[1] = value
    with pytest.raises(PaintFailed, match=words):
        next(store.finisher.images(request, SimpleNamespace(images=frames)))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="limits its own address space as Linux does")
def test_picture_too_large_for_the_memory_fails_in_words(store: ModelStore) -> None:
    import resource

    paint(store, APPLE)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 200 * 2**20, limits[1]))
    try:
        with pytest.raises(PaintFailed, match=r"this machine.s memory: try a smaller"):
            paint(store, replace(APPLE, width=4096, height=4096, num_images_per_prompt=4))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert paint(store, APPLE), "and the next request is painted"


def test_device_this_machine_has_not_is_named() -> None:
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(PaintFailed, match=f"engine.device is '{missing}', but torch finds no such device"):
        ModelStore([EMBEDDED_MODEL], EngineConfig(device=missing))


@pytest.mark.parametrize(
    "damage",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
        "model_index.json",
    ],
)
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff" * 100], ids=["empty", "a list", "noise"])
def test_damaged_folder_fails_in_words(tiny: Path, tmp_path: Path, damage: str, content: bytes) -> None:
    broken = tmp_path / "broken"
    for file in (path for path in tiny.rglob("*") if path.is_file()):
        copy = broken / file.relative_to(tiny)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.hardlink_to(file)
    (broken / damage).unlink()
    (broken / damage).write_bytes(content)
    store = ModelStore([ModelConfig(name="broken", source=str(broken)), EMBEDDED_MODEL], SETTINGS)
    with pytest.raises(PaintFailed, match=r"The model broken cannot be loaded: .+"):
        store.load("broken")
    assert store.load("emoji").pipeline


def test_damaged_single_file_fails_in_words(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    file.write_bytes(make_tiny_single_file(tiny, tmp_path / "whole.safetensors").read_bytes()[:5000])
    store = ModelStore([ModelConfig(name="cut", source=str(file), config=str(tiny))], SETTINGS)
    with pytest.raises(PaintFailed, match=r"The model cut cannot be loaded: .+"):
        store.load("cut")


def test_pickled_weights_are_not_loaded(tiny: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pickled = tmp_path / "pickled"
    StableDiffusionPipeline.from_pretrained(tiny).save_pretrained(pickled, safe_serialization=False)
    assert list(pickled.rglob("*.bin")), "there is something to refuse"
    store = ModelStore([ModelConfig(name="pickled", source=str(pickled))], SETTINGS)
    with pytest.raises(PaintFailed, match="The model pickled cannot be loaded: "):
        store.load("pickled")


class Poison:
    """Leaves a file behind when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("torches", [True, False], ids=["by torch", "bare"])
@pytest.mark.parametrize("place", ["model", "folder", "LoRA", "ControlNet"])
def test_a_pickle_by_any_name_is_not_loaded(tiny: Path, tmp_path: Path, place: str, torches: bool) -> None:
    trap, file = tmp_path / "trap", tmp_path / "mine.safetensors"
    pickle.loads(pickle.dumps(Poison(trap)))
    assert trap.exists(), "it would spring"
    trap.unlink()
    if torches:
        torch.save({"weight": Poison(trap)}, file)
    else:
        file.write_bytes(pickle.dumps({"weight": Poison(trap)}))
    model = ModelConfig(name="mine", source=str(tiny))
    if place == "model":
        model = ModelConfig(name="mine", source=str(file), config=str(tiny))
    elif place == "folder":
        shutil.copytree(tiny, tmp_path / "folder")
        shutil.copy(file, tmp_path / "folder" / "unet" / "diffusion_pytorch_model.safetensors")
        model = ModelConfig(name="mine", source=str(tmp_path / "folder"))
    elif place == "LoRA":
        model = model.model_copy(update={"loras": (LoraConfig(name="sketch", source=str(file)),)})
    else:
        (tmp_path / "config.json").write_text("{}")
        model = model.model_copy(update={"controlnets": (ControlNetConfig(name="canny", source=str(file)),)})
    store = ModelStore([model], SETTINGS)
    request = replace(APPLE, model="mine", width=SIZE, height=SIZE, loras=(("sketch", 1.0),) if place == "LoRA" else ())
    if place == "ControlNet":
        request = replace(request, controlnet="canny")
    with pytest.raises(PaintFailed, match="cannot be"):
        (store.adapters if place == "LoRA" else store.pipeline)(request)
    assert not trap.exists()


def test_folder_and_single_file_of_one_model_paint_identical_pixels(tiny: Path, tmp_path: Path) -> None:
    file = make_tiny_single_file(tiny, tmp_path / "tiny.safetensors")
    models = [
        ModelConfig(name="folder", source=str(tiny)),
        ModelConfig(name="file", source=str(file), config=str(tiny)),
    ]
    store = ModelStore(models, SETTINGS)
    request = replace(APPLE, width=SIZE, height=SIZE, model="folder")
    from_folder, from_file = ask(store, request), ask(store, replace(request, model="file"))
    assert fingerprint(from_folder.images[0]) == fingerprint(from_file.images[0])
    assert from_file.model_hash == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(from_folder.model_hash) == 64
    assert from_folder.model_hash != from_file.model_hash


def test_hash_changes_with_the_weights_alone(tiny: Path, tmp_path: Path) -> None:
    same = make_tiny_folder(tmp_path / "same")
    other = make_tiny_folder(tmp_path / "other", seed=1)
    folders = {"tiny": tiny, "same": same, "other": other}
    store = ModelStore([ModelConfig(name=name, source=str(folder)) for name, folder in folders.items()], SETTINGS)
    hashes = {name: (store.load(name), store.hash_of(name))[1] for name in folders}
    assert hashes["tiny"] == hashes["same"] != hashes["other"]


def test_size_of_a_model_is_what_its_modules_take(tiny: Path) -> None:
    store = ModelStore([ModelConfig(name="tiny", source=str(tiny))], SETTINGS)
    modules = [m for m in store.load("tiny").pipeline.components.values() if isinstance(m, torch.nn.Module)]
    assert store.size("tiny") == sum(p.numel() * p.element_size() for m in modules for p in m.parameters())


def test_evicted_model_leaves_the_memory(tiny: Path) -> None:
    store = ModelStore([ModelConfig(name="tiny", source=str(tiny))], SETTINGS)
    unet = weakref.ref(store.load("tiny").pipeline.unet)
    store.evict("tiny")
    assert not store.is_resident("tiny")
    assert unet() is None
    assert store.load("tiny").pipeline.unet is not None


def test_a_lora_is_worn_by_those_who_ask_and_its_troubles_fail_them_alone(tiny: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    from tests.bot.worker.test_loras import make_lora

    plain = StableDiffusionPipeline.from_pretrained(tiny)
    file = make_lora(plain, tmp_path / "ink.safetensors", seed=1)
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    loras = [
        LoraConfig(name="ink", source=str(file)),
        LoraConfig(name="broken", source=f"{tmp_path}/broken.safetensors"),
    ]
    models = [
        ModelConfig(name="plain", source=str(tiny)),
        ModelConfig(name="tiny", source=str(tiny), loras=tuple(loras)),
    ]
    store = ModelStore(models, SETTINGS)
    request = replace(APPLE, width=SIZE, height=SIZE, model="tiny")
    (without,) = paint(store, request)
    (worn,) = paint(store, replace(request, loras=(("ink", 1.0),)))
    (half,) = paint(store, replace(request, loras=(("ink", 0.5),)))
    (original,) = paint(store, replace(request, model="plain"))
    assert fingerprint(without) == fingerprint(original)
    assert len({fingerprint(image) for image in (without, worn, half)}) == 3
    with pytest.raises(PaintFailed, match="The LoRA broken cannot be used: "):
        paint(store, replace(request, loras=(("broken", 1.0),)))
    with pytest.raises(PaintFailed, match="The model tiny has no LoRA gone any more"):
        paint(store, replace(request, loras=(("gone", 1.0),)))
