"""/describe: a sentence about a picture by the host's model, a real one of each kind with random weights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from bot import child
from bot.app import open_app
from bot.config import Config, EngineConfig
from bot.doctor import CheckStatus, examine
from bot.engine import framing
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError, EngineError, UserError
from bot.jobs import PictureLimits, Surface, UserId
from bot.requests import describing
from bot.requests.describing import MOST_WAITING, Describer
from bot.worker.nsfw import UPLOAD_BLOCKED
from cogs import _words
from tests.conftest import Workshop
from tests.picture_cases import quarters, saved

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "fox", "blue", "house", "tree", "moon", "cat", "dog"]
PICTURE = saved(quarters(), "PNG")


def describer(folder: Path, kind: str = "blip") -> Path:
    """A model of a kind with random weights, in the layout of the hub."""
    folder.mkdir(parents=True)
    tokenizer = transformers.BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)})
    torch.manual_seed(5)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = small | {"image_size": 32, "patch_size": 16}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = small | {"vocab_size": len(WORDS), "max_position_embeddings": 80, "encoder_hidden_size": 16} | ends
    model: Any
    processor: Any
    if kind == "blip":
        config = transformers.BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
        model = transformers.BlipForConditionalGeneration(config)
        images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
        processor = transformers.BlipProcessor(images, tokenizer)
    else:
        git = transformers.GitConfig(vision_config=vision, **text)
        model = transformers.GitForCausalLM(git)
        crop = {"height": 32, "width": 32}
        clip = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)
        processor = transformers.GitProcessor(clip, tokenizer)
    # Random weights would rather end than say a word.
    output = model.text_decoder.get_output_embeddings() if kind == "blip" else model.get_output_embeddings()
    output.bias.data[WORDS.index("a") :] += 3
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return describer(tmp_path_factory.mktemp("describer") / "blip")


@pytest.fixture
def config(tmp_path: Path, folder: Path) -> Config:
    return Config(data=tmp_path / "data", engine=EngineConfig(describer=str(folder)))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


async def test_a_person_gets_words_for_a_picture_and_paints_them(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    told = await ada.slash(workshop.channel, "describe", image=("a.png", PICTURE))
    shown = told.response
    assert shown.ephemeral
    said = _words.described_in(shown.content)
    assert said
    assert set(said.split()) <= set(WORDS)
    assert await workshop.jobs() == []
    await workshop.restart()
    opened = await ada.click(shown, label="Paint this")
    await ada.submit_modal(opened, {"prompt": f"{said} at night"})
    (job,) = await workshop.ended(1)
    assert job.request.prompt == f"{said} at night"
    assert job.requester == workshop.requester(ada)


@pytest.mark.parametrize("kind", ["blip", "git"])
async def test_the_words_are_those_of_the_model_alone(tmp_path: Path, kind: str) -> None:
    """The child loads what the folder holds, and decodes any kind of upload as it is meant."""
    place = describer(tmp_path / kind, kind)
    processor = transformers.AutoProcessor.from_pretrained(place)
    model = transformers.AutoModelForImageTextToText.from_pretrained(place, dtype=torch.float32)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 255, (40, 60, 3), "uint8"))
    inputs = processor(images=picture, return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=60, num_beams=3, do_sample=False)
    expected = processor.decode(tokens[0], skip_special_tokens=True).strip()
    assert expected
    assert await Describer(place).describe(UserId(1), saved(picture, "PNG"), None) == expected
    assert await Describer(place).describe(UserId(1), saved(picture, "WEBP", lossless=True), None) == expected


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.png", b"", "an empty file"),
        ("a.png", b"no picture", "not a picture"),
        ("a.png", PICTURE[:200], "damaged"),
    ],
)
async def test_what_is_no_picture_is_refused_in_a_sentence(
    workshop: Workshop, name: str, data: bytes, words: str
) -> None:
    told = await workshop.member("ada").slash(workshop.channel, "describe", image=(name, data))
    answer = told.response if told.response and told.response.content else told.followups[-1]
    assert answer.ephemeral
    assert words in answer.content


async def test_a_picture_that_is_too_explicit_for_the_channel_is_not_described(
    workshop: Workshop, folder: Path
) -> None:
    with pytest.raises(UserError) as caught:
        await Describer(folder).describe(UserId(1), PICTURE, PictureLimits(0.000001))
    assert str(caught.value) == UPLOAD_BLOCKED
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "mod pictures", block=1)
    asked: list[object] = []
    describe = workshop.app.describer.describe

    async def noted(user_id: UserId, picture: bytes, limits: PictureLimits | None) -> str:
        asked.append(limits)
        return await describe(user_id, picture, limits)

    workshop.app.describer.describe = noted  # type: ignore[method-assign]
    await ada.slash(workshop.channel, "describe", image=("a.png", PICTURE))
    assert [limits.block for limits in asked] == [0.01]  # type: ignore[attr-defined]


async def test_a_blocked_person_gets_no_words(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "mod block", member=ada)
    told = await ada.slash(workshop.channel, "describe", image=("a.png", PICTURE))
    assert told.ephemeral
    assert "A moderator blocked you" in told.response.content


async def test_each_person_has_one_picture_there_and_few_people_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def held(module: str, data: bytes, seconds: float) -> bytes:
        await go_on.wait()
        return framing.pack({"kind": "described", "words": "a cat"})

    monkeypatch.setattr(child, "run", held)
    describer = Describer(folder)
    waiting = [asyncio.create_task(describer.describe(UserId(n), PICTURE, None)) for n in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(UserError, match="another picture of yours"):
        await describer.describe(UserId(0), PICTURE, None)
    with pytest.raises(UserError, match="come first"):
        await describer.describe(UserId(99), PICTURE, None)
    go_on.set()
    assert await asyncio.gather(*waiting) == ["a cat"] * MOST_WAITING
    assert await describer.describe(UserId(0), PICTURE, None) == "a cat"


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def of_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")


def cut_short(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-50])


DAMAGES = {
    without_weights: "model.safetensors is missing",
    without_config: "config.json is missing",
    of_another_kind: "of the kind clip",
    cut_short: "model.safetensors",
}


@pytest.mark.parametrize("damage", list(DAMAGES), ids=lambda damage: damage.__name__)
async def test_a_model_that_cannot_be_used_is_said_to_people_and_by_doctor(tmp_path: Path, damage: Any) -> None:
    folder = describer(tmp_path / "blip")
    damage(folder)
    with pytest.raises(UserError, match=DAMAGES[damage]) as caught:
        await Describer(folder).describe(UserId(1), PICTURE, None)
    assert str(tmp_path) not in str(caught.value)
    config = Config(data=tmp_path / "data", engine=EngineConfig(describer=str(folder)))
    found = [finding async for finding in examine(config) if finding.what == "Describer"]
    assert [finding.status for finding in found] == [CheckStatus.BAD]
    assert DAMAGES[damage] in found[0].words


async def test_weights_that_are_missing_are_not_filled_with_random_ones(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = describer(tmp_path / "blip")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "encoder.layers.0" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="some of its weights are missing"):
        await Describer(folder).describe(UserId(1), PICTURE, None)


async def test_a_process_that_takes_too_long_ends_and_frees_the_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describer = Describer(folder)
    monkeypatch.setattr(describing, "SECONDS", 0.2)
    with pytest.raises(EngineError, match=r"could not be described\. It took longer than 0 s"):
        await describer.describe(UserId(1), PICTURE, None)
    describer.check_room(UserId(1))


async def test_a_folder_that_is_not_there_is_said_at_start(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", engine=EngineConfig(describer=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"engine\.describer: .* is not a folder"):
        async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
            pass
