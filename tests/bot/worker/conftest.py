"""What most tests of the engine process need: torch's threads as they were, and a model with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from bot.worker import forwards as running
from bot.worker import rows
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.tiny_models import make_tiny_folder
from tests.bot.worker.tiny_pipelines import Kind


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


@pytest.fixture(scope="module")
def one_thread(own_threads: None) -> None:
    """More threads only wait for each other on models this small."""
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    """A pipeline of every kind."""
    return tiny_pipelines.kinds(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[list[rows.Parked]]:
    """The groups that shared a forward, in order."""
    groups: list[list[rows.Parked]] = []

    def recording(group: list[rows.Parked], cap: int, *ways: Any) -> list[Any]:
        groups.append(list(group))
        return rows.forward(group, cap, *ways)

    monkeypatch.setattr(running, "forward", recording)
    return groups
