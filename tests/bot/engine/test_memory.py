"""How much memory models need: against the published configurations, and for cards of each size."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from bot.config import SAVINGS
from bot.engine import memory
from bot.engine.memory import GIB, KNOWN, Painting, need, part_bytes, what_fits
from bot.engine.model_files.header import Tensor
from bot.engine.model_files.sizes import Kind, Part, part_of

SDXL = next(model for model in KNOWN if model.name == "SDXL").parts
FLUX = next(model for model in KNOWN if model.name == "FLUX.1").parts

_SD3 = {
    "sample_size": 128,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
    "out_channels": 16,
}
"""https://huggingface.co/stabilityai/stable-diffusion-3-medium-diffusers/blob/main/transformer/config.json"""


def modules(name: str) -> dict[str, torch.nn.Module]:
    """The parts of a well-known model by its published configuration, without numbers."""
    from benchmarks.models import unet_config

    t5 = transformers.T5EncoderModel(
        transformers.T5Config(
            d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
        )
    )
    projected = transformers.CLIPTextModelWithProjection
    match name:
        case "SD 1.5":
            denoiser = diffusers.UNet2DConditionModel(**unet_config("sd15"))
            return {"unet": denoiser, "text_encoder": clip(768, 12), "vae": vae(4)}
        case "SDXL":
            denoiser = diffusers.UNet2DConditionModel(**unet_config("sdxl"))
            texts = {"text_encoder": clip(768, 12), "text_encoder_2": clip(1280, 32, projected)}
            return {"unet": denoiser, **texts, "vae": vae(4)}
        case "FLUX.1":
            denoiser = diffusers.FluxTransformer2DModel(guidance_embeds=True)
            texts = {"text_encoder": clip(768, 12), "text_encoder_2": t5}
            return {"transformer": denoiser, **texts, "vae": vae(16)}
    large = name == "SD 3.5 Large"
    layers = {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm"}
    medium = {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
    denoiser = diffusers.SD3Transformer2DModel(**_SD3, **(layers if large else medium))
    texts = {
        "text_encoder": clip(768, 12, projected),
        "text_encoder_2": clip(1280, 32, projected),
        "text_encoder_3": t5,
    }
    return {"transformer": denoiser, **texts, "vae": vae(16)}


def clip(width: int, layers: int, kind: type = transformers.CLIPTextModel) -> torch.nn.Module:
    return kind(
        transformers.CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            projection_dim=width,
        )
    )


def vae(latents: int) -> torch.nn.Module:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=latents,
        use_quant_conv=latents == 4,
        use_post_quant_conv=latents == 4,
    )


def kind_of(part: str) -> Kind:
    return Kind.TEXT if part.startswith("text") else Kind.VAE if part == "vae" else Kind.DENOISER


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_the_sizes_of_known_models_are_those_of_their_published_configurations(model: memory.Known) -> None:
    with torch.device("meta"):
        parts = modules(model.name)
    counted = []
    for name, module in parts.items():
        # A tied matrix is in the file once.
        tensors = {n: t for n, t in module.state_dict().items() if n != "encoder.embed_tokens.weight"}
        headers = ((n, Tensor("F16", tuple(t.shape), 0, 0)) for n, t in tensors.items())
        part = part_of(name, kind_of(name), headers)
        counted.append((part.kind, part.linear, part.others))
        if part.kind is Kind.DENOISER:
            linear = sum(m.weight.numel() for m in module.modules() if isinstance(m, torch.nn.Linear))
            assert part.linear == linear, "what torchao and bitsandbytes pack"
    assert counted == [(part.kind, part.linear, part.others) for part in model.parts]


def test_the_table_in_the_docs_is_the_one_that_the_code_prints() -> None:
    page = (Path(__file__).parents[3] / "docs" / "memory.md").read_text(encoding="utf-8")
    assert memory.table() in page
    assert all(f"`{name}`" in page for name in SAVINGS)


def test_every_saving_takes_less_than_none_and_the_steps_never_ask_for_more_than_is_there() -> None:
    painting = Painting(1024 * 1024)
    for model in KNOWN:
        whole = need(model.parts, (), painting).peak
        assert all(need(model.parts, (name,), painting).peak < whole for name in SAVINGS)
        for card in range(2, 60, 2):
            savings = what_fits(model.parts, card * GIB, painting)
            if savings is not None:
                assert need(model.parts, savings, painting).peak <= memory.usable(card * GIB)
                assert what_fits(model.parts, (card + 2) * GIB, painting) is not None


def test_a_part_takes_what_its_dtype_says() -> None:
    unet = SDXL[0]
    assert part_bytes(unet, (), 2) == 2 * 2_567_463_684
    assert part_bytes(unet, (), 4) == 4 * 2_567_463_684
    assert part_bytes(unet, ("8bit",), 2) == pytest.approx(2_232_647_680 * 8.1 / 8 + 2 * 334_816_004)
    assert part_bytes(unet, ("4bit",), 2) == pytest.approx(2_232_647_680 * 4.5 / 8 + 2 * 334_816_004)
    text = SDXL[2]
    assert part_bytes(text, ("4bit",), 2) == 2 * 694_659_840, "only the denoiser is packed"


def test_what_is_packed_in_its_file_is_not_packed_again() -> None:
    parts = (Part("transformer", Kind.DENOISER, 0, 3_000_000, 7 * GIB), *FLUX[1:])
    assert what_fits(parts, 12 * GIB, Painting(1024 * 1024, 1)) == ("text-on-cpu",)
    assert what_fits(parts, 6 * GIB, Painting(1024 * 1024, 1)) is None


def test_the_remedy_names_the_setting_or_says_that_nothing_helps() -> None:
    painting = Painting(1024 * 1024)
    assert memory.remedy(SDXL, 8 * GIB, painting) == 'Set memory = ["text-when-needed"]: then it needs 7.0 GiB.'
    assert memory.remedy(SDXL, 2 * GIB, painting).startswith("It fits in no way: the least that it needs is ")
    assert memory.remedy(SDXL, 24 * GIB, painting) == "Without a `memory` setting it needs 8.0 GiB and fits."


def test_what_a_machine_cannot_do_is_said_with_what_works() -> None:
    def nothing(_library: str) -> None:
        return None

    def everything(_library: str) -> object:
        return "here"

    trouble = memory.trouble(("8bit",), "cuda", packed=False, installed=nothing)
    assert trouble is not None
    assert trouble.words == "8bit needs the library torchao, which is not installed."
    trouble = memory.trouble(("4bit",), "cuda", packed=False, installed=nothing)
    assert trouble is not None
    assert "bitsandbytes" in trouble.words
    trouble = memory.trouble(("4bit",), "cpu", packed=False, installed=everything)
    assert trouble is not None
    assert trouble.words == "4bit needs an NVIDIA or AMD GPU that torch can use, and this machine paints on cpu."
    trouble = memory.trouble((), "cpu", packed=True, installed=nothing)
    assert trouble is not None
    assert trouble.words == "a GGUF file needs the library gguf, which is not installed."
    assert memory.trouble(("8bit",), "cuda", packed=True, installed=everything) is not None
    for savings in ((), ("8bit",), ("text-on-cpu", "offload")):
        assert memory.trouble(savings, "cpu", packed=False, installed=everything) is None
