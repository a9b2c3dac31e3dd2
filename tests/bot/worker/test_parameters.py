"""What a picture file says of how it was painted, as AUTOMATIC1111's web UI writes and reads it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.catalog import SAMPLERS
from bot.jobs import GenerationRequest, Operation
from bot.worker import webp
from bot.worker.parameters import parameters
from bot.worker.pipelines import ModelStore
from tests.bot.worker.test_pipelines import APPLE, paint, pixels

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

HASH = "0123456789abcdef" * 4

# https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/infotext_utils.py
_A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read(text: str) -> tuple[str, str, dict[str, str]]:
    """The prompt, the negative prompt and the values, as the web UI's `parse_generation_parameters` reads them."""
    *lines, last = text.strip().split("\n")
    if len(_A1111.findall(last)) < 3:
        lines, last = [*lines, last], ""
    prompt, negative, done_with_prompt = "", "", False
    for line in lines:
        part = line.strip()
        if part.startswith("Negative prompt:"):
            done_with_prompt, part = True, part[16:].strip()
        if done_with_prompt:
            negative += ("" if negative == "" else "\n") + part
        else:
            prompt += ("" if prompt == "" else "\n") + part
    values = {name: json.loads(value) if value.startswith('"') else value for name, value in _A1111.findall(last)}
    return prompt, negative, values


def told(request: GenerationRequest, seed: int = 7) -> tuple[str, str, dict[str, str]]:
    return read(parameters(request, seed, (256, 256), scheduler="DDIMScheduler", model_hash=HASH))


def test_the_text_is_exactly_as_the_web_ui_writes_it() -> None:
    request = replace(APPLE, negative_prompt="blurry, low", sampler="dpm++ 2m karras", guidance_scale=7.5)
    assert parameters(request, 9, (256, 256), scheduler="DDIMScheduler", model_hash=HASH) == (
        "a red apple on a blue background\n"
        "Negative prompt: blurry, low\n"
        "Steps: 4, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 9, Size: 64x64, Model: emoji, Model hash: 0123456789"
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "Steps: 3, Sampler: x, CFG scale: 1, Seed: 5",
        'quotes "inside", a: b, c\\d',
        "ein Fuchs, 猫 und 🦊 γάτα",
        "(red:1.3) cat, {a, b} :: [c]",
        "x" * 4000,
    ],
)
@pytest.mark.parametrize("negative", ["", "Steps: 9, Size: 1x1, Seed: 0, a: b", "häßlich, 猫"])
def test_any_words_are_read_back(prompt: str, negative: str) -> None:
    found = told(replace(APPLE, prompt=prompt, negative_prompt=negative))
    assert found[:2] == (prompt, negative)
    assert (found[2]["Seed"], found[2]["Steps"], found[2]["Size"]) == ("7", "4", "64x64")


def test_strength_loras_and_controlnets_are_told_where_they_apply() -> None:
    request = replace(
        APPLE,
        operation=Operation.IMAGE2IMAGE,
        image="a" * 64,
        strength=0.6,
        loras=(("ink", 0.7), ("sketch", -1.0)),
        controlnet="edges",
        control_image="b" * 64,
        controlnet_conditioning_scale=0.8,
    )
    prompt, _, values = told(request)
    assert prompt == "a red apple on a blue background <lora:ink:0.7> <lora:sketch:-1>"
    assert values["Denoising strength"] == "0.6"
    assert values["ControlNet 0"] == "Model: edges, Weight: 0.8"
    assert not {"Denoising strength", "ControlNet 0"} & told(APPLE)[2].keys()


def test_an_enlarged_picture_tells_of_no_steps() -> None:
    _, _, values = told(replace(APPLE, prompt="", operation=Operation.UPSCALE))
    assert values["Size"] == "256x256"
    assert values["Postprocess upscale by"] == "4"
    assert not {"Steps", "Seed", "CFG scale", "Denoising strength"} & values.keys()


def test_every_sampler_has_a_name_that_others_know() -> None:
    names = {name: told(replace(APPLE, sampler=name))[2]["Sampler"] for name in SAMPLERS}
    assert names["default"] == "DDIM", "the model's own"
    assert names["euler a"] == "Euler a"
    assert len(set(names.values())) == len(SAMPLERS) - 1


def text_of(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.info["Software"] == "Atelier"
        assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
        return str(picture.info["parameters"])


@pytest.fixture(scope="module")
def store(own_threads: None) -> ModelStore:
    return ModelStore([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=1))


def test_each_picture_of_a_request_has_its_own_seed_from_which_it_is_painted_again(store: ModelStore) -> None:
    request = replace(APPLE, prompt="ein roter Apfel, 苹果", num_images_per_prompt=3)
    images = paint(store, request)
    for image in images:
        prompt, _, values = read(text_of(image.png))
        assert (prompt, values["Seed"]) == (request.prompt, str(image.seed))
        assert store.hash_of("emoji").startswith(values["Model hash"])
        (again,) = paint(store, replace(request, num_images_per_prompt=1, seed=int(values["Seed"])))
        assert abs(pixels(again) - pixels(image)).max() <= 2
    assert len({image.seed for image in images}) == 3


def test_equal_requests_give_equal_files(store: ModelStore) -> None:
    assert paint(store, APPLE)[0].png == paint(store, APPLE)[0].png


def test_unicode_is_an_itxt_chunk_and_latin_a_text_chunk(store: ModelStore) -> None:
    for prompt, kind in (("a café", b"tEXt"), ("a 猫", b"iTXt")):
        (image,) = paint(store, replace(APPLE, prompt=prompt, num_inference_steps=1))
        assert kind + b"parameters\0" in image.png
        assert read(text_of(image.png))[0] == prompt


def test_a_smaller_file_keeps_the_text_where_the_web_ui_looks_for_it(store: ModelStore) -> None:
    (image,) = paint(store, replace(APPLE, prompt="a 猫 🦊", num_inference_steps=1))
    for lossless in (True, False):
        with Image.open(io.BytesIO(webp.encode(image.png, lossless=lossless))) as picture:
            comment = picture.getexif().get_ifd(0x8769)[0x9286]
            assert comment.startswith(b"UNICODE\0")
            assert comment[8:].decode("utf-16-be") == text_of(image.png)


def test_a_host_can_have_everything_written_but_the_words() -> None:
    settings = EngineConfig(device="cpu", threads=1, provenance="seed")
    request = replace(APPLE, negative_prompt="text", num_inference_steps=1)
    (image,) = paint(ModelStore([EMBEDDED_MODEL], settings), request)
    prompt, negative, values = read(text_of(image.png))
    assert (prompt, negative, values["Seed"], values["Model"]) == ("", "", str(image.seed), "emoji")
    assert b"apple" not in image.png


def test_a_host_can_switch_it_off() -> None:
    settings = EngineConfig(device="cpu", threads=1, provenance="none")
    (image,) = paint(ModelStore([EMBEDDED_MODEL], settings), replace(APPLE, num_inference_steps=1))
    with Image.open(io.BytesIO(image.png)) as picture:
        assert "parameters" not in picture.info
        assert picture.info["Software"] == "Atelier"
    assert b"apple" not in image.png
    with Image.open(io.BytesIO(webp.encode(image.png, lossless=True))) as picture:
        assert "exif" not in picture.info
