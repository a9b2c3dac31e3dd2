"""What can be done with a model, by its files: what diffusers has pipelines for, and what its folder brings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from diffusers.pipelines import auto_pipeline

from bot.config import EMBEDDED_MODEL, ModelConfig
from bot.engine.catalog import Catalog, folder_of
from bot.engine.model_files.folder import UPSCALER, pipeline_class
from bot.engine.model_files.operations import FILMING, operations_of
from bot.errors import UnusableFiles
from bot.jobs import Operation
from tests.bot.engine.model_files.headers_only import FLUX, flux, sd, write
from tests.bot.worker.damage import CLIP, FIRST_STAGE, UNET_OF_COMFY, safetensors

REPAINTING = {Operation.INPAINT, Operation.OUTPAINT}
FILMS = {Operation.FILM, Operation.IMAGE2FILM}
MORPHING = {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}
"""Pipelines that paint the frames of an animation; test_animations.py tries the first."""
PAINTING = set(Operation) - {Operation.UPSCALE} - FILMS


def pipelines() -> set[str]:
    """Every class of diffusers that a model's index may name, if it can be loaded at all."""
    known = set()
    for mapping in auto_pipeline.SUPPORTED_TASKS_MAPPINGS:
        for pipeline in mapping.values():
            try:
                known.add(pipeline_class({"_class_name": pipeline.__name__}, "the index"))
            except UnusableFiles:
                continue
    return known


def test_the_table_is_that_of_diffusers() -> None:
    names = pipelines()
    assert len(names) > 60
    for name in names:
        if name in FILMING:
            # test_films.py paints with each of them.
            continue
        expected = {Operation.TEXT2IMAGE}
        if re.sub("(Img2Img|Inpaint|ControlNet)", "", name) in MORPHING:
            expected |= {Operation.MORPH}
        for mapping, operations in (
            (auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, {Operation.IMAGE2IMAGE, Operation.BLEND}),
            (auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING, REPAINTING),
        ):
            # As `bot.worker.pipelines` chooses the class for a request.
            if auto_pipeline._get_task_class(mapping, name.replace("ControlNet", ""), False):
                expected |= operations
        assert operations_of(name, None, upscales=False) == expected, name


def test_models_of_a_host_do_what_their_files_say(tmp_path: Path) -> None:
    masked = sd(tmp_path / "masked", pipeline="StableDiffusionInpaintPipeline")
    (masked / "unet" / "config.json").write_text(json.dumps({"in_channels": 9}))
    sana = write(tmp_path / "sana", {**FLUX, "_class_name": "SanaPipeline"}, {})
    large = sd(tmp_path / "large")
    shutil.copytree(Path(folder_of(EMBEDDED_MODEL)) / UPSCALER, large / UPSCALER)
    folders = {"masked": masked, "sana": sana, "large": large, "sd": sd(tmp_path / "sd"), "flux": flux(tmp_path / "f")}
    models = [ModelConfig(name=name, source=str(folder)) for name, folder in folders.items()]
    hub = ModelConfig(name="hub", source="someone/something-that-was-never-downloaded")
    catalog = Catalog([EMBEDDED_MODEL, *models, hub])
    catalog.look()
    assert catalog.troubles == {}
    assert catalog.operations("emoji") == catalog.operations("large") == set(Operation) - FILMS
    assert catalog.operations("sd") == PAINTING
    assert catalog.operations("flux") == PAINTING - {Operation.MORPH}
    assert catalog.operations("hub") == PAINTING | FILMS, "it is not known what it can do"
    assert catalog.operations("masked") == REPAINTING
    assert catalog.operations("sana") == {Operation.TEXT2IMAGE}


@pytest.mark.parametrize(("channels", "expected"), [(4, PAINTING), (9, REPAINTING)])
def test_one_file_is_told_by_its_first_layer(tmp_path: Path, channels: int, expected: set[Operation]) -> None:
    file = tmp_path / "model.safetensors"
    first = {"model.diffusion_model.input_blocks.0.0.weight": (320, channels, 3, 3)}
    file.write_bytes(safetensors({**UNET_OF_COMFY, **FIRST_STAGE, **CLIP, **first}))
    catalog = Catalog([ModelConfig(name="mine", source=str(file))])
    catalog.look()
    assert catalog.troubles == {}
    assert catalog.operations("mine") == expected


def test_an_upscaler_that_is_added_is_seen(tmp_path: Path) -> None:
    catalog = Catalog([ModelConfig(name="mine", source=str(sd(tmp_path / "sd")))])
    catalog.look()
    assert Operation.UPSCALE not in catalog.operations("mine")
    shutil.copytree(Path(folder_of(EMBEDDED_MODEL)) / UPSCALER, tmp_path / "sd" / UPSCALER)
    catalog.look()
    assert Operation.UPSCALE in catalog.operations("mine")
    (tmp_path / "sd" / UPSCALER / "model.safetensors").write_bytes(b"rubbish")
    catalog.look()
    assert Operation.UPSCALE not in catalog.operations("mine")
    assert "its upscaler/ is damaged" in catalog.troubles["mine"]
