import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training import evaluate, ordinary, painter, prompts, scorer, timing
from training.compose import Composer, held_out
from training.phrases import PHRASES
from training.scenes import SCENES
from training.sheets import sheet as drawn_sheet
from training.sources import SIZE, VENDORS, concepts


def sprites(folder: Path, known: dict[str, int]) -> Path:
    """Write sprites.npz: as many concepts of each emoji set as `known` says, discs and bars of one hue each."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    shapes = (np.hypot(x, y) < 0.45, abs(x) < 0.15, abs(y) < 0.15)
    pixels, concept, vendor = [], [], []
    for name, count in known.items():
        for index in range(count):
            red, green, blue = (0.5 + 0.45 * math.cos(index + turn) for turn in (0, 2.1, 4.2))
            sprite = np.array([red, green, blue, 1]) * shapes[index % 3][..., None] * 255
            pixels.append(sprite.astype(np.uint8))
            concept.append(index)
            vendor.append(VENDORS.index(name))
    np.savez(folder / "sprites.npz", pixels=np.stack(pixels), concept=concept, vendor=vendor)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = sprites(tmp_path_factory.mktemp("work"), {"fluent": len(concepts()), "noto": 3, "flat": 3, "twemoji": 3})
    torch.manual_seed(0)
    torch.save(scorer.Scorer(len(concepts())).state_dict(), folder / "scorer.pt")
    return folder


@pytest.fixture(scope="module")
def composer(work):
    return Composer(work)


def test_no_prompt_is_a_caption_of_the_training(composer):
    listed = prompts.prompts(composer)
    texts = {prompt.text for prompt in listed}
    assert len(texts) == len(listed) >= 500
    assert not texts & {scene.caption for scene in composer.scenes(20_000)}
    for prompt in listed:
        names = [composer.concepts[concept].name for concept in prompt.concepts]
        match prompt.kind:
            case "colours":
                assert held_out(*names, prompt.colour, prompt.background)
            case "pair":
                assert held_out(*sorted(names))
            case "count":
                assert held_out(prompt.number, *names)
            case kind if kind in prompts.RELATED:
                assert held_out(prompts.RELATED[kind], *names)
            case _:
                assert prompt.text.startswith(prompts.WORDINGS)
    words = {word for thing in composer.concepts for name in thing.names for word in name.split()}
    assert not words & set(prompts.SYNONYMS)
    assert not any(wording in caption for wording in prompts.WORDINGS for caption in PHRASES)


def test_the_list_and_the_sheet_are_the_same_every_time(composer, work):
    listed = prompts.prompts(composer)
    assert listed == prompts.prompts(Composer(work, seed=9))
    assert len(prompts.contact(listed)) == 24
    assert len(set(prompts.gallery(composer))) == 208
    assert {prompt.kind for prompt in prompts.sample(listed, 64)} == set(prompts.SIZES)


def test_colours_and_backgrounds_are_measured_on_the_pixels(composer):
    asked = [prompt for prompt in prompts.prompts(composer) if prompt.kind == "colours"]
    pictures = composer.render([prompts.real(composer, prompt, random.Random(1)) for prompt in asked])
    assert evaluate.backgrounds(pictures) == [prompt.background for prompt in asked]
    right = [seen == prompt.colour for seen, prompt in zip(evaluate.colours(pictures), asked, strict=True)]
    assert sum(right) >= 0.95 * len(right)


class Oracle(torch.nn.Module):
    """Says what it was told to, picture after picture, and of each that it is one thing on plain ground."""

    def __init__(self, *answers: int) -> None:
        super().__init__()
        self.answers = list(answers)

    def forward(self, pictures):
        things = torch.zeros(len(pictures), len(concepts()))
        for row in range(len(pictures)):
            things[row, self.answers.pop(0)] = 1
        return things, torch.eye(6)[[1] * len(pictures)], torch.eye(len(SCENES) + 1)[[0] * len(pictures)]


def test_the_judge_counts_what_is_right_and_only_that(composer):
    listed = prompts.prompts(composer)
    pair = next(prompt for prompt in listed if prompt.kind == "pair")
    worn = next(prompt for prompt in listed if prompt.kind == "worn")
    single = next(prompt for prompt in listed if prompt.kind == "single")
    other = next(concept for concept in range(123) if concept not in (*pair.concepts, *worn.concepts))
    blank = torch.ones(1, 3, SIZE, SIZE)

    def verdict(prompt, *seen):
        """`seen` are the whole picture, then its parts in either of two mirrored layouts."""
        return evaluate.judge(Oracle(*seen), composer, blank, [prompt])[0]

    first, second = pair.concepts
    assert all(verdict(pair, other, first, second, first, second).values())
    assert all(verdict(pair, other, second, first, second, first).values())
    half = {"pair: both objects": False, "pair: one object at least": True}
    assert verdict(pair, other, first, other, first, other) == half
    assert not any(verdict(pair, other, other, other, other, other).values())
    wearer, hat = worn.concepts
    assert all(verdict(worn, other, wearer, hat, wearer, hat).values())
    assert not verdict(worn, other, hat, wearer, hat, wearer)["worn: both objects"], "the hat wears somebody"
    assert verdict(single, *single.concepts) == {"single: object": True}
    assert verdict(single, other) == {"single: object": False}
    assert evaluate.rates([{"a": True}, {"a": False}, {"b": True}]) == {"a": (0.5, 2), "b": (1.0, 1)}


def test_a_scorer_learns_from_real_pictures(tmp_path):
    torch.manual_seed(0)
    folder = sprites(tmp_path, dict.fromkeys(VENDORS, 3))
    learned, steps = scorer.train(Composer(folder, seed=1), batch=6, most=30)
    assert steps == 30
    assert scorer.accuracy(learned, Composer(folder, seed=2), 64)["object"] > 0.6  # three shapes: chance is 0.33


def test_the_command_leaves_a_scorer(tmp_path, capsys):
    folder = sprites(tmp_path, {"fluent": 3, "noto": 3, "flat": 3, "twemoji": 3})
    scorer.main(folder, minutes=0.02, device="cpu", batch=4)
    assert "as painters learn: object" in capsys.readouterr().out
    assert not scorer.load_scorer(folder).training


def test_the_command_measures_a_model_and_shows_it(work, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "SEEDS", 2)  # of each prompt, to be quick
    evaluate.main(evaluate.SHIPPED, work, tmp_path, size=12, steps=1, timed=False)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(0 <= figure["painted"] <= 1 for figure in figures["fidelity"].values())
    assert figures["fidelity"]["colours: background"]["real"] == 1
    assert all(figure["painted"] > 0 for figure in figures["diversity"].values())
    assert 10 < figures["psnr"] < 60
    assert (tmp_path / "figures.md").read_text() in capsys.readouterr().out
    with Image.open(tmp_path / "contact.png") as sheet:
        assert sheet.width > 6 * SIZE
        assert sheet.height > 4 * SIZE


def test_seconds_are_measured_beside_a_busy_process():
    row = timing.measure(evaluate.SHIPPED, 2, 3.0, 1, busy=True, pictures=1)
    assert 0 < row["seconds a UNet forward"] < row["seconds a picture"]


def test_what_is_missing_is_named(work, tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m training"):
        scorer.load_scorer(tmp_path)
    with pytest.raises(FileNotFoundError, match="model_index"):
        painter.load(tmp_path)


def test_the_sheet_of_ordinary_prompts_marks_those_with_a_note(tmp_path, capsys, monkeypatch):
    asked = ordinary.listed()
    assert len(set(asked)) == 60
    monkeypatch.setattr(ordinary, "listed", lambda: ["a fox", "a zeppelin"])
    captions = []
    monkeypatch.setattr(ordinary, "sheet", lambda *told: captions.extend(told[1]) or drawn_sheet(*told))
    ordinary.main(out=tmp_path / "sheet.png")
    assert captions == ["a fox", "a zeppelin *"]
    assert "a zeppelin: This small model can't draw “zeppelin”." in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.height > SIZE
