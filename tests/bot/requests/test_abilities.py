"""A request for what its model cannot do is refused before the queue, with what there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, open_app
from bot.config import EMBEDDED_MODEL, Config, ModelConfig
from bot.engine.fake import FakeEngine
from bot.errors import UserError
from bot.jobs import ChannelId, Destination, GuildId, Operation, Requester, Surface, Upload, UserId
from bot.requests.options import Edit, Options
from tests.bot.engine.model_files.headers_only import FLUX, sd, write

ME = Requester(UserId(1), GuildId(2))
HERE = Destination(ChannelId(3))
IMAGE = Upload(b"picture", 64, 64, "a" * 64)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """A host with three models, one of which can paint from words alone, and one has no upscaler."""
    models = (
        EMBEDDED_MODEL,
        ModelConfig(name="words", source=str(write(tmp_path / "s", {**FLUX, "_class_name": "SanaPipeline"}, {}))),
        ModelConfig(name="sd", source=str(sd(tmp_path / "sd"))),
    )
    async with open_app(Config(data=tmp_path / "data", models=models), Surface.SANDBOX, engine=FakeEngine()) as opened:
        yield opened


@pytest.mark.parametrize(
    ("model", "operation", "words"),
    [
        (
            "words",
            Operation.IMAGE2IMAGE,
            "The model words cannot start from a picture. It can paint from words alone. These can: emoji, sd.",
        ),
        (
            "words",
            Operation.OUTPAINT,
            "The model words cannot continue a picture beyond its edges. It can paint from words alone. "
            "These can: emoji, sd.",
        ),
        (
            "sd",
            Operation.UPSCALE,
            "The model sd cannot enlarge a picture. It can paint from words alone, start from a picture, blend "
            "pictures, repaint a part of a picture, continue a picture beyond its edges and animate from one prompt to "
            "another. These can: emoji.",
        ),
    ],
)
async def test_what_a_model_cannot_do_is_refused_by_name(
    app: App, model: str, operation: Operation, words: str
) -> None:
    options = Options("a fox", image=IMAGE, model=model, edit=Edit((), operation, (5,), (0.5, 0.0, 0.0, 0.0)))
    with pytest.raises(UserError) as refused:
        await app.admission.quote(ME, options, HERE)
    assert str(refused.value) == words
    assert operation not in app.admission.operations(model)


@pytest.mark.parametrize("operation", [each for each in Operation if not each.is_film])
async def test_what_a_model_can_do_is_quoted(app: App, operation: Operation) -> None:
    assert operation in app.admission.operations("emoji")
    options = Options("a fox", image=IMAGE, model="emoji", edit=Edit((), operation, (5,), (0.5, 0.0, 0.0, 0.0)))
    assert (await app.admission.quote(ME, options, HERE)).request.operation is operation
