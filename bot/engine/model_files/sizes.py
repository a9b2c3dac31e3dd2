"""How many numbers the parts of a model have, by the headers of its files: what its memory is calculated from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.engine.model_files.contents import DENOISER, TEXT_ENCODERS, VAES
from bot.engine.model_files.folder import DENOISERS, WORDS, Folder
from bot.engine.model_files.gguf import is_packed
from bot.engine.model_files.header import Tensor
from bot.engine.model_files.recognise import Recognised


class Kind(StrEnum):
    """What a part of a model does."""

    DENOISER = "denoiser"
    TEXT = "text encoder"
    VAE = "VAE"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a model."""

    name: str
    """Its folder, such as unet; in a single file, its kind."""
    kind: Kind
    linear: int
    """Numbers in the matrices of linear layers: those that can be kept in 8 or 4 bits."""
    others: int = 0
    """All other numbers."""
    packed: int = 0
    """Bytes of numbers that are packed in the file and stay packed in memory, as those of a GGUF file."""

    @property
    def numbers(self) -> int:
        """The numbers that are not packed."""
        return self.linear + self.others


def parts_of(model: Recognised) -> tuple[Part, ...]:
    """The parts of a model that take memory on the device."""
    if isinstance(model, Folder):
        return tuple(
            part_of(
                name,
                _kind(name),
                (tensor for _, header in weights.files for tensor in header.tensors.items()),
                packs=model.gguf is not None and _kind(name) is Kind.DENOISER,
            )
            for name, weights in model.parts.items()
        )
    return tuple(part_of(kind, kind, tensors) for kind, tensors in _split(model.header.tensors).items() if tensors)


def part_of(name: str, kind: Kind, tensors: Iterable[tuple[str, Tensor]], *, packs: bool = False) -> Part:
    """A part with these tensors. `packs` says whether they are of a GGUF file, which keeps BF16 as it is, too."""
    linear = others = packed = 0
    for label, tensor in tensors:
        if packs and is_packed(tensor.dtype):
            packed += tensor.end - tensor.start
        elif kind is Kind.DENOISER and len(tensor.shape) == 2 and label.endswith(".weight"):
            # A denoiser has no other matrices: it embeds times by linear layers.
            linear += tensor.numbers
        else:
            others += tensor.numbers
    return Part(name, kind, linear, others, packed)


def _kind(folder: str) -> Kind:
    if folder in DENOISERS:
        return Kind.DENOISER
    if folder.startswith(WORDS):
        return Kind.TEXT
    return Kind.VAE if folder in ("vae", "vqvae", "movq") else Kind.OTHER


def _split(tensors: Mapping[str, Tensor]) -> dict[Kind, list[tuple[str, Tensor]]]:
    """The tensors of a single file by what they belong to. Tensors of no part, such as an EMA, are not loaded."""
    split: dict[Kind, list[tuple[str, Tensor]]] = {Kind.DENOISER: [], Kind.TEXT: [], Kind.VAE: []}
    for name, tensor in tensors.items():
        for kind, starts in ((Kind.DENOISER, (DENOISER,)), (Kind.TEXT, TEXT_ENCODERS), (Kind.VAE, VAES)):
            if name.startswith(starts):
                split[kind].append((name, tensor))
                break
    return split
