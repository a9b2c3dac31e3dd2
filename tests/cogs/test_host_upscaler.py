"""What the button that enlarges says and does: by the model's own network, the host's, or painting over."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from bot.app import open_app
from bot.config import EMBEDDED_MODEL, Config, EngineConfig, ModelConfig
from bot.doctor import CheckStatus, examine
from bot.engine.catalog import Catalog
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError
from bot.jobs import Operation, Surface
from tests.bot.engine.model_files.headers_only import sd
from tests.conftest import Workshop


def esrgan(path: Path, doublings: int = 2) -> Path:
    """The header and the zeros of an ESRGAN that doubles the size so many times."""
    shapes = {"model.0.weight": [1, 3, 3, 3], "model.1.sub.0.RDB1.conv1.0.weight": [1, 1, 3, 3]}
    last = 4 + 3 * doublings
    shapes[f"model.{last}.weight"] = [3, 1, 3, 3]
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1] * 9
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


@pytest.fixture(params=["own", "host", "none", "broken"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(tmp_path: Path, kind: str) -> Config:
    upscaler = ""
    if kind != "none":
        upscaler = str(esrgan(tmp_path / "4x.safetensors", doublings=1 if kind == "broken" else 2))
    model = EMBEDDED_MODEL if kind == "own" else ModelConfig(name="sd", source=str(sd(tmp_path / "sd")), steps=4)
    return Config(data=tmp_path / "data", engine=EngineConfig(upscaler=upscaler), models=(model,))


async def test_the_button_says_which_way_it_takes_and_takes_it(workshop: Workshop, kind: str) -> None:
    label, operation = {
        "own": ("Upscale", Operation.UPSCALE),
        "host": ("Upscale (host's model)", Operation.UPSCALE),
        "none": ("Upscale (repaint)", Operation.IMAGE2IMAGE),
        "broken": ("Upscale (repaint)", Operation.IMAGE2IMAGE),
    }[kind]
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat", seed=7, aspect="256x256")
    (job,) = await workshop.ended(1)
    message: Any = workshop.message(job.destination.message_id)
    names = [str(child.label) for row in message.components for child in row.children]
    assert [name for name in names if name.startswith("Upscale")] == [label]
    await workshop.member("grace").click(message, label=label)
    assert (await workshop.ended(2))[-1].request.operation is operation


def test_a_file_that_is_replaced_is_looked_at_again(tmp_path: Path) -> None:
    file = esrgan(tmp_path / "4x.safetensors", doublings=3)
    hub = ModelConfig(name="hub", source="org/name")
    catalog = Catalog([ModelConfig(name="sd", source=str(sd(tmp_path / "sd"))), hub], str(file))
    catalog.look()
    assert Operation.UPSCALE not in catalog.operations("sd")
    esrgan(file)
    catalog.look()
    assert Operation.UPSCALE in catalog.operations("sd") & catalog.operations("hub")
    assert not catalog.has_own_upscaler("sd")
    file.unlink()
    catalog.look()
    assert Operation.UPSCALE not in catalog.operations("sd")


async def test_the_doctor_says_what_the_header_tells(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"

    async def said() -> list[tuple[CheckStatus, str]]:
        config = Config(data=tmp_path / "data", engine=EngineConfig(upscaler=str(file)))
        found = examine(config)
        try:
            return [(finding.status, finding.words) async for finding in found if finding.what == "Upscaler"]
        finally:
            await found.aclose()  # type: ignore[attr-defined]

    assert await said() == [(CheckStatus.BAD, "its file net.safetensors is missing.")]
    esrgan(file, doublings=1)
    ((status, words),) = await said()
    assert status is CheckStatus.BAD
    assert "enlarges pictures 2 times" in words
    esrgan(file)
    assert await said() == [(CheckStatus.GOOD, str(file))]


async def test_a_missing_file_is_said_at_the_start(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", engine=EngineConfig(upscaler=str(tmp_path / "gone.safetensors")))
    with pytest.raises(ConfigError, match=r"engine\.upscaler: .*gone\.safetensors does not exist\. Give a"):
        async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
            pass
