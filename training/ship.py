"""Last step: put the trained parts into the folder that ships with the bot."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from bot.config import EMBEDDED_MODEL
from bot.engine.catalog import folder_of
from bot.requests.vocabulary import FILE

#: The folder of the model in the box.
SHIPPED = Path(folder_of(EMBEDDED_MODEL))
#: What comes from WORK/model, as diffusers wrote it, and what comes from WORK/words.
PARTS = ("unet", "vae", "text_encoder", "scheduler")
WORDS = ("tokenizer.json", "tokenizer_config.json")
_TABLE = "token_embedding.weight"


def main(
    work: Annotated[Path, typer.Option(help="Folder with everything the training made.")] = Path("training/work"),
    target: Annotated[Path, typer.Option(help="The folder that ships.")] = SHIPPED,
) -> None:
    """Copy the model, the upscaler and the words; words never shown in training take their row from WORK/words."""
    model = work / "model"
    for part in PARTS:
        shutil.rmtree(target / part, ignore_errors=True)
        shutil.copytree(model / part, target / part)
    shutil.copy(model / "model_index.json", target)
    if (work / "upscaler").is_dir():
        shutil.rmtree(target / "upscaler", ignore_errors=True)
        shutil.copytree(work / "upscaler", target / "upscaler")
    shutil.copy(work / "words" / FILE, target)
    for config in target.glob("*/config.json"):
        _forget_path(config)

    ours, theirs = (CLIPTokenizer.from_pretrained(folder) for folder in (work / "words", model / "tokenizer"))
    if ours.get_vocab() != theirs.get_vocab():
        raise typer.BadParameter(f"{work / 'words'} is of another run than {model}: their tokens differ")
    (target / "tokenizer").mkdir(exist_ok=True)
    for name in WORDS:
        shutil.copy(work / "words" / name, target / "tokenizer")
    weights = target / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    (name,) = (key for key in tensors if key.endswith(_TABLE))
    tensors[name] = torch.from_numpy(np.load(work / "words" / "table.npy")).to(tensors[name].dtype)
    save_file(tensors, weights, {"format": "pt"})
    for file in target.rglob("*.safetensors"):
        file.chmod(0o644)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    typer.echo(json.dumps({"folder": str(target), "MB": round(size / 1e6, 1)}))


def _forget_path(config: Path) -> None:
    """Take out of a configuration where on this machine its network was read from."""
    values = json.loads(config.read_text(encoding="utf-8"))
    if values.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
