"""What Discord is offered of samplers comes from the model, and what does not fit it is refused before the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.config import EMBEDDED_MODEL, Config, ModelConfig
from tests.bot.engine.model_files.headers_only import flux, sd
from tests.bot.worker.damage import LFS
from tests.conftest import Workshop


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    broken = sd(tmp_path / "broken")
    (broken / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(LFS)
    folders = {"flux": flux(tmp_path / "flux"), "sample": sd(tmp_path / "sample", prediction_type="sample")}
    models = [ModelConfig(name=name, source=str(folder)) for name, folder in {**folders, "broken": broken}.items()]
    return config.model_copy(update={"models": (EMBEDDED_MODEL, *models)})


@pytest.mark.parametrize(
    ("model", "offered"), [("flux", ["default"]), ("sample", ["default", "euler", "heun"]), ("emoji", None)]
)
async def test_samplers_are_offered_as_the_chosen_model_can_use_them(
    workshop: Workshop, model: str, offered: list[str] | None
) -> None:
    ada = workshop.member("ada")
    choices = await ada.autocomplete(workshop.channel, "imagine", "sampler", "", prompt="x", model=model)
    names = [choice["value"] for choice in choices if choice["value"] in ("default", "euler", "euler a", "heun")]
    assert names == (offered or ["default", "euler", "euler a", "heun"])


@pytest.mark.parametrize("asked", [{"sampler": "euler"}, {"prompt": "a cat --sampler euler"}])
async def test_a_sampler_that_does_not_fit_makes_no_job(workshop: Workshop, asked: dict[str, str]) -> None:
    ada = workshop.member("ada")
    refused = await ada.slash(workshop.channel, "imagine", **{"prompt": "a cat", "model": "flux", **asked})
    assert "The model flux cannot use the sampler euler, because it predicts a flow" in refused.response.content
    assert "There is: default." in refused.response.content
    assert await workshop.jobs() == []


async def test_a_model_whose_files_are_broken_is_refused_at_once_and_the_others_work(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    refused = await ada.slash(workshop.channel, "imagine", prompt="a cat", model="broken")
    assert (
        "Painting is unavailable: The model broken cannot be loaded: vae/diffusion_pytorch_model.safetensors is a Git "
        "LFS pointer"
    ) in refused.response.content.replace("\\", "")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert job.request.model == "emoji"
