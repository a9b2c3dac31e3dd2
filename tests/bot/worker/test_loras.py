"""LoRAs per row: in a mixed batch everyone paints what diffusers paints with that LoRA, or without any, alone."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import save_file

from bot.config import LoraConfig
from bot.jobs import Adapters
from bot.worker.calls import Call, Cancel, Cancelled
from bot.worker.loras import RowLoras
from bot.worker.prompts import Prompts
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.batches import EXACT, Stage, distance
from tests.bot.worker.tiny_pipelines import scheduler_for

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

NAMES = ("ink", "clay")
WORN: tuple[Adapters, ...] = ((), (("ink", 1.0),), (("ink", 0.4),), (("clay", -0.7),), (("ink", 0.5), ("clay", 0.9)))


def make_lora(pipeline: Any, file: Path, *, seed: int, **more: Any) -> Path:
    """Write a LoRA with random matrices for a copy of the pipeline's U-Net and text encoder."""
    torch.manual_seed(seed)
    scratch = copy.deepcopy(pipeline)
    targets = {
        "unet": ["to_q", "to_k", "to_out.0", "conv1", "time_emb_proj"],
        "text_encoder": ["q_proj", "v_proj", "fc1"],
    }
    states = {}
    for part, names in targets.items():
        module = getattr(scratch, part)
        settings = peft.LoraConfig(r=2 + seed, lora_alpha=3, target_modules=names, init_lora_weights=False, **more)
        module.add_adapter(settings, adapter_name="made")
        states[f"{part}_lora_layers"] = peft.get_peft_model_state_dict(module, adapter_name="made")
        states[f"{part}_lora_adapter_metadata"] = settings.to_dict()
    type(pipeline).save_lora_weights(file.parent, weight_name=file.name, **states)
    return file


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    pipeline = tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("tokenizer"), torch.float64)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def loras(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> list[LoraConfig]:
    folder = tmp_path_factory.mktemp("loras")
    files = [make_lora(plain, folder / f"{name}.safetensors", seed=n) for n, name in enumerate(NAMES, start=1)]
    return [LoraConfig(name=name, source=str(file)) for name, file in zip(NAMES, files, strict=True)]


def asked(seed: int, steps: int, guidance: float) -> dict[str, Any]:
    return {
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "width": 32,
        "height": 32,
        "generator": [torch.Generator().manual_seed(seed)],
        "output_type": "latent",
    }


def alone(plain: Any, loras: list[LoraConfig], worn: Adapters, sampler: str, seed: int, **more: Any) -> torch.Tensor:
    """What diffusers paints with these LoRAs."""
    pipeline = copy.deepcopy(plain) if worn else copy.copy(plain)
    pipeline.scheduler = scheduler_for(pipeline, sampler)
    if worn:
        for lora in loras:
            pipeline.load_lora_weights(lora.source, adapter_name=lora.name)
        pipeline.set_adapters([name for name, _ in worn], [weight for _, weight in worn])
        pipeline.to(torch.float64)
    return pipeline(prompt="red cat", negative_prompt="low", **asked(seed, **more)).images


def test_a_changing_crowd_with_different_loras_paints_what_each_paints_alone(
    plain: Any, loras: list[LoraConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(1)
    row_loras, shared = RowLoras(), copy.deepcopy(plain)
    assert row_loras.load(shared, loras) == {}
    prompts = Prompts(shared, row_loras.on_all)
    rows: list[int] = []
    shared.unet.register_forward_pre_hook(lambda _module, arguments: rows.append(arguments[0].shape[0]))
    requests, script = {}, defaultdict(list)
    for worn in WORN:
        for sampler in dice.sample(["ddim", "euler a", "dpm++ 2m", "heun"], 2):
            name = f"{worn} {sampler}"
            facts = {"seed": dice.randrange(99), "steps": dice.randint(3, 6), "guidance": dice.choice([1.0, 5.0])}
            requests[name] = (worn, sampler, facts)
            arguments = asked(**facts) | prompts.arguments("red cat", "low", worn)
            call = Call(name, name, shared, scheduler_for(shared, sampler), arguments, worn)
            script[dice.randint(0, 4)].append(call)
    leaver = asked(1, 50, 5.0) | prompts.arguments("red cat", "low", WORN[1])
    script[1].append(Call("leaves", "x", shared, scheduler_for(shared, "ddim"), leaver, WORN[1]))
    script[5].append(Cancel("leaves"))

    stage = Stage(row_cap=12, apply_loras=row_loras.on_rows)
    stage.play(script)

    for name, (worn, sampler, facts) in requests.items():
        assert distance(stage.images(name), alone(plain, loras, worn, sampler, **facts)) <= EXACT, name
    assert isinstance(stage.end("leaves"), Cancelled)
    assert sum(rows) / len(rows) > 3, "they shared their forwards"


def test_what_is_worn_changes_the_picture(plain: Any, loras: list[LoraConfig]) -> None:
    """Else the crowd above would prove nothing."""
    images = [alone(plain, loras, worn, "ddim", 3, steps=4, guidance=5.0) for worn in WORN]
    for number, image in enumerate(images):
        assert all(distance(image, other) > 1e-3 for other in images[:number])


def test_nobody_wears_anything_unless_asked(plain: Any, loras: list[LoraConfig]) -> None:
    row_loras, shared = RowLoras(), copy.deepcopy(plain)
    row_loras.load(shared, loras)
    images = shared(prompt="red cat", negative_prompt="low", **asked(3, 4, 5.0)).images
    assert distance(images, alone(plain, loras, (), "default", 3, steps=4, guidance=5.0)) == 0.0
    with pytest.raises(ZeroDivisionError), row_loras.on_all((("ink", 1.0),)):
        raise ZeroDivisionError
    images = shared(prompt="red cat", negative_prompt="low", **asked(3, 4, 5.0)).images
    assert distance(images, alone(plain, loras, (), "default", 3, steps=4, guidance=5.0)) == 0.0


def test_a_lora_that_cannot_be_worn_is_named_and_spares_the_others(
    plain: Any, loras: list[LoraConfig], tmp_path: Path
) -> None:
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 99)
    stray = {"unet.nowhere.lora_A.weight": torch.zeros(2, 4), "unet.nowhere.lora_B.weight": torch.zeros(4, 2)}
    save_file(stray, tmp_path / "stray.safetensors")
    make_lora(plain, tmp_path / "dora.safetensors", seed=3, use_dora=True)
    bad = [LoraConfig(name=n, source=str(tmp_path / f"{n}.safetensors")) for n in ("noise", "stray", "dora", "gone")]
    row_loras, shared = RowLoras(), copy.deepcopy(plain)
    troubles = row_loras.load(shared, [*bad, *loras])
    assert set(troubles) == {"noise", "stray", "dora", "gone"}
    assert "row by row" in troubles["dora"]
    assert not any(str(tmp_path) in words for words in troubles.values())
    images = shared(prompt="red cat", negative_prompt="low", **asked(3, 4, 5.0)).images
    assert distance(images, alone(plain, loras, (), "default", 3, steps=4, guidance=5.0)) == 0.0
