"""What most tests of the engine process need: torch's threads as they were, and a model with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.bot.worker.tiny_models import make_tiny_folder


@pytest.fixture(autouse=True, scope="module")
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with random weights."""
    return make_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")
