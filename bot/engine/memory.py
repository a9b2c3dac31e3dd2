"""How much memory a model needs on its device, by its parts, and what would make it fit. Pure.

    python -m bot.engine.memory

prints the table of docs/memory.md. The sizes of weights are exact. What painting takes beside them is an estimate on
the safe side: the tensors of the widest layers at full size, and what CUDA and its libraries take themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from bot.config import SAVINGS
from bot.engine.model_files.sizes import Kind, Part
from bot.errors import UnusableFiles

GIB = 2**30

RUNTIME = int(0.8 * GIB)
"""Bytes that a CUDA context, its libraries' workspaces and gaps between tensors take."""
FORWARD = 400
"""Bytes for each pixel of each row in a forward of the denoiser, in half precision."""
DECODE = 2048
"""Bytes for each pixel that a VAE decodes, in half precision: four tensors of 256 channels."""
TILE = 512
"""Pixels of a tile's side, where a VAE decodes in tiles."""
BITS = {"8bit": 8.1, "4bit": 4.5}
"""Bits of a number in a linear layer, with the scales that belong to it."""
_USABLE = 0.95
"""The part of a card's memory that programs get: the rest is the driver's, or a screen's."""
_STEPS_DOWN: tuple[tuple[str, ...], ...] = (
    (),
    ("text-when-needed",),
    ("text-on-cpu",),
    ("8bit",),
    ("8bit", "text-when-needed"),
    ("8bit", "text-on-cpu"),
    ("4bit", "text-when-needed"),
    ("4bit", "text-on-cpu"),
    ("offload",),
    ("text-on-cpu", "offload"),
    ("8bit", "text-on-cpu", "offload"),
    ("4bit", "text-on-cpu", "offload"),
)
"""Ways to save memory, those that cost least first: time for each prompt, then exactness, then time for each batch."""
_HALF = 2
"""Bytes of a number in half precision."""


@dataclass(frozen=True, slots=True)
class Painting:
    """What is painted: pixels of a picture, rows of a forward, and bytes of a number."""

    pixels: int
    rows: int = 2
    itemsize: int = _HALF


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a model takes on its device."""

    weights: int
    """What stays there between two forwards."""
    peak: int
    """The most while it paints, with what the runtime takes itself."""


def part_bytes(part: Part, savings: Sequence[str], itemsize: int) -> int:
    """Bytes of a part's weights, on whichever device."""
    bits = next((BITS[name] for name in savings if name in BITS), None)
    if bits is None or part.kind is not Kind.DENOISER:
        return part.packed + part.numbers * itemsize
    return part.packed + int(part.linear * bits / 8) + part.others * itemsize


def need(parts: Sequence[Part], savings: Sequence[str], painting: Painting) -> Need:
    """What a model takes, if it is loaded with these ways to save memory. The VAE decodes in tiles if it must."""
    sizes = [(part.kind, part_bytes(part, savings, painting.itemsize)) for part in parts]
    texts = [size for kind, size in sizes if kind is Kind.TEXT]
    rest = [size for kind, size in sizes if kind is not Kind.TEXT]
    half = painting.itemsize / _HALF
    forward = int(FORWARD * painting.pixels * painting.rows * half)
    decode = int(DECODE * min(painting.pixels, TILE * TILE) * half)
    if "offload" in savings:
        # One part after the other is on the device.
        there = [(kind, size) for kind, size in sizes if kind is not Kind.TEXT or "text-on-cpu" not in savings]
        beside = {Kind.DENOISER: forward, Kind.VAE: decode}
        peak = max((size + beside.get(kind, 0) for kind, size in there), default=0)
        return Need(max((size for _, size in there), default=0), peak + RUNTIME)
    weights = sum(rest)
    if "text-on-cpu" in savings:
        return Need(weights, weights + max(forward, decode) + RUNTIME)
    if "text-when-needed" in savings:
        return Need(weights, weights + max(max(texts, default=0), forward, decode) + RUNTIME)
    weights += sum(texts)
    return Need(weights, weights + max(forward, decode) + RUNTIME)


LIBRARIES = {"8bit": "torchao", "4bit": "bitsandbytes"}
"""The library that each way of fewer bits needs."""


def trouble(
    savings: Sequence[str], device: str, *, packed: bool, installed: Callable[[str], object] = find_spec
) -> UnusableFiles | None:
    """Why a model cannot be kept in fewer bits on this machine, which paints on `device`; None if it can.

    `packed` says whether its source is a GGUF file.
    """
    bits = next((name for name in savings if name in BITS), None)
    if packed and bits is not None:
        return UnusableFiles(
            f"it is a GGUF file, whose bits cannot be changed to {bits}.", f"Remove {bits} from `memory`."
        )
    if bits == "4bit" and device != "cuda":
        return UnusableFiles(
            f"4bit needs an NVIDIA or AMD GPU that torch can use, and this machine paints on {device}.",
            "Take 8bit instead, or remove it from `memory`.",
        )
    library = "gguf" if packed else LIBRARIES.get(bits or "")
    if library is not None and installed(library) is None:
        what = "a GGUF file" if packed else bits
        return UnusableFiles(
            f"{what} needs the library {library}, which is not installed.",
            "Install it: pip install -c constraints.txt -e '.[quantized]'",
        )
    return None


def usable(card: int) -> int:
    """Bytes that programs get of a card's memory."""
    return int(card * _USABLE)


def what_fits(parts: Sequence[Part], card: int, painting: Painting) -> tuple[str, ...] | None:
    """The mildest savings with which a model fits into a card of `card` bytes; None if it fits with none."""
    packed = any(part.packed for part in parts if part.kind is Kind.DENOISER)
    words = any(part.kind is Kind.TEXT for part in parts)
    for savings in _STEPS_DOWN:
        if (packed and any(name in BITS for name in savings)) or (
            not words and any(name.startswith("text") for name in savings)
        ):
            continue
        if need(parts, savings, painting).peak <= usable(card):
            return savings
    return None


def gib(size: float) -> str:
    """Bytes in words, such as 6.9 GiB."""
    return f"{size / GIB:.1f} GiB"


def setting(savings: Sequence[str]) -> str:
    """The line of config.toml for some savings."""
    names = ", ".join(f'"{name}"' for name in savings)
    return f"memory = [{names}]"


def remedy(parts: Sequence[Part], card: int, painting: Painting) -> str:
    """What the host can do about a model that does not fit as it is configured."""
    savings = what_fits(parts, card, painting)
    if savings is None:
        least = min(need(parts, some, painting).peak for some in _STEPS_DOWN)
        return f"It fits in no way: the least that it needs is {gib(least)}. Choose a smaller model, or a smaller size."
    if not savings:
        return f"Without a `memory` setting it needs {gib(need(parts, (), painting).peak)} and fits."
    return f"Set {setting(savings)}: then it needs {gib(need(parts, savings, painting).peak)}."


# Numbers of well-known models, from their published configurations; a test counts them again.
_CLIP_L = Part("text_encoder", Kind.TEXT, 0, 123_060_480)
_CLIP_L_PROJECTED = Part("text_encoder", Kind.TEXT, 0, 123_650_304)
_CLIP_G = Part("text_encoder_2", Kind.TEXT, 0, 694_659_840)
_T5 = Part("text_encoder_2", Kind.TEXT, 0, 4_762_310_656)
_VAE = Part("vae", Kind.VAE, 0, 83_653_863)
_VAE_16 = Part("vae", Kind.VAE, 0, 83_819_683)


@dataclass(frozen=True, slots=True)
class Known:
    """A well-known model: its name, the side of its pictures in pixels, the rows of a picture, and its parts."""

    name: str
    side: int
    rows: int
    parts: tuple[Part, ...]


KNOWN = (
    Known("SD 1.5", 512, 2, (Part("unet", Kind.DENOISER, 270_049_280, 589_471_684), _CLIP_L, _VAE)),
    Known("SDXL", 1024, 2, (Part("unet", Kind.DENOISER, 2_232_647_680, 334_816_004), _CLIP_L, _CLIP_G, _VAE)),
    Known(
        "SD 3 Medium",
        1024,
        2,
        (
            Part("transformer", Kind.DENOISER, 2_027_126_784, 57_824_320),
            _CLIP_L_PROJECTED,
            _CLIP_G,
            _T5,
            _VAE_16,
        ),
    ),
    Known(
        "SD 3.5 Large",
        1024,
        2,
        (
            Part("transformer", Kind.DENOISER, 8_053_694_464, 92_586_304),
            _CLIP_L_PROJECTED,
            _CLIP_G,
            _T5,
            _VAE_16,
        ),
    ),
    Known(
        "FLUX.1",
        1024,
        1,
        (Part("transformer", Kind.DENOISER, 11_898_322_944, 3_085_376), _CLIP_L, _T5, _VAE_16),
    ),
)

CARDS = (6, 8, 12, 16, 24)
"""GiB of the cards in the table."""


def table() -> str:
    """The table of docs/memory.md: for each well-known model and card what makes it fit."""
    lines = [
        "| model | weights | needs | " + " | ".join(f"{card} GB" for card in CARDS) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in CARDS) + " |",
    ]
    for model in KNOWN:
        painting = Painting(model.side**2, model.rows)
        whole = need(model.parts, (), painting)
        cells = [_cell(what_fits(model.parts, card * GIB, painting)) for card in CARDS]
        lines.append(
            f"| {model.name} at {model.side} | {gib(whole.weights)} | {gib(whole.peak)} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _cell(savings: Sequence[str] | None) -> str:
    if savings is None:
        return "does not fit"
    return ", ".join(f"`{name}`" for name in savings) or "fits"


assert {name for some in _STEPS_DOWN for name in some} == set(SAVINGS)  # noqa: S101 - each is offered

if __name__ == "__main__":
    sys.stdout.write(table())
