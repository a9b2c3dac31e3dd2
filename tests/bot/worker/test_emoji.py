"""The model in the box under diffusers' own pipelines, unmodified: whatever works on Stable Diffusion works on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from peft import LoraConfig, get_peft_model_state_dict

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import SAMPLERS, folder_of

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SIDE = EMBEDDED_MODEL.width
STEPS = EMBEDDED_MODEL.steps
GUIDANCE = EMBEDDED_MODEL.guidance_scale
QUICK = 8
"""Steps after which backgrounds have their colour."""


@pytest.fixture(autouse=True, scope="module")
def own_threads() -> Iterator[None]:
    """One thread: a second one on two cores is slower as soon as anything else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(own_threads: None) -> StableDiffusionPipeline:
    """The shipped folder, loaded as a stranger would."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder_of(EMBEDDED_MODEL))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def quiet(pipeline: Any) -> Any:
    """A pipeline without its bar."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(pipeline: Any, prompt: str, *, seed: int = 0, steps: int = STEPS, **more: Any) -> np.ndarray[Any, Any]:
    """A picture, float [128, 128, 3] in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    output = pipeline(prompt, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generator, **more)
    return np.asarray(output.images[0], np.float32) / 255


def border(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The median colour of a picture's outermost pixels."""
    rows = [picture[:4], picture[-4:], picture[:, :4].swapaxes(0, 1), picture[:, -4:].swapaxes(0, 1)]
    return np.median(np.concatenate([row.reshape(-1, 3) for row in rows]), 0)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_paints_what_was_asked(model: StableDiffusionPipeline, sampler: str) -> None:
    kind, changes = SAMPLERS[sampler]
    scheduler = getattr(diffusers, kind) if kind else type(model.scheduler)
    other = quiet(StableDiffusionPipeline(**model.components | {
        "scheduler": scheduler.from_config(model.scheduler.config, **changes)
    }, requires_safety_checker=False))  # fmt: skip
    red, green, blue = border(paint(other, "a cat on a blue background", steps=QUICK))
    assert blue > 0.6
    assert blue > red + 0.25
    assert blue > green + 0.2


def test_image_to_image_keeps_more_the_less_it_may_change(model: StableDiffusionPipeline) -> None:
    given = PIL.Image.new("RGB", (SIDE, SIDE), (250, 217, 51))
    given.paste((40, 90, 220), (40, 40, 88, 88))
    pipeline = quiet(StableDiffusionImg2ImgPipeline(**model.components, requires_safety_checker=False))
    before = np.asarray(given, np.float32) / 255
    changed = [
        float(np.abs(paint(pipeline, "a pizza on a red background", image=given, strength=strength) - before).mean())
        for strength in (0.15, 0.5, 0.95)
    ]
    assert changed == sorted(changed)
    assert changed[0] < 0.5 * changed[2]
    assert isinstance(AutoPipelineForImage2Image.from_pipe(model), StableDiffusionImg2ImgPipeline)


def test_inpainting_repaints_the_mask_alone(model: StableDiffusionPipeline) -> None:
    given = PIL.Image.new("RGB", (SIDE, SIDE), (40, 90, 220))
    mask = PIL.Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (32, 32, 96, 96))
    pipeline = quiet(StableDiffusionInpaintPipeline(**model.components, requires_safety_checker=False))
    made = paint(pipeline, "a hamburger on a blue background", image=given, mask_image=mask, strength=1.0)
    change = np.abs(made - np.asarray(given, np.float32) / 255).mean(-1)
    inside, outside = change[40:88, 40:88].mean(), np.concatenate([change[:16], change[-16:]]).mean()
    assert outside < 0.08
    assert inside > 2 * outside
    assert isinstance(AutoPipelineForInpainting.from_pipe(model), StableDiffusionInpaintPipeline)


def test_a_lora_learns_a_style_in_seconds(model: StableDiffusionPipeline, tmp_path: Path) -> None:
    """The style is everything seen through blue glass; a new prompt takes it on from a file, and loses it again."""
    torch.manual_seed(0)
    prompts = ["an apple", "a cat", "a car", "a house"]
    plain = [paint(model, prompt, seed=seed, steps=QUICK) for seed, prompt in enumerate(prompts)]
    glass = np.asarray([0.35, 0.5, 1.0], np.float32)
    tinted = torch.from_numpy(np.stack([picture * glass for picture in plain])).permute(0, 3, 1, 2)
    with torch.no_grad():
        latents = model.vae.encode(tinted * 2 - 1).latents * model.vae.config.scaling_factor
        texts = model.encode_prompt(prompts, "cpu", 1, False)[0]
    before = paint(model, "a star", seed=9, steps=QUICK)

    unet = model.unet
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=8, lora_alpha=8, init_lora_weights="gaussian", target_modules=[
        "to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_shortcut"
    ]), adapter_name="glass")  # fmt: skip
    trainable = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=6e-3)
    alphas = model.scheduler.alphas_cumprod
    for _ in range(60):
        some = torch.randperm(len(latents))[:2]
        level, clean = torch.randint(0, 1000, (2,)), latents[some]
        noise = torch.randn_like(clean)
        signal, spread = (part.sqrt()[:, None, None, None] for part in (alphas[level], 1 - alphas[level]))
        made = unet(signal * clean + spread * noise, level, texts[some]).sample
        loss = (made - (signal * noise - spread * clean)).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_lora_weights(tmp_path, get_peft_model_state_dict(unet, adapter_name="glass"))
    unet.delete_adapters("glass")

    model.load_lora_weights(tmp_path, adapter_name="glass")
    styled = paint(model, "a star", seed=9, steps=QUICK)
    model.unload_lora_weights()
    after = paint(model, "a star", seed=9, steps=QUICK)

    def blueness(picture: np.ndarray[Any, Any]) -> float:
        return float(picture[..., 2].mean() - picture[..., 0].mean())

    assert blueness(styled) > blueness(before) + 0.2
    assert np.abs(after - before).max() < 1e-3


STRANGE = ["", "apple " * 300, "🍎 ❤️ 🐊 👩\u200d🚀", "ein Bild von 猫 και γάτα", "\u200b\x00 ~~<|endoftext|>~~"]


@pytest.mark.parametrize("prompt", STRANGE)
def test_no_prompt_breaks_it(model: StableDiffusionPipeline, prompt: str) -> None:
    assert np.isfinite(paint(model, prompt, steps=2)).all()


def test_an_emoji_is_its_name(model: StableDiffusionPipeline) -> None:
    """The embedding of a pictograph is that of its name's words."""
    tokenizer, table = model.tokenizer, model.text_encoder.get_input_embeddings().weight
    for emoji, name in (("🍎", "apple"), ("🐱", "cat"), ("❤️", "heart"), ("❤", "heart")):
        (row,) = tokenizer(emoji, add_special_tokens=False).input_ids
        (word,) = tokenizer(name, add_special_tokens=False).input_ids
        assert torch.allclose(table[row], table[word], atol=1e-2)
