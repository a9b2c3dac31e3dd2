"""Every kind of request as the store puts it to diffusers: in a crowd of strangers it equals diffusers alone."""

from __future__ import annotations

import hashlib
import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from bot.config import EMBEDDED_MODEL, ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.engine import Progress
from bot.engine.catalog import SAMPLERS
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Operation
from bot.worker.calls import Call, Cancel, Cancelled, Event, Failed, Returned
from bot.worker.inputs import decode
from bot.worker.pipelines import ModelStore
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.batches import Borrowed
from tests.bot.worker.scripts import batcher_of, play
from tests.bot.worker.test_loras import make_lora
from tests.bot.worker.tiny_pipelines import SIDE
from tests.picture_cases import saved

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

EXACT = 1e-9
SETTINGS = EngineConfig(device="cpu", threads=1)

CLASSES = {
    ("sd", Operation.TEXT2IMAGE, False): diffusers.StableDiffusionPipeline,
    ("sd", Operation.IMAGE2IMAGE, False): diffusers.StableDiffusionImg2ImgPipeline,
    ("sd", Operation.INPAINT, False): diffusers.StableDiffusionInpaintPipeline,
    ("sd", Operation.TEXT2IMAGE, True): diffusers.StableDiffusionControlNetPipeline,
    ("sd", Operation.IMAGE2IMAGE, True): diffusers.StableDiffusionControlNetImg2ImgPipeline,
    ("sd", Operation.INPAINT, True): diffusers.StableDiffusionControlNetInpaintPipeline,
    ("sd9", Operation.INPAINT, False): diffusers.StableDiffusionInpaintPipeline,
    ("sd9", Operation.INPAINT, True): diffusers.StableDiffusionControlNetInpaintPipeline,
    ("sdxl", Operation.TEXT2IMAGE, False): diffusers.StableDiffusionXLPipeline,
    ("sdxl", Operation.IMAGE2IMAGE, False): diffusers.StableDiffusionXLImg2ImgPipeline,
    ("sdxl", Operation.INPAINT, False): diffusers.StableDiffusionXLInpaintPipeline,
    ("sdxl", Operation.TEXT2IMAGE, True): diffusers.StableDiffusionXLControlNetPipeline,
    ("sdxl", Operation.IMAGE2IMAGE, True): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
    ("sdxl", Operation.INPAINT, True): diffusers.StableDiffusionXLControlNetInpaintPipeline,
    ("sdxl9", Operation.INPAINT, False): diffusers.StableDiffusionXLInpaintPipeline,
    ("sdxl9", Operation.INPAINT, True): diffusers.StableDiffusionXLControlNetInpaintPipeline,
}
"""Which of diffusers' pipelines paints what, for every kind we offer; the last says whether a ControlNet holds it."""


@pytest.fixture(autouse=True, scope="module")
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def upload(seed: int, mode: str = "RGB") -> bytes:
    """A PNG of noise, as large as what is painted."""
    noise = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), "uint8")
    if mode == "L":
        noise = (noise[..., 0] > 127).astype("uint8") * 255
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


UPLOADS = {hashlib.sha256(data).hexdigest(): data for data in (upload(1), upload(2, "L"), upload(3))}
IMAGE, MASK, CONTROL = UPLOADS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models and their ControlNets, with random weights."""
    root = tmp_path_factory.mktemp("kinds")
    torch.manual_seed(0)
    inpainting, inpainting_xl = diffusers.StableDiffusionInpaintPipeline, diffusers.StableDiffusionXLInpaintPipeline
    makers = {
        "sd": lambda: tiny_pipelines.stable_diffusion(root, torch.float32),
        "sd9": lambda: tiny_pipelines.stable_diffusion(root, torch.float32, in_channels=9, kind=inpainting),
        "sdxl": lambda: tiny_pipelines.stable_diffusion_xl(root, torch.float32),
        "sdxl9": lambda: tiny_pipelines.stable_diffusion_xl(root, torch.float32, in_channels=9, kind=inpainting_xl),
        "sd-edges": lambda: tiny_pipelines.controlnet(torch.float32),
        "sdxl-edges": lambda: tiny_pipelines.controlnet_xl(torch.float32),
    }
    for name, make in makers.items():
        make().save_pretrained(root / name)
    make_lora(makers["sd"](), root / "ink.safetensors", seed=1)
    return {name: root / name for name in (*makers, "ink.safetensors")}


@pytest.fixture(scope="module")
def store(folders: dict[str, Path]) -> ModelStore:
    """All of them in double precision."""

    def model(name: str, *, loras: tuple[LoraConfig, ...] = ()) -> ModelConfig:
        net = ControlNetConfig(name="edges", source=str(folders[f"{name.removesuffix('9')}-edges"]))
        return ModelConfig(name=name, source=str(folders[name]), loras=loras, controlnets=(net,))

    ink = LoraConfig(name="ink", source=str(folders["ink.safetensors"]))
    store = ModelStore([model("sd", loras=(ink,)), model("sd9"), model("sdxl"), model("sdxl9")], SETTINGS)
    store.machine = replace(store.machine, dtype=torch.float64)
    return store


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path]) -> dict[tuple[str, Operation, bool], Any]:
    """diffusers' own pipelines, made by hand from modules of their own."""
    whole = {
        name: diffusers.DiffusionPipeline.from_pretrained(folders[name], torch_dtype=torch.float64)
        for name in ("sd", "sd9", "sdxl", "sdxl9")
    }
    pipelines = {}
    for (name, kind, held), cls in CLASSES.items():
        parts = {part: module for part, module in whole[name].components.items() if part != "image_encoder"}
        if held:
            source = folders[f"{name.removesuffix('9')}-edges"]
            parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(source, torch_dtype=torch.float64)
        more = {"add_watermarker": False} if "xl" in name else {"requires_safety_checker": False}
        if cls in (diffusers.StableDiffusionXLImg2ImgPipeline, diffusers.StableDiffusionXLInpaintPipeline):
            more["requires_aesthetics_score"] = False
        pipelines[name, kind, held] = cls(**parts, **more)
    return pipelines


def request_for(case: tuple[str, Operation, bool], dice: random.Random, sampler: str) -> GenerationRequest:
    model, kind, held = case
    side = dice.choice([SIDE, SIDE, SIDE // 2])
    return GenerationRequest(
        prompt=dice.choice(["red cat", "old ship", "robot 7"]),
        negative_prompt=dice.choice(["", "ugly", "low, bad"]),
        model=model,
        width=side,
        height=side,
        num_inference_steps=dice.randint(3, 4),
        guidance_scale=dice.choice([1.0, 3.0, 7.5]),
        seed=dice.randrange(2**32),
        operation=kind,
        num_images_per_prompt=dice.choice([1, 1, 2]),
        sampler=sampler,
        image=IMAGE if kind is not Operation.TEXT2IMAGE else "",
        mask_image=MASK if kind is Operation.INPAINT else "",
        strength=dice.choice([0.5, 0.8, 1.0]) if kind is not Operation.TEXT2IMAGE else 1.0,
        controlnet="edges" if held else "",
        control_image=CONTROL if held else "",
        controlnet_conditioning_scale=dice.choice([0.5, 1.0]),
    )


def case_of(request: GenerationRequest) -> tuple[str, Operation, bool]:
    return request.model, request.operation, bool(request.controlnet)


def call_of(
    store: ModelStore, request: GenerationRequest, call_id: object, owner: object, output: str = "latent"
) -> Call:
    """A request as the loop gives it to the batcher, with latents or tensors instead of pixels in single precision."""
    arguments = store.arguments(request, decode(request, UPLOADS)) | {"output_type": output}
    adapters = store.adapters(request)
    return Call(call_id, owner, store.pipeline(request), store.scheduler(request), arguments, adapters)


def painted_alone(pipeline: Any, request: GenerationRequest, output: str = "latent") -> torch.Tensor:
    """What somebody who reads diffusers' documentation would write."""
    name, changes = SAMPLERS[request.sampler]
    own = pipeline.scheduler
    pipeline.scheduler = (getattr(diffusers, name) if name else type(own)).from_config(own.config, **changes)
    pipeline.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {"height": request.height, "width": request.width}
    if request.operation is Operation.IMAGE2IMAGE and not request.controlnet:
        arguments = {}  # its picture says
    pictures = {
        sha256: Image.open(io.BytesIO(data)).resize((request.width, request.height), Image.Resampling.LANCZOS)
        for sha256, data in UPLOADS.items()
    }
    if request.image:
        arguments |= {"image": pictures[IMAGE], "strength": request.strength}
    if request.mask_image:
        arguments["mask_image"] = pictures[MASK]
    if request.controlnet:
        arguments["control_image" if request.image else "image"] = pictures[CONTROL]
        arguments["controlnet_conditioning_scale"] = request.controlnet_conditioning_scale
    generators = [torch.Generator().manual_seed(request.seed + n) for n in range(request.num_images_per_prompt)]
    try:
        images = pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt or None,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            num_images_per_prompt=request.num_images_per_prompt,
            generator=generators,
            output_type=output,
            **arguments,
        ).images
    finally:
        pipeline.scheduler = own
    assert isinstance(images, torch.Tensor)
    return images


def played(
    script: dict[int, list[Call | Cancel]], hear: Callable[[Event], object] = lambda _event: None, **options: Any
) -> dict[object, Event]:
    """How every call of a script ended; the numbers are those of the forwards before which they come."""
    ends: dict[object, Event] = {}
    for call, event in play(batcher_of(row_cap=12, **options), script):
        ends[call.id] = event
        hear(event)
    return ends


def distance(event: Event, other: torch.Tensor) -> float:
    assert isinstance(event, Returned), event
    one = event.output.images
    assert one.shape == other.shape
    assert one.isfinite().all()
    return (one - other).abs().max().item()


def test_every_kind_and_sampler_in_a_changing_crowd_equals_diffusers_alone(
    store: ModelStore, alone: dict[tuple[str, Operation, bool], Any]
) -> None:
    dice = random.Random(1)
    # Every sampler with every kind; with a ControlNet beside it in turns, so that each meets one in SD and in SDXL.
    requests = [
        request_for(case, dice, sampler)
        for number, case in enumerate(CLASSES)
        for turn, sampler in enumerate(SAMPLERS, start=number)
        if not case[2] or turn % 3 == 0
    ]
    for family in ("sd", "sdxl"):
        assert {r.sampler for r in requests if r.controlnet and r.model.removesuffix("9") == family} == set(SAMPLERS)
    dice.shuffle(requests)
    outputs = ["latent" if number % 4 else "pt" for number in range(len(requests))]
    script: dict[int, list[Call | Cancel]] = defaultdict(list)
    for number, (request, output) in enumerate(zip(requests, outputs, strict=True)):
        script[number // 2].append(call_of(store, request, number, number % 7, output))
    leaving = replace(requests[0], num_inference_steps=50, strength=1.0)
    script[2].append(call_of(store, leaving, "leaves", "ada"))
    script[9].append(Cancel("leaves"))
    broken = call_of(store, requests[1], "falls", "ada")
    script[3].append(replace(broken, arguments={**broken.arguments, "prompt_embeds": torch.zeros(1, 7, 5)}))

    spoilt = call_of(store, requests[2], "spoilt", "ada")
    embeds = torch.full_like(spoilt.arguments["prompt_embeds"], torch.nan)
    script[4].append(replace(spoilt, arguments={**spoilt.arguments, "prompt_embeds": embeds}))

    ends = played(script, apply_loras=store.row_loras.on_rows)

    assert isinstance(ends["leaves"], Cancelled)
    assert isinstance(ends["falls"], Failed)
    assert isinstance(ends["spoilt"], Failed)
    assert "not a number" in str(ends["spoilt"].error)
    for number, (request, output) in enumerate(zip(requests, outputs, strict=True)):
        expected = painted_alone(alone[case_of(request)], request, output)
        assert distance(ends[number], expected) <= EXACT, request


def test_that_promise_breaks_where_calls_share_a_scheduler(
    store: ModelStore, alone: dict[tuple[str, Operation, bool], Any]
) -> None:
    dice = random.Random(7)
    cases = [case for case in CLASSES if case[0] == "sd"]
    requests = [replace(request_for(case, dice, "dpm++ 2m"), strength=1.0, width=SIDE, height=SIDE) for case in cases]
    one = store.scheduler(requests[0])
    calls = [call_of(store, request, number, number) for number, request in enumerate(requests)]
    own = played({0: [*calls]})
    shared = played({0: [replace(call, scheduler=Borrowed(one)) for call in calls]})
    for number, request in enumerate(requests):
        expected = painted_alone(alone[case_of(request)], request)
        assert distance(own[number], expected) <= EXACT
        assert isinstance(shared[number], Failed) or distance(shared[number], expected) > 1e-3


@pytest.mark.parametrize("steps", [1, 5, 49])
@pytest.mark.parametrize("sampler", ["default", "heun"])
def test_as_little_of_a_picture_as_can_be_is_painted_over_in_one_step(
    store: ModelStore, steps: int, sampler: str
) -> None:
    """49 · (1 / 49) is below 1 in floating point, and diffusers takes no step at all then."""
    for kind in (Operation.IMAGE2IMAGE, Operation.INPAINT):
        for strength in (0.0, 1 / steps):
            case = request_for(("sd", kind, False), random.Random(8), sampler)
            request = replace(case, num_inference_steps=steps, strength=strength)
            told: list[Event] = []
            ends = played({0: [call_of(store, request, 1, 1)]}, hear=told.append)
            assert isinstance(ends[1], Returned)
            assert ends[1].output.images.shape[0] == request.num_images_per_prompt
            assert [event for event in told if isinstance(event, Progress)] == [Progress(1, 1)]
            assert request.steps == request.work.forwards == 1


def test_adapters_are_worn_by_rows_that_start_from_a_picture_too(
    store: ModelStore, alone: dict[tuple[str, Operation, bool], Any], folders: dict[str, Path]
) -> None:
    dice = random.Random(2)
    requests = [
        replace(request_for(("sd", kind, False), dice, "ddim"), loras=loras)
        for kind in (Operation.TEXT2IMAGE, Operation.IMAGE2IMAGE, Operation.INPAINT)
        for loras in ((), (("ink", 0.7),))
    ]
    script: dict[int, list[Call | Cancel]] = {0: [call_of(store, r, n, n) for n, r in enumerate(requests)]}
    ends = played(script, apply_loras=store.row_loras.on_rows)
    for number, request in enumerate(requests):
        pipeline = alone[case_of(request)]
        if request.loras:
            pipeline.load_lora_weights(str(folders["ink.safetensors"]), adapter_name="ink")
            pipeline.set_adapters("ink", 0.7)
        try:
            assert distance(ends[number], painted_alone(pipeline, request)) <= EXACT
        finally:
            if request.loras:
                pipeline.unload_lora_weights()


def test_a_blend_is_the_mean_painted_over_also_among_others(
    store: ModelStore, alone: dict[tuple[str, Operation, bool], Any]
) -> None:
    case, dice = ("sd", Operation.IMAGE2IMAGE, False), random.Random(12)
    asked = replace(request_for(case, dice, "ddim"), width=SIDE, height=SIDE)
    blend = replace(asked, operation=Operation.BLEND, image="red", blended=("blue",))
    files = {"red": Image.new("RGB", (90, 40), "red"), "blue": Image.new("RGB", (SIDE, SIDE), "blue")}
    encoded = {name: saved(picture) for name, picture in files.items()}

    def call(number: int) -> Call:
        arguments = store.arguments(blend, decode(blend, encoded)) | {"output_type": "latent"}
        return Call(number, number, store.pipeline(blend), store.scheduler(blend), arguments, ())

    # What diffusers paints, alone, from a picture of the mean colour.
    pipeline, images = alone[case], UPLOADS[IMAGE]
    UPLOADS[IMAGE] = saved(Image.new("RGB", (SIDE, SIDE), (128, 0, 128)))
    try:
        expected = painted_alone(pipeline, asked)
    finally:
        UPLOADS[IMAGE] = images
    assert distance(played({0: [call(1)]})[1], expected) <= EXACT
    others = [
        call_of(store, request_for(("sd", kind, False), dice, "ddim"), f"other {kind}", kind)
        for kind in (Operation.TEXT2IMAGE, Operation.IMAGE2IMAGE, Operation.INPAINT)
    ]
    assert distance(played({0: others[:1], 1: [call(1), *others[1:]]})[1], expected) <= EXACT


def test_views_share_the_modules_and_leave_them_as_they_were(store: ModelStore) -> None:
    dice = random.Random(3)
    loaded = store.load("sd")
    for case, cls in CLASSES.items():
        if case[0] == "sd":
            view = store.pipeline(request_for(case, dice, "ddim"))
            assert type(view) is cls
            assert view.unet is loaded.pipeline.unet
            assert view.vae is loaded.pipeline.vae
            assert view.config.requires_safety_checker is False, "as the model says, not as diffusers would"
    assert loaded.pipeline.unet.dtype is torch.float64


def test_model_that_repaints_parts_only_says_so(store: ModelStore) -> None:
    dice = random.Random(4)
    words = "The model sd9 cannot paint from words alone. Choose another model."
    with pytest.raises(PaintFailed, match=words):
        store.pipeline(request_for(("sd9", Operation.TEXT2IMAGE, False), dice, "ddim"))
    with pytest.raises(PaintFailed, match="cannot paint from a picture"):
        store.pipeline(request_for(("sd9", Operation.IMAGE2IMAGE, False), dice, "ddim"))


def test_controlnet_that_cannot_be_had_fails_those_who_ask_for_it_alone(folders: dict[str, Path]) -> None:
    nets = (
        ControlNetConfig(name="edges", source=str(folders["sd-edges"])),
        ControlNetConfig(name="other", source=str(folders["sd"] / "unet")),
        ControlNetConfig(name="gone", source=str(folders["sd"] / "nowhere")),
        ControlNetConfig(name="xl", source=str(folders["sdxl-edges"])),
    )
    store = ModelStore([ModelConfig(name="sd", source=str(folders["sd"]), controlnets=nets)], SETTINGS)
    request = request_for(("sd", Operation.TEXT2IMAGE, True), random.Random(5), "ddim")
    before = (store.load("sd"), store.size("sd"))[1]
    assert store.pipeline(request).controlnet is not None
    assert store.size("sd") > before, "it takes memory"
    with pytest.raises(PaintFailed, match="The ControlNet other cannot be used: it is a UNet2DConditionModel"):
        store.pipeline(replace(request, controlnet="other"))
    with pytest.raises(PaintFailed, match="The ControlNet gone cannot be used: its file nowhere is missing"):
        store.pipeline(replace(request, controlnet="gone"))
    with pytest.raises(PaintFailed, match="The ControlNet xl cannot be used: it is made for another kind of model"):
        store.pipeline(replace(request, controlnet="xl"))
    assert list(store.load("sd").controlnets) == ["edges"], "what cannot be used takes no memory"


def test_controlnet_may_be_one_file_beside_its_configuration(folders: dict[str, Path]) -> None:
    folder = folders["sd-edges"]
    nets = (
        ControlNetConfig(name="folder", source=str(folder)),
        ControlNetConfig(name="file", source=str(folder / "diffusion_pytorch_model.safetensors")),
    )
    store = ModelStore([ModelConfig(name="sd", source=str(folders["sd"]), controlnets=nets)], SETTINGS)
    request = request_for(("sd", Operation.TEXT2IMAGE, True), random.Random(5), "ddim")
    states = [store.pipeline(replace(request, controlnet=net.name)).controlnet.state_dict() for net in nets]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_model_saved_with_a_controlnet_does_what_it_is_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    plain = diffusers.DiffusionPipeline.from_pretrained(folders["sd"])
    parts = {name: part for name, part in plain.components.items() if name != "image_encoder"}
    saved = diffusers.StableDiffusionControlNetPipeline(
        **parts, controlnet=tiny_pipelines.controlnet(torch.float32), requires_safety_checker=False
    )
    saved.save_pretrained(tmp_path)
    edges = ControlNetConfig(name="edges", source=str(folders["sd-edges"]))
    models = [
        ModelConfig(name="sd", source=str(folders["sd"]), controlnets=(edges,)),
        ModelConfig(name="saved", source=str(tmp_path), controlnets=(edges,)),
    ]
    store = ModelStore(models, SETTINGS)
    for case in (case for case in CLASSES if case[0] == "sd"):
        request = replace(request_for(case, random.Random(9), "ddim"), prompt="red (cat)1.4")
        both = [replace(request, model=model.name) for model in models]
        assert [type(store.pipeline(request)) for request in both] == [CLASSES[case]] * 2
        ends = played({0: [call_of(store, request, request.model, 1) for request in both]})
        assert isinstance(ends["sd"], Returned)
        assert distance(ends["saved"], ends["sd"].output.images) < 1e-4


@pytest.mark.parametrize(("threshold", "withheld"), [(-1.0, True), (2.0, False)])
def test_safety_check_of_a_model_sees_every_kind(
    folders: dict[str, Path], tmp_path: Path, threshold: float, *, withheld: bool
) -> None:
    """The cosine between a picture and a concept is above the one and below the other."""
    guarded = diffusers.DiffusionPipeline.from_pretrained(folders["sd"])
    guarded.register_modules(
        safety_checker=tiny_pipelines.safety_checker(threshold), feature_extractor=CLIPImageProcessorPil()
    )
    guarded.register_to_config(requires_safety_checker=True)
    guarded.save_pretrained(tmp_path)
    edges = ControlNetConfig(name="edges", source=str(folders["sd-edges"]))
    store = ModelStore([ModelConfig(name="sd", source=str(tmp_path), controlnets=(edges,), upscale=2)], SETTINGS)
    for case in (case for case in CLASSES if case[0] == "sd"):
        request = request_for(case, random.Random(10), "ddim")
        assert store.pipeline(request).config.requires_safety_checker
        end = played({0: [call_of(store, request, 1, 1, "np")]})[1]
        assert isinstance(end, Returned)
        if withheld:
            with pytest.raises(PaintFailed, match="The model's own safety check withheld the picture"):
                next(store.finisher.images(request, end.output))
        else:
            images = list(store.finisher.images(request, end.output))
            assert [(i.width, i.height) for i in images] == [(2 * request.width,) * 2] * request.num_images_per_prompt


def test_second_of_two_pictures_is_what_the_next_seed_gives_alone(store: ModelStore) -> None:
    request = request_for(("sd", Operation.IMAGE2IMAGE, False), random.Random(6), "euler a")
    pair = replace(request, num_images_per_prompt=2)
    single = replace(request, num_images_per_prompt=1, seed=(request.seed + 1) % 2**32)
    ends = played({0: [call_of(store, pair, "pair", 1)], 1: [call_of(store, single, "single", 2)]})
    assert isinstance(ends["single"], Returned)
    assert isinstance(ends["pair"], Returned)
    assert (ends["pair"].output.images[1] - ends["single"].output.images[0]).abs().max() <= EXACT


def test_model_in_the_box_starts_from_pictures_and_repaints_parts() -> None:
    store = ModelStore([EMBEDDED_MODEL], SETTINGS)
    picture, mask = Image.new("RGB", (128, 128), (40, 90, 220)), Image.new("L", (128, 128))
    mask.paste(255, (32, 32, 96, 96))
    files = {}
    for name, image in (("a" * 64, picture), ("b" * 64, mask)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        files[name] = buffer.getvalue()
    request = GenerationRequest(
        prompt="a hamburger on a blue background",
        model="emoji",
        width=128,
        height=128,
        num_inference_steps=12,
        guidance_scale=3.0,
        seed=7,
        operation=Operation.INPAINT,
        image="a" * 64,
        mask_image="b" * 64,
    )
    arguments = store.arguments(request, decode(request, files))
    ends = played({0: [Call(1, 1, store.pipeline(request), store.scheduler(request), arguments)]})
    assert isinstance(ends[1], Returned)
    (made,) = store.finisher.images(request, ends[1].output)
    assert made.width == 512
    change = np.abs(np.asarray(Image.open(io.BytesIO(made.png)).resize((128, 128))).astype(float) - (40, 90, 220))
    inside, outside = change[40:88, 40:88].mean(), change[:16].mean()
    assert inside > 2 * outside


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_the_ends_of_an_animation_are_what_diffusers_paints_from_them(
    store: ModelStore, alone: dict[tuple[str, Operation, bool], Any], model: str, guidance: float
) -> None:
    first = GenerationRequest(
        prompt="red cat",
        negative_prompt="ugly",
        model=model,
        width=SIDE,
        height=SIDE,
        num_inference_steps=3,
        guidance_scale=guidance,
        seed=5,
    )
    last = replace(first, prompt="old ship", seed=6)
    morph = replace(first, operation=Operation.MORPH, frames=4, end_prompt=last.prompt, end_seed=last.seed)
    calls = [
        Call(number, "ada", store.pipeline(morph), store.scheduler(morph), {**arguments, "output_type": "latent"})
        for number, arguments in enumerate(store.frames(morph))
    ]
    frames = played({0: calls})
    assert len(frames) == 4
    for number, end in ((0, first), (3, last)):
        pipeline = alone[model, Operation.TEXT2IMAGE, False]
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = store.scheduler(end)
        painted = pipeline(
            prompt=end.prompt,
            negative_prompt=end.negative_prompt,
            width=SIDE,
            height=SIDE,
            num_inference_steps=3,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(end.seed)],
            output_type="latent",
        ).images
        assert distance(frames[number], painted) <= EXACT
