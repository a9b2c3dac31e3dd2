"""GGUF files: their headers are read without any library, and what is not whole is refused in words."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import EngineConfig, ModelConfig
from bot.doctor import CheckStatus, examine_memory
from bot.engine.memory import GIB
from bot.engine.model_files.gguf import read_gguf
from bot.engine.model_files.header import Tensor
from bot.engine.model_files.recognise import recognise
from bot.engine.model_files.sizes import Kind, parts_of
from bot.errors import UnusableFiles
from tests.bot.engine.model_files import headers_only
from tests.bot.worker.damage import safetensors


def written(path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "flux")
    writer.add_uint32("general.quantization_version", 2)
    writer.add_array("names", ["a", "bc"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_bool("yes", True)
    data = np.linspace(-1, 1, 64 * 32, dtype=np.float32).reshape(32, 64)
    for name, kind in (("Q8_0", "Q8_0"), ("Q4_0", "Q4_0")):
        kind = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(f"double_blocks.0.img_attn.{name}.weight", gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.add_tensor("double_blocks.0.img_attn.norm.key_norm.scale", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_header_says_what_the_library_says(tmp_path: Path) -> None:
    file = written(tmp_path / "flux.gguf")
    header, reader = read_gguf(file), gguf.GGUFReader(file)
    for tensor in reader.tensors:
        found = header.tensors[tensor.name]
        assert found.dtype == tensor.tensor_type.name
        assert found.shape == tuple(reversed([int(side) for side in tensor.shape]))
        assert found.end - found.start == tensor.n_bytes
        assert header.data_at + found.start == tensor.data_offset
    assert len(reader.tensors) == len(header.tensors) == 3
    assert header.metadata["general.architecture"] == "flux"


def test_a_model_has_the_denoiser_of_the_file_and_the_rest_of_the_folder(tmp_path: Path) -> None:
    file, rest = written(tmp_path / "flux.gguf"), headers_only.flux(tmp_path / "rest")
    for stored in (rest / "transformer").glob("*.safetensors"):
        stored.unlink()
    model = recognise(file, str(rest))
    parts = {part.name: part for part in parts_of(model)}
    assert parts["transformer"].kind is Kind.DENOISER
    assert parts["transformer"].packed == 64 * 32 * 34 // 32 + 64 * 32 * 18 // 32
    assert parts["transformer"].numbers == 8
    assert parts["text_encoder_2"].numbers == 64
    assert model.pipeline == "FluxPipeline"


@pytest.mark.parametrize("cut", [3, 8, 30, 60, 200, -1])
def test_a_file_that_is_cut_short_is_refused_in_words(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path / "flux.gguf")
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(UnusableFiles, match=r"cut short|no GGUF file"):
        read_gguf(file)


def test_numbers_that_diffusers_cannot_compute_are_refused_with_what_it_can(tmp_path: Path) -> None:
    file = tmp_path / "flux.gguf"
    name = b"double_blocks.0.weight"
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 256, 1, 16, 0)
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry + bytes(4096))
    with pytest.raises(UnusableFiles, match=r"cannot compute with \(number 16 of GGUF\)") as refused:
        read_gguf(file)
    assert "Q4_K" in refused.value.remedy


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, begins: bool) -> None:
    file = tmp_path_factory.getbasetemp() / "any.gguf"
    file.write_bytes((b"GGUF\x03\0\0\0" if begins else b"") + data)
    # Nothing but a header or words with a remedy comes out.
    try:
        words = len(read_gguf(file).tensors)
    except UnusableFiles as error:
        words = min(len(error.words), len(error.remedy))
    assert words or data


def test_the_parts_of_a_single_file_are_told_by_its_tensors(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(
        safetensors(
            {
                "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
                "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
                "model_ema.diffusion_model": (320, 768),
                "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
                "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
            }
        )
    )
    denoiser, text, vae = parts_of(recognise(file, None))
    assert (denoiser.kind, denoiser.linear, denoiser.others) == (Kind.DENOISER, 320 * 768, 320 * 36)
    assert (text.kind, text.numbers, vae.kind, vae.numbers) == (Kind.TEXT, 77 * 768, Kind.VAE, 128 * 27)


CARD = {"device": "cuda", "gib": 8.0}


def large(tmp_path: Path, numbers: int) -> Path:
    """A Stable Diffusion whose U-Net claims that many numbers; none of them is written."""
    path = headers_only.sd(tmp_path / "sd")
    width = 1024
    header = {
        "conv_in.weight": {"dtype": "F16", "shape": [width, 4, 1, 1], "data_offsets": [0, 8 * width]},
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": {
            "dtype": "F16",
            "shape": [numbers // width, width],
            "data_offsets": [8 * width, 8 * width + numbers // width * width * 2],
        },
    }
    text = json.dumps(header).encode()
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + 8 * width + numbers // width * width * 2)
    return path


def test_the_doctor_says_what_a_model_needs_and_what_would_make_it_fit(tmp_path: Path) -> None:
    path = large(tmp_path, 6 * 2**30)
    model = ModelConfig(name="mine", source=str(path))
    (finding,) = examine_memory(model, EngineConfig(), CARD)
    assert finding.status is CheckStatus.BAD
    assert finding.what == "Memory of mine"
    assert finding.words == "its weights take 12.0 GiB, and painting about 13.3 GiB in all, and the card has 8.0 GiB"
    assert finding.remedy == 'Set memory = ["8bit"]: then it needs 7.4 GiB.'
    (finding,) = examine_memory(model.model_copy(update={"memory": ("8bit",)}), EngineConfig(), CARD)
    assert finding.status is CheckStatus.GOOD
    assert finding.words == "its weights take 6.1 GiB, and painting about 7.4 GiB in all, of 8.0 GiB"
    (finding,) = examine_memory(model, EngineConfig(), {**CARD, "gib": 3.0})
    assert finding.remedy.startswith("It fits in no way: the least that it needs is ")
    (finding,) = examine_memory(model, EngineConfig(), {"device": "cpu", "gib": 0.0})
    assert finding.status is CheckStatus.GOOD


def test_the_doctor_says_what_this_machine_cannot_do(tmp_path: Path) -> None:
    model = ModelConfig(name="mine", source=str(headers_only.sd(tmp_path / "sd")), memory="4bit")  # type: ignore[arg-type]
    (finding,) = examine_memory(model, EngineConfig(), {"device": "cpu"})
    assert (finding.status, finding.words) == (
        CheckStatus.BAD,
        "4bit needs an NVIDIA or AMD GPU that torch can use, and this machine paints on cpu.",
    )


def test_a_tensor_of_a_header_counts_its_numbers() -> None:
    assert Tensor("Q4_K", (2, 256), 0, 288).numbers == 512
    assert GIB == 1 << 30
