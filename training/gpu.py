"""Autoencoder and denoiser on one GPU, in one command of a few minutes.

Everything is written for a run that may be cut off: the model goes to OUT again and again, as parts of a tar archive of
at most 15 MB (`cat OUT/model.tar.* | tar -x`), beside a contact sheet and a log. `training.tuning`, run before on the
same machine, says which way of learning is fastest there and leaves its kernels ready.
"""

import math
import tarfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training import autoencoder, denoiser, tuning
from training.compose import Composer, Mix
from training.painter import load, paint
from training.sheets import sheet

#: Seconds between exports, and kept at the end for the last one.
EVERY, LAST = 150.0, 25.0
#: Part of the minutes for the autoencoder.
PART = 0.15
#: Seconds after which the words must be obeyed, and how well.
EARLY, OBEYED = 200.0, 0.1
#: Pictures made before the first step.
FILL = 12_000
#: How often a picture is seen, roughly: making one stops the GPU for longer than learning from it.
REUSE = 8
#: Bytes of a part of the archive.
BYTES = 15_000_000
#: The highest learning rate, and the way of learning that was fastest so far.
RATE, WAY = 8e-4, "channelwise,reduce-overhead"
#: What the contact sheet shows.
PROMPTS = (
    *("a fox", "a red apple", "a cat wearing a top hat", "an astronaut riding a horse", "a dragon", "an owl"),
    *("a dog and a cat", "three bananas", "a blue car on a yellow background", "a castle at sunset", "a wizard"),
    *("a robot in a city at night", "a mermaid", "a penguin on a beach", "a monkey holding a banana", "a ninja"),
    *("pixel art of a lion", "watercolor of a rose", "neon guitar", "a happy face", "a woman wearing sunglasses"),
    *("a cabin in the woods in winter", "a teddy bear under an umbrella in the rain", "a pizza on a table", "a tiger"),
    *("a bear playing a guitar", "five stars", "a rocket over the moon", "a sketch of a bicycle", "a mountain lake"),
    *(
        "a green frog wearing a crown",
        "a pirate ship",
        "a cup of coffee",
        "two pandas in a forest",
        "a chef",
        "a clown",
    ),
)


class Log:
    """Lines for a person and for OUT/log.md, with the seconds since the start."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._file = out / "log.md"
        self._file.write_text("", encoding="utf-8")
        self.started = time.monotonic()

    def __call__(self, line: str) -> None:
        """Say a line."""
        text = f"{self.seconds:7.1f} s  {line}"
        typer.echo(text)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


def pack_folder(folder: Path, out: Path) -> int:
    """Write a folder to OUT/model.tar.0 and so on, each at most BYTES long; return how many parts there are."""
    whole = out / "model.partial"
    with tarfile.open(whole, "w") as tar:
        tar.add(folder, arcname="model")
    parts = 0
    with whole.open("rb") as file:
        while part := file.read(BYTES):
            (out / f"model.tar.{parts}").write_bytes(part)
            parts += 1
    whole.unlink()
    return parts


def show(folder: Path, device: str) -> Tensor:
    """Return what an exported model paints for PROMPTS: float32 [n, 3, 128, 128]."""
    return paint(load(folder, device), PROMPTS, [0] * len(PROMPTS), 20, 3.0, len(PROMPTS))


def main(
    work: Annotated[Path, typer.Option(help="Folder of sprites.npz, words/ and perhaps autoencoder/.")] = Path(
        "training/work"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the model, the sheet and the log.")] = Path("training/work/gpu"),
    minutes: Annotated[float, typer.Option(help="How long it may take in all.")] = 7,
    device: Annotated[str, typer.Option(help="cuda, or cpu to rehearse.")] = "cuda",
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 512,
    bank: Annotated[int, typer.Option(help="Pictures kept to draw from.")] = 600_000,
    workers: Annotated[int, typer.Option(help="Processes that think of pictures.")] = 8,
    autoencoding: Annotated[
        float | None, typer.Option(help="Minutes for the autoencoder, a part of all by default; 0 keeps what is there.")
    ] = None,
    way: Annotated[str, typer.Option(help="How to learn, as training.tuning names it.")] = WAY,
    start: Annotated[Path | None, typer.Option(help="Go on with an exported model, its words and autoencoder.")] = None,
    rate: Annotated[float, typer.Option(help="The highest learning rate; it falls along a cosine.")] = RATE,
    pairs: Annotated[float, typer.Option(help="Part of the pictures that show two different things.")] = Mix.pairs,
    several: Annotated[float, typer.Option(help="Part that shows two to five of a thing.")] = Mix.several,
    relations: Annotated[float, typer.Option(help="Part that shows two things in a relation.")] = Mix.relations,
) -> None:
    """Train, and write the model to OUT."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    log = Log(out)
    log(f"torch {torch.__version__}, {torch.cuda.get_device_name() if device == 'cuda' else device}")
    networks = denoiser.adopt(start, work) if start is not None else None
    mix = Mix(pairs, several, relations)
    queue = denoiser.start_authors(work, time.time_ns() % 2**31, mix, batch, workers) if workers else None
    if networks is None and autoencoding != 0:
        prepare(work, out, device, batch, autoencoding or PART * minutes, log)
    source = denoiser.Source(work, device, 2, mix, chunk=batch, queue=queue)
    learn(work, out, source, denoiser.Bank(bank, device), networks, batch, way, rate, 60 * minutes - LAST, log)


def prepare(work: Path, out: Path, device: str, batch: int, minutes: float, log: Log) -> None:
    """Train the autoencoder into WORK/autoencoder, going on with what lies there."""
    folder = work / "autoencoder"
    old = (folder / "config.json").is_file()
    model = AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32) if old else autoencoder.build()
    composer = Composer(work, device, seed=1)
    steps = autoencoder.train(model, composer, minutes, batch=batch // 4, crop=128, learning_rate=1e-3 if old else 2e-3)
    told = autoencoder.finish(model, composer, folder)
    log(f"autoencoder{' going on' if old else ''}: {steps} steps of {batch // 4}, {told}")
    real = composer.render(composer.scenes(24))
    with torch.no_grad():
        made = (model(real * 2 - 1).sample / 2 + 0.5).clamp(0, 1)
    both = torch.stack([real, made], 1).flatten(0, 1).cpu()
    sheet(both, ["real", "through"] * len(real), 12).save(out / "autoencoder.png")


def learn(
    work: Path,
    out: Path,
    source: denoiser.Source,
    store: denoiser.Bank,
    networks: tuple[UNet2DConditionModel, CLIPTextModel] | None,
    batch: int,
    way: str,
    rate: float,
    whole: float,
    log: Log,
) -> None:
    """Train the denoiser until `whole` seconds are over, and export it again and again."""
    vae, device = denoiser.load_autoencoder(work), source.device
    if networks is None:
        training = denoiser.fresh(work, device, average=0.999)
    else:
        tokenizer = CLIPTokenizer.from_pretrained(work / "words")
        training = denoiser.Training(*networks, tokenizer, device, average=0.999)
    tuning.apply(way, training)
    for _ in range(max(1, min(store.size, FILL) // batch)):
        store.add(source.make())
    log(f"{store.made} pictures to begin with; learning in the way {way}")

    def save() -> None:
        try:
            obeyed = training.export(work / "model", vae)
        except ValueError as error:
            log(f"not exported: {error}")
            return
        log(f"exported in {pack_folder(work / 'model', out)} parts, obedience {obeyed:.3f}")

    begun, shown, checked = log.seconds, log.seconds, False
    saved = begun
    while (now := log.seconds) < whole:
        if store.made < FILL + training.seen / REUSE:
            store.add(source.make())
        loss = training.learn(*store.draw(batch), denoiser.falling(rate, (now - begun) / (whole - begun)))
        if now - shown > 10:
            value = float(loss)
            shown = now
            pace = training.seen / (log.seconds - begun)
            log(f"step {training.step}, seen {training.seen}, made {store.made}, {pace:.0f}/s, loss {value:.4f}")
            if not math.isfinite(value):
                rate *= 0.5
                log(f"the loss is not finite: going back to the average, and on at a rate of {rate:g}")
                training.recover()
        if not checked and now - begun > EARLY:
            checked = True
            obeyed = denoiser.obedience(training.unet, training.text, training.tokenizer)
            log(f"obedience {obeyed:.3f}")
            if obeyed < OBEYED:
                log("stopped: the words are not obeyed")
                break
        if now - saved > EVERY and whole - now > EVERY / 2:
            saved = now
            save()
    save()
    sheet(show(work / "model", device), PROMPTS, 9).save(out / "sheet.png")
    log("done")


if __name__ == "__main__":
    typer.run(main)
