"""What is said of the host's models that look at pictures, by their files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bot.engine.model_files.describer import check_describer, check_likeness
from bot.errors import UnusableFiles


def folder_of(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("preprocessor_config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    save_file({"weight": np.zeros(2, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(("kind", "check"), [("blip", check_describer), ("clip", check_likeness)])
def test_what_is_missing_or_of_another_kind_is_said_with_a_remedy(
    tmp_path: Path, kind: str, check: Callable[[Path], None]
) -> None:
    folder = folder_of(tmp_path, kind)
    check(folder)
    with pytest.raises(UnusableFiles, match="its folder nowhere is missing"):
        check(tmp_path / "nowhere")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UnusableFiles, match="Git LFS pointer"):
        check(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnusableFiles, match=r"model\.safetensors is missing"):
        check(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnusableFiles, match=r"holds a model of the kind bert, and only the kinds .* are loaded"):
        check(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UnusableFiles, match=r"preprocessor_config\.json"):
        check(folder)
