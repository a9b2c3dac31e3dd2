"""Pictures that show results: with a grid over one, as a family tree, or side by side. Another process draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.errors import PlotError

SECONDS = 30.0
"""How long a sheet may take on a small machine that also paints."""


@dataclass(frozen=True, slots=True)
class Node:
    """One request of a family tree: its number, words for its operation, its pictures, and which of them it is."""

    number: int
    words: str
    picture: bytes
    """An encoded picture, or nothing if there is none to show."""
    absent: str = "deleted"
    """Why there is no picture, in a word or two."""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a request to one that came from it, by their numbers; `words` names the picture."""

    source: int
    result: int
    words: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a contact sheet: its name and its encoded bytes; the bytes are empty if its file is gone."""

    name: str
    picture: bytes


async def contact_sheet(tiles: Sequence[Tile]) -> bytes:
    """Small pictures beside each other, with their names, as PNG. Raises PlotError."""
    header = {
        "kind": "contact",
        "names": [tile.name for tile in tiles],
        "sizes": [len(tile.picture) for tile in tiles],
    }
    return await _draw(header, b"".join(tile.picture for tile in tiles))


async def side_by_side(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Pairs of pictures, each pair in a row of its own with its number, as PNG. Raises PlotError."""
    pictures = [picture for pair in pairs for picture in pair]
    return await _draw({"kind": "pairs", "sizes": [len(picture) for picture in pictures]}, b"".join(pictures))


async def with_grid(picture: bytes, cells: int) -> bytes:
    """A picture with a grid of `cells` rows and columns over it, with their names, as PNG. Raises PlotError."""
    return await _draw({"kind": "grid", "cells": cells, "sizes": [len(picture)]}, picture)


async def family_tree(nodes: Sequence[Node], arrows: Sequence[Arrow]) -> bytes:
    """A family of requests, from the oldest on the left to the newest on the right, as PNG. Raises PlotError."""
    header = {
        "kind": "tree",
        "nodes": [
            {"number": node.number, "words": node.words, "absent": node.absent, "marked": node.marked} for node in nodes
        ],
        "arrows": [asdict(arrow) for arrow in arrows],
        "sizes": [len(node.picture) for node in nodes],
    }
    return await _draw(header, b"".join(node.picture for node in nodes))


async def _draw(header: dict[str, Any], body: bytes) -> bytes:
    try:
        png = await child.run("bot.worker.sheet", framing.pack(header, body), SECONDS)
    except ChildFailed as failure:
        raise PlotError("The picture could not be drawn. {reason}", reason=failure.reason) from failure
    if not png:
        raise PlotError("The picture could not be drawn.")
    return png
