"""A child that misbehaves, and when each was started."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bot.engine.children import Child


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """A child that misbehaves."""
    return Child(tmp_path)


@pytest.fixture
def starts(caplog: pytest.LogCaptureFixture) -> Callable[[], list[float]]:
    """When each child was started."""
    caplog.set_level(logging.INFO, "bot.engine.local")
    return lambda: [record.created for record in caplog.records if record.message.endswith("started")]
