"""Whatever bytes a file has, the recogniser answers in a sentence or with what it found, and never fails otherwise."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.model_files.adapters import check_lora
from bot.engine.model_files.header import read_header
from bot.engine.model_files.recognise import recognise
from bot.errors import UnusableFiles
from tests.bot.engine.model_files.headers_only import sd
from tests.bot.worker.damage import WHOLE, lora, raw, safetensors

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F16", "F32", "F8_E4M3", "Q4"]) | JSON,
        "shape": st.lists(st.integers(-1, 8), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 32), min_size=2, max_size=2) | JSON,
    },
)
NAMES = st.sampled_from([*WHOLE, *lora(), "emb_params", "v_pred", "__metadata__", ""])
HEADERS = st.dictionaries(NAMES, ENTRY, max_size=5) | JSON


def check(look: Callable[[], object], folder: str) -> None:
    """Look at something; what is said of it has both sentences and names no folder of the host."""
    try:
        look()
    except UnusableFiles as error:
        said = error
    else:
        return
    assert said.words.endswith(".")
    assert said.remedy.endswith(".")
    assert folder not in str(said)


def answers(data: bytes) -> None:
    """Look at a file with these bytes as a LoRA and as a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.safetensors"
        path.write_bytes(data)
        check(lambda: check_lora(read_header(path), {"unet_mid_block": (4, 4)}, path.name), folder)
        check(lambda: recognise(path), folder)


@given(st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_any_bytes(data: bytes) -> None:
    answers(data)


@given(HEADERS, st.integers(0, 64))
@settings(max_examples=250, deadline=None)
def test_any_header(header: Any, size: int) -> None:
    answers(raw(header, bytes(size)))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_whole_file_with_one_byte_changed_or_cut_off(data: st.DataObject) -> None:
    whole = bytearray(safetensors({**lora(), **WHOLE}))
    at = data.draw(st.integers(0, 1500))
    whole[at] = data.draw(st.integers(0, 255))
    answers(bytes(whole[: data.draw(st.sampled_from([len(whole), at, at + 9]))]))


@given(
    st.sampled_from(
        ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "tokenizer/tokenizer.json"]
    ),
    JSON | st.dictionaries(st.sampled_from(["_class_name", "unet", "vae", "tokenizer", "num_train_timesteps"]), JSON),
)
@settings(max_examples=150, deadline=None)
def test_any_settings(place: str, content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = sd(Path(folder) / "any")
        stored = json.loads((path / place).read_text())
        changed = {**stored, **content} if isinstance(content, dict) else content
        (path / place).write_text(json.dumps(changed))
        check(lambda: recognise(path), folder)
