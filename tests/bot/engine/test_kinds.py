"""Every kind of request as the studio puts it to diffusers: in a crowd of strangers it equals diffusers alone."""

from __future__ import annotations

import hashlib
import io
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from bot.config import EMBEDDED_MODEL, ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.engine.batching import Call, Cancel, Cancelled, Event, Failed, Hub, Returned
from bot.engine.catalog import SAMPLERS
from bot.engine.inputs import decode
from bot.engine.pipelines import Studio
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Kind
from tests.bot.engine import tiny_pipelines
from tests.bot.engine.test_loras import make_lora
from tests.bot.engine.tiny_pipelines import SIDE

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

EXACT = 1e-9
SETTINGS = EngineConfig(device="cpu", threads=1)

CLASSES = {
    ("sd", Kind.TEXT2IMAGE, False): diffusers.StableDiffusionPipeline,
    ("sd", Kind.IMAGE2IMAGE, False): diffusers.StableDiffusionImg2ImgPipeline,
    ("sd", Kind.INPAINT, False): diffusers.StableDiffusionInpaintPipeline,
    ("sd", Kind.TEXT2IMAGE, True): diffusers.StableDiffusionControlNetPipeline,
    ("sd", Kind.IMAGE2IMAGE, True): diffusers.StableDiffusionControlNetImg2ImgPipeline,
    ("sd", Kind.INPAINT, True): diffusers.StableDiffusionControlNetInpaintPipeline,
    ("sd9", Kind.INPAINT, False): diffusers.StableDiffusionInpaintPipeline,
    ("sdxl", Kind.TEXT2IMAGE, False): diffusers.StableDiffusionXLPipeline,
    ("sdxl", Kind.IMAGE2IMAGE, False): diffusers.StableDiffusionXLImg2ImgPipeline,
    ("sdxl", Kind.INPAINT, False): diffusers.StableDiffusionXLInpaintPipeline,
    ("sdxl", Kind.TEXT2IMAGE, True): diffusers.StableDiffusionXLControlNetPipeline,
    ("sdxl", Kind.IMAGE2IMAGE, True): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
    ("sdxl", Kind.INPAINT, True): diffusers.StableDiffusionXLControlNetInpaintPipeline,
}
"""Which of diffusers' pipelines paints what, for every kind we offer; the last says whether a ControlNet holds it."""


@pytest.fixture(autouse=True, scope="module")
def own_threads() -> Iterator[None]:
    """A studio sets torch's threads for the whole process: put them back."""
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
    inpainting = diffusers.StableDiffusionInpaintPipeline
    makers = {
        "sd": lambda: tiny_pipelines.stable_diffusion(root, torch.float32),
        "sd9": lambda: tiny_pipelines.stable_diffusion(root, torch.float32, in_channels=9, kind=inpainting),
        "sdxl": lambda: tiny_pipelines.stable_diffusion_xl(root, torch.float32),
        "sd-edges": lambda: tiny_pipelines.controlnet(torch.float32),
        "sdxl-edges": lambda: tiny_pipelines.controlnet_xl(torch.float32),
    }
    for name, make in makers.items():
        make().save_pretrained(root / name)
    make_lora(makers["sd"](), root / "ink.safetensors", seed=1)
    return {name: root / name for name in (*makers, "ink.safetensors")}


@pytest.fixture(scope="module")
def studio(folders: dict[str, Path]) -> Studio:
    """All of them in double precision."""

    def model(name: str, *, loras: tuple[LoraConfig, ...] = ()) -> ModelConfig:
        nets = [ControlNetConfig(name="edges", source=str(folders[f"{name}-edges"]))] if name != "sd9" else []
        return ModelConfig(name=name, source=str(folders[name]), loras=loras, controlnets=tuple(nets))

    ink = LoraConfig(name="ink", source=str(folders["ink.safetensors"]))
    studio = Studio([model("sd", loras=(ink,)), model("sd9"), model("sdxl")], SETTINGS)
    studio.machine = replace(studio.machine, dtype=torch.float64)
    return studio


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path]) -> dict[tuple[str, Kind, bool], Any]:
    """diffusers' own pipelines, made by hand from modules of their own."""
    whole = {
        name: diffusers.DiffusionPipeline.from_pretrained(folders[name], torch_dtype=torch.float64)
        for name in ("sd", "sd9", "sdxl")
    }
    pipelines = {}
    for (name, kind, held), cls in CLASSES.items():
        parts = {part: module for part, module in whole[name].components.items() if part != "image_encoder"}
        if held:
            net = diffusers.ControlNetModel.from_pretrained(folders[f"{name}-edges"], torch_dtype=torch.float64)
            parts["controlnet"] = net
        more = {"add_watermarker": False} if name == "sdxl" else {"requires_safety_checker": False}
        if cls in (diffusers.StableDiffusionXLImg2ImgPipeline, diffusers.StableDiffusionXLInpaintPipeline):
            more["requires_aesthetics_score"] = False
        pipelines[name, kind, held] = cls(**parts, **more)
    return pipelines


def request_for(case: tuple[str, Kind, bool], dice: random.Random, sampler: str) -> GenerationRequest:
    model, kind, held = case
    return GenerationRequest(
        prompt=dice.choice(["red cat", "old ship", "robot 7"]),
        negative_prompt=dice.choice(["", "ugly", "low, bad"]),
        model=model,
        width=SIDE,
        height=SIDE,
        num_inference_steps=dice.randint(3, 5),
        guidance_scale=dice.choice([1.0, 3.0, 7.5]),
        seed=dice.randrange(2**32),
        num_images_per_prompt=dice.choice([1, 1, 2]),
        sampler=sampler,
        image=IMAGE if kind is not Kind.TEXT2IMAGE else "",
        mask_image=MASK if kind is Kind.INPAINT else "",
        strength=dice.choice([0.5, 0.8, 1.0]) if kind is not Kind.TEXT2IMAGE else 1.0,
        controlnet="edges" if held else "",
        control_image=CONTROL if held else "",
        controlnet_conditioning_scale=dice.choice([0.5, 1.0]),
    )


def case_of(request: GenerationRequest) -> tuple[str, Kind, bool]:
    return request.model, request.kind, bool(request.controlnet)


def call_of(studio: Studio, request: GenerationRequest, call_id: object, owner: object) -> Call:
    """The request as the easel puts it to the hub, but for latents instead of rounded pixels."""
    arguments = studio.arguments(request, decode(request, UPLOADS)) | {"output_type": "latent"}
    adapters = studio.adapters(request)
    return Call(call_id, owner, studio.pipeline(request), studio.scheduler(request), arguments, adapters)


def painted_alone(pipeline: Any, request: GenerationRequest) -> torch.Tensor:
    """What somebody who reads diffusers' documentation would write."""
    name, changes = SAMPLERS[request.sampler]
    own = pipeline.scheduler
    pipeline.scheduler = (getattr(diffusers, name) if name else type(own)).from_config(own.config, **changes)
    pipeline.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {}
    pictures = {sha256: Image.open(io.BytesIO(data)) for sha256, data in UPLOADS.items()}
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
            output_type="latent",
            **arguments,
        ).images
    finally:
        pipeline.scheduler = own
    assert isinstance(images, torch.Tensor)
    return images


def played(script: dict[int, list[Call | Cancel]], **options: Any) -> dict[object, Event]:
    """How every call of a script ended; the numbers are those of the forwards before which they come."""
    ends: dict[object, Event] = {}
    rounds = iter(range(10_000))

    def poll(_idle: bool) -> list[Call | Cancel] | None:
        now = next(rounds)
        return None if now > max(script) else script.get(now, [])

    Hub(lambda call, event: ends.__setitem__(call.id, event), row_cap=12, **options).run(poll)
    return ends


def distance(event: Event, other: torch.Tensor) -> float:
    assert isinstance(event, Returned), event
    one = event.output.images
    assert one.shape == other.shape
    assert one.isfinite().all()
    return (one - other).abs().max().item()


def test_every_kind_and_sampler_in_a_changing_crowd_equals_diffusers_alone(
    studio: Studio, alone: dict[tuple[str, Kind, bool], Any]
) -> None:
    dice = random.Random(1)
    requests = [request_for(case, dice, sampler) for case in CLASSES for sampler in SAMPLERS]
    dice.shuffle(requests)
    script: dict[int, list[Call | Cancel]] = defaultdict(list)
    for number, request in enumerate(requests):
        script[number // 2].append(call_of(studio, request, number, owner=number % 7))
    leaving = replace(requests[0], num_inference_steps=50, strength=1.0)
    script[2].append(call_of(studio, leaving, "leaves", "ada"))
    script[9].append(Cancel("leaves"))
    broken = call_of(studio, requests[1], "falls", "ada")
    script[3].append(replace(broken, arguments={**broken.arguments, "prompt_embeds": torch.zeros(1, 7, 5)}))

    ends = played(script, wear=studio.wardrobe.on_rows)

    assert isinstance(ends["leaves"], Cancelled)
    assert isinstance(ends["falls"], Failed)
    for number, request in enumerate(requests):
        expected = painted_alone(alone[case_of(request)], request)
        assert distance(ends[number], expected) <= EXACT, request


def test_adapters_are_worn_by_rows_that_start_from_a_picture_too(
    studio: Studio, alone: dict[tuple[str, Kind, bool], Any], folders: dict[str, Path]
) -> None:
    dice = random.Random(2)
    requests = [
        replace(request_for(("sd", kind, False), dice, "ddim"), loras=loras)
        for kind in Kind
        for loras in ((), (("ink", 0.7),))
    ]
    script: dict[int, list[Call | Cancel]] = {0: [call_of(studio, r, n, n) for n, r in enumerate(requests)]}
    ends = played(script, wear=studio.wardrobe.on_rows)
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


def test_views_share_the_modules_and_leave_them_as_they_were(studio: Studio) -> None:
    dice = random.Random(3)
    loaded = studio.load("sd")
    for case, cls in CLASSES.items():
        if case[0] == "sd":
            view = studio.pipeline(request_for(case, dice, "ddim"))
            assert type(view) is cls
            assert view.unet is loaded.pipeline.unet
            assert view.vae is loaded.pipeline.vae
    assert loaded.pipeline.unet.dtype is torch.float64


def test_model_that_repaints_parts_only_says_so(studio: Studio) -> None:
    dice = random.Random(4)
    words = "The model sd9 cannot paint from words alone. Choose another model."
    with pytest.raises(PaintFailed, match=words):
        studio.pipeline(request_for(("sd9", Kind.TEXT2IMAGE, False), dice, "ddim"))
    with pytest.raises(PaintFailed, match="cannot paint from a picture"):
        studio.pipeline(request_for(("sd9", Kind.IMAGE2IMAGE, False), dice, "ddim"))


def test_controlnet_that_cannot_be_had_fails_those_who_ask_for_it_alone(folders: dict[str, Path]) -> None:
    nets = (
        ControlNetConfig(name="edges", source=str(folders["sd-edges"])),
        ControlNetConfig(name="other", source=str(folders["sd"] / "unet")),
        ControlNetConfig(name="gone", source=str(folders["sd"] / "nowhere")),
    )
    studio = Studio([ModelConfig(name="sd", source=str(folders["sd"]), controlnets=nets)], SETTINGS)
    request = request_for(("sd", Kind.TEXT2IMAGE, True), random.Random(5), "ddim")
    before = (studio.load("sd"), studio.size("sd"))[1]
    assert studio.pipeline(request).controlnet is not None
    assert studio.size("sd") > before, "it takes memory"
    with pytest.raises(PaintFailed, match="The ControlNet other cannot be loaded: it is a UNet2DConditionModel"):
        studio.pipeline(replace(request, controlnet="other"))
    with pytest.raises(PaintFailed, match="The model sd has no ControlNet gone that can be used"):
        studio.pipeline(replace(request, controlnet="gone"))


def test_second_of_two_pictures_is_what_the_next_seed_gives_alone(studio: Studio) -> None:
    request = request_for(("sd", Kind.IMAGE2IMAGE, False), random.Random(6), "euler a")
    pair = replace(request, num_images_per_prompt=2)
    single = replace(request, num_images_per_prompt=1, seed=(request.seed + 1) % 2**32)
    ends = played({0: [call_of(studio, pair, "pair", 1)], 1: [call_of(studio, single, "single", 2)]})
    assert isinstance(ends["single"], Returned)
    assert isinstance(ends["pair"], Returned)
    assert (ends["pair"].output.images[1] - ends["single"].output.images[0]).abs().max() <= EXACT


def test_model_in_the_box_starts_from_pictures_and_repaints_parts() -> None:
    studio = Studio([EMBEDDED_MODEL], SETTINGS)
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
        image="a" * 64,
        mask_image="b" * 64,
    )
    arguments = studio.arguments(request, decode(request, files))
    ends = played({0: [Call(1, 1, studio.pipeline(request), studio.scheduler(request), arguments)]})
    assert isinstance(ends[1], Returned)
    (made,) = studio.images(request, ends[1].output)
    assert made.width == 512
    change = np.abs(np.asarray(Image.open(io.BytesIO(made.png)).resize((128, 128))).astype(float) - (40, 90, 220))
    inside, outside = change[40:88, 40:88].mean(), change[:16].mean()
    assert inside > 2 * outside
