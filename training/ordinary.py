"""Ordinary prompts, written without a look at the list of things, each with the first picture that is painted.

A caption that ends in an asterisk is of a prompt that the bot answers with a note about a thing the model cannot draw.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated

import torch
import typer

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of
from bot.requests.vocabulary import Vocabulary
from training.painter import load, paint
from training.sheets import sheet

#: The model in the box.
SHIPPED = Path(folder_of(EMBEDDED_MODEL))
#: The seed of every picture.
SEED = 0
#: Pictures in a row.
ACROSS = 10


def listed() -> list[str]:
    """Return the prompts of `ordinary.txt`."""
    return (resources.files("training") / "ordinary.txt").read_text(encoding="utf-8").splitlines()


def main(
    model: Annotated[Path, typer.Argument(help="A diffusers folder.")] = SHIPPED,
    out: Annotated[Path, typer.Option(help="The contact sheet.")] = Path("docs/ordinary.png"),
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
) -> None:
    """Paint the contact sheet, and print the notes."""
    torch.set_num_threads(threads)
    asked = listed()
    vocabulary = Vocabulary.read(model)
    notes = [vocabulary.notes(text) if vocabulary else () for text in asked]
    pictures = paint(
        load(model), asked, [SEED] * len(asked), EMBEDDED_MODEL.steps, EMBEDDED_MODEL.guidance_scale, batch=10
    )
    captions = [text + " *" * bool(said) for text, said in zip(asked, notes, strict=True)]
    sheet(pictures, captions, ACROSS).save(out, optimize=True)
    for text, said in zip(asked, notes, strict=True):
        if said:
            typer.echo(f"{text}: {said[0]}")
    typer.echo(f"{sum(map(bool, notes))} of {len(asked)} prompts have a note")


if __name__ == "__main__":
    typer.run(main)
