"""The host's network that enlarges pictures of models without their own: what its header says, before it is loaded.

spandrel reads such networks, in the engine process only, because it imports torch.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from bot.engine.model_files.contents import Contents, contents_of
from bot.engine.model_files.header import Header, read_header
from bot.errors import UnusableFiles
from bot.jobs import UPSCALE_FACTOR

OTHER = f"Take a network that enlarges pictures in colour {UPSCALE_FACTOR} times, such as an ESRGAN."
NOT_INSTALLED = "Install Atelier with its extra: pip install -c constraints.txt -e '.[upscaler]'"
_RGB = 3

_WRAPPERS = re.compile(r"^((params_ema|params|state_dict|module|netG)\.)+")
"""What training scripts leave before the names of tensors."""
_RAISING = re.compile(r"^(?:upconv|conv_up)(\d)\.weight$")
_NUMBERED = re.compile(r"^model\.(\d+)\.")
_OLD_LAYERS = 5
"""Layers of an ESRGAN in the numbered layout beside those that double the size, which are three each."""


@dataclass(frozen=True, slots=True)
class Enlargement:
    """What a network does: how many times it enlarges, and the channels of the pictures it takes and makes."""

    factor: float
    takes: int
    makes: int


def check_upscaler(path: Path) -> None:
    """Raise UnusableFiles, with the remedy, for a file that cannot enlarge pictures, as far as its header tells.

    The engine, which loads it, knows better.
    """
    if not path.is_file():
        raise UnusableFiles(f"its file {path.name} is missing.", "Put it back, or correct engine.upscaler.")
    if path.suffix != ".safetensors":
        raise UnusableFiles(
            f"{path.name} is not a .safetensors file, and no other kind is loaded.", "Take its .safetensors version."
        )
    header = read_header(path)
    what = contents_of(header)
    enlarges = what in (Contents.IMAGE_UPSCALER, Contents.UNKNOWN) or "conv_first.weight" in _names(header)
    if not enlarges:
        raise UnusableFiles(f"{path.name} holds {what}, not a network that enlarges pictures.", OTHER)
    if (does := enlargement_of(header)) is not None:
        check_enlargement(path.name, does)
    if importlib.util.find_spec("spandrel") is None:
        raise UnusableFiles(
            "spandrel, the library that reads it, is not installed.",
            NOT_INSTALLED,
        )


def check_enlargement(shown: str, does: Enlargement) -> None:
    """Raise UnusableFiles for a network with another factor or other pictures than those in RGB."""
    if does.takes != _RGB or does.makes != _RGB:
        kinds = {1: "grey pictures", 4: "pictures with transparency"}
        other = does.takes if does.takes != _RGB else does.makes
        raise UnusableFiles(
            f"{shown} is made for {kinds.get(other, f'pictures with {other} channels')}, and ours are in RGB.", OTHER
        )
    if does.factor == 1:
        raise UnusableFiles(f"{shown} changes pictures and does not enlarge them.", OTHER)
    if does.factor != UPSCALE_FACTOR:
        raise UnusableFiles(
            f"{shown} enlarges pictures {does.factor:g} times, and Upscale makes them {UPSCALE_FACTOR} times as large.",
            OTHER,
        )


def enlargement_of(header: Header) -> Enlargement | None:
    """What a network of the ESRGAN family does, by its shapes; None for another family or a header that lacks some.

    ESRGAN, BSRGAN and Real-ESRGAN name their layers in two ways: `conv_first`, `conv_up1` … `conv_last`, or by number.
    """
    shapes = _names(header)
    blocks = any(re.search(r"\bRDB1\.conv|\brdb1\.conv", name) for name in shapes)
    if not blocks:
        return None
    numbers = [int(match[1]) for name in shapes if (match := _NUMBERED.match(name))]
    if "conv_first.weight" in shapes:
        first, last = "conv_first.weight", "conv_last.weight"
        doublings = max((int(match[1]) for name in shapes if (match := _RAISING.match(name))), default=0)
    elif numbers:
        first, last = "model.0.weight", f"model.{max(numbers)}.weight"
        doublings = (max(numbers) + 1 - _OLD_LAYERS) // 3
    else:
        return None
    if any(len(shapes.get(name, ())) != 4 for name in (first, last)):
        return None
    takes, makes = shapes[first][1], shapes[last][0]
    factor = float(2**doublings)
    for folded in (2, 4):
        # The pixels of a square come as channels, so that the network works at a smaller size.
        if takes == makes * folded**2:
            return Enlargement(factor / folded, makes, makes)
    return Enlargement(factor, takes, makes)


def bare(name: str) -> str:
    """The name of a tensor without what training scripts leave before it."""
    return _WRAPPERS.sub("", name)


def _names(header: Header) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by its bare name."""
    return {bare(name): tensor.shape for name, tensor in header.tensors.items()}
