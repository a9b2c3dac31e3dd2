"""Pictures and captions, composed on the fly from sprites: names, colours, backgrounds, scenes, pairs, counts, places.

Some combinations are held out (`held_out`): they never occur in training, and `evaluate.py` asks for exactly those.
"""

import math
import random
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from training import scenes
from training.sources import SIZE, VENDORS, concepts, sprite_file

#: Background colours by name, RGB in [0, 1].
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.16, 0.16),
    "orange": (0.98, 0.55, 0.12),
    "yellow": (0.99, 0.85, 0.20),
    "green": (0.25, 0.68, 0.27),
    "blue": (0.20, 0.42, 0.90),
    "purple": (0.55, 0.28, 0.80),
    "pink": (0.98, 0.55, 0.75),
    "brown": (0.50, 0.31, 0.18),
    "black": (0.08, 0.08, 0.09),
    "gray": (0.55, 0.56, 0.58),
    "white": (1.0, 1.0, 1.0),
    "teal": (0.12, 0.62, 0.62),
    "beige": (0.94, 0.88, 0.76),
}
#: Colours an object may be dyed in.
DYES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")
#: How captions say which emoji set a sprite is from. The first set needs no word: it is the usual style.
STYLES = {
    "fluent": ("3d", "glossy 3d"),
    "noto": ("cartoon", "illustrated"),
    "flat": ("flat", "minimalist"),
    "twemoji": ("sticker", "vector art"),
}
#: Phrases before a caption that mean nothing for the picture; `evaluate.py` uses others, never seen in training.
PHRASES = ("a picture of ", "an image of ", "a photo of ", "cute ", "beautiful ")
NUMBERS = {2: "two", 3: "three"}

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = torch.linalg.inv(_YIQ)
_SCENES = tuple(scenes.SCENES)
VARIANTS = 8
_PLAIN = -1


def held_out(*words: object) -> bool:
    """Return whether a combination (object, colour, background; object, object; number, object) is kept for testing."""
    return zlib.crc32(" ".join(map(str, words)).encode()) % 8 == 0


def plural(name: str) -> str:
    """Return the plural of an English name, well enough for captions."""
    if name in ("mouse", "sheep", "fish"):
        return {"mouse": "mice"}.get(name, name)
    if name.endswith("s") and not name.endswith(("ss", "us")):
        return name
    if name.endswith(("x", "ch", "sh", "ss", "us")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def article(name: str) -> str:
    """Return "a " or "an " as the name wants it; nothing before a plural."""
    if name.endswith("s") and plural(name) == name:
        return ""
    return "an " if name[0] in "aeiou" else "a "


@dataclass(slots=True)
class Placement:
    """One sprite in a picture: which, its centre and side as parts of the picture, and its dye (3 x 4, RGB affine)."""

    sprite: int
    x: float
    y: float
    side: float
    dye: Tensor


@dataclass(slots=True)
class Scene:
    """What a picture shows, and how its caption says it."""

    caption: str
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    painting: int = _PLAIN
    placements: list[Placement] = field(default_factory=list)


@dataclass(frozen=True)
class Mix:
    """How many of the pictures show a pair of things, and several of one; the others show a single thing."""

    pairs: float = 0.16
    several: float = 0.12


class Composer:
    """Draws random scenes: `scenes` decides (on the CPU), `render` paints (on any device)."""

    def __init__(
        self,
        work: Path,
        device: str = "cpu",
        seed: int = 0,
        vendors: dict[str, float] | None = None,
        subjects: list[int] | None = None,
        large: int | None = None,
        mix: Mix | None = None,
    ) -> None:
        """Read WORK/sprites.npz; `vendors` weighs the emoji sets (by default, Fluent before all).

        `subjects` are the concepts to draw, by index; all of them by default. `large` is a second size to render at;
        its sprites must have been drawn, and are held in memory. `mix` says how often a picture shows more than one.
        """
        stored = np.load(sprite_file(work))
        pixels = torch.from_numpy(stored["pixels"]).permute(0, 3, 1, 2)
        self.device = device
        self.names = [names for _, names in concepts()]
        self.emoji = [emoji for emoji, _ in concepts()]
        self.subjects = subjects if subjects is not None else list(range(len(self.names)))
        self._vendors = vendors or {"fluent": 0.72, "noto": 0.16, "flat": 0.08, "twemoji": 0.04}
        #: Index of a sprite by concept and emoji set.
        self.sprite = {
            (int(c), VENDORS[int(v)]): i
            for i, (c, v) in enumerate(zip(stored["concept"], stored["vendor"], strict=True))
        }
        self.pixels = pixels.to(device)
        self.hue = [_hue(sprite.float() / 255) for sprite in pixels]
        self._paintings = {SIZE: torch.from_numpy(scenes.paint(VARIANTS)).to(device)}
        self._sprites = {SIZE: self.pixels}
        if large is not None:
            drawn = torch.from_numpy(np.load(sprite_file(work, large))["pixels"]).permute(0, 3, 1, 2)
            self._sprites[large] = drawn.to(device)
            self._paintings[large] = torch.from_numpy(scenes.paint(VARIANTS, size=large)).to(device)
        self._mix = mix or Mix()
        self._random = random.Random(seed)

    def dye(self, sprite: int, colour: str) -> Tensor:
        """Return the RGB affine [3, 4] that dyes a sprite with one dominant hue; KeyError if it has none."""
        hue = self.hue[sprite]
        if hue is None:
            message = f"sprite {sprite} has no dominant hue"
            raise KeyError(message)
        angle, light = hue
        target = _YIQ @ torch.tensor(COLOURS[colour])
        if colour in ("black", "white"):
            fade = torch.diag(torch.tensor([1.0, 0.12, 0.12]))
            gain, lift = (0.40, 0.0) if colour == "black" else (0.45, 0.53)
            matrix = gain * _RGB @ fade @ _YIQ
            return torch.cat([matrix, torch.full((3, 1), lift)], 1)
        turn = math.atan2(target[2], target[1]) - angle
        gain = min(max(float(target[0]) / max(light, 0.1), 0.65), 1.6)
        cos, sin = math.cos(turn), math.sin(turn)
        matrix = gain * _RGB @ torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
        return torch.cat([matrix, torch.zeros(3, 1)], 1)

    def name(self, concept: int) -> str:
        """Return a name of a concept: mostly the usual one, sometimes another, rarely the emoji itself."""
        names, luck = self.names[concept], self._random.random()
        if luck < 0.04:
            return self.emoji[concept]
        return names[0] if luck < 0.65 or len(names) == 1 else self._random.choice(names[1:])

    def scenes(self, count: int) -> list[Scene]:
        """Return random scenes, none of which shows a held-out combination."""
        return [self._scene() for _ in range(count)]

    def _scene(self) -> Scene:
        r = self._random
        vendor = r.choices(list(self._vendors), list(self._vendors.values()))[0]
        while True:
            scene = self._try(vendor)
            if scene is not None:
                break
        if vendor != "fluent" or r.random() < 0.05:
            style = r.choice(STYLES[vendor])
            scene.caption = r.choice((f"{style} {scene.caption}", f"{scene.caption}, {style} style"))
        elif r.random() < 0.12:
            scene.caption = r.choice(PHRASES) + scene.caption
        return scene

    def _try(self, vendor: str) -> Scene | None:
        """Return a scene of one emoji set; None when chance met a held-out combination."""
        r = self._random
        scene, where, behind = Scene(""), "", ""
        luck = r.random()
        if luck < 0.14:
            behind = r.choice(_SCENES)
            where = f" {behind}"
            scene.painting = _SCENES.index(behind) * VARIANTS + r.randrange(VARIANTS)
        elif luck < 0.45:
            behind = r.choice(list(COLOURS))
            red, green, blue = COLOURS[behind]
            scene.background = (self._near(red), self._near(green), self._near(blue))
            where = r.choice((f" on a {behind} background", f" on {behind}", f" with a {behind} background"))
        drop = 0.06 if scene.painting != _PLAIN and behind not in scenes.FLOATING else 0.0
        luck = r.random()
        if luck < 0.015 and scene.painting != _PLAIN:
            scene.caption = behind.removeprefix("on ").removeprefix("in ").removeprefix("at ")
            return scene
        if luck >= 1 - self._mix.several:
            text = self._several(scene, vendor, drop)
        elif luck >= 1 - self._mix.several - self._mix.pairs:
            text = self._pair(scene, vendor, drop)
        else:
            text = self._single(scene, vendor, drop, behind)
        if text is None:
            return None
        scene.caption = text + where
        return scene

    def _single(self, scene: Scene, vendor: str, drop: float, behind: str) -> str | None:
        r = self._random
        concept = self._concept(vendor)
        side = 0.68 if scene.painting != _PLAIN else 0.84
        x, y, place, size = 0.5, 0.5 + drop, "", ""
        luck = r.random()
        if luck < 0.03:
            side, size = side * 0.6, r.choice(("small ", "tiny "))
        elif luck < 0.05:
            side, y, size = 1.05, 0.5, r.choice(("big ", "giant "))
        elif luck < 0.08:
            place = r.choice(("left", "right"))
            x, side = (0.3 if place == "left" else 0.7), 0.55
            place = f" on the {place}"
        sprite = self.sprite[concept, vendor]
        dye, colour = self._dye(sprite, 0.38)
        if colour and behind and held_out(self.names[concept][0], colour, behind):
            return None
        name = self.name(concept)
        if colour:
            name = f"{colour} {uncoloured(name)}"
        scene.placements.append(Placement(sprite, self._near(x), self._near(y), side * r.uniform(0.95, 1.05), dye))
        text = size + name
        return (article(text) if r.random() < 0.75 else r.choice(("", "the "))) + text + place

    def _pair(self, scene: Scene, vendor: str, drop: float) -> str | None:
        r = self._random
        first, second = self._concept(vendor), self._concept(vendor)
        if first == second or held_out(*sorted((self.names[first][0], self.names[second][0]))):
            return None
        texts = []
        for concept, x in ((first, 0.27), (second, 0.73)):
            sprite = self.sprite[concept, vendor]
            dye, colour = self._dye(sprite, 0.12)
            name = self.name(concept)
            if colour:
                name = f"{colour} {uncoloured(name)}"
            scene.placements.append(Placement(sprite, x, self._near(0.5 + drop), 0.47, dye))
            texts.append((article(name) if r.random() < 0.75 else "") + name)
        return r.choice((" and ", " and ", " next to ")).join(texts)

    def _several(self, scene: Scene, vendor: str, drop: float) -> str | None:
        r = self._random
        concept, number = self._concept(vendor), r.choice((2, 3))
        if held_out(number, self.names[concept][0]):
            return None
        sprite = self.sprite[concept, vendor]
        dye, colour = self._dye(sprite, 0.2)
        places = ((0.27, 0.5), (0.73, 0.5)) if number == 2 else ((0.5, 0.28), (0.27, 0.70), (0.73, 0.70))
        scene.placements += [Placement(sprite, x, y + drop * 0.5, 0.45, dye) for x, y in places]
        name = plural(self.names[concept][0] if r.random() < 0.8 else r.choice(self.names[concept]))
        return f"{NUMBERS[number]} {f'{colour} {uncoloured(name)}' if colour else name}"

    def _concept(self, vendor: str) -> int:
        while True:
            concept = self._random.choice(self.subjects)
            if (concept, vendor) in self.sprite:
                return concept

    def _dye(self, sprite: int, chance: float) -> tuple[Tensor, str]:
        if self.hue[sprite] is None or self._random.random() > chance:
            return torch.eye(3, 4), ""
        colour = self._random.choice(DYES)
        return self.dye(sprite, colour), colour

    def _near(self, value: float) -> float:
        return min(max(value + self._random.uniform(-0.02, 0.02), 0.0), 1.0)

    def render(self, wanted: list[Scene], size: int = SIZE) -> Tensor:
        """Return the pictures of scenes: float32 [n, 3, size, size] in [0, 1], on this composer's device.

        KeyError for a size that is neither 128 nor this composer's `large`.
        """
        plain = torch.tensor([scene.background for scene in wanted], device=self.device)
        canvas = plain[:, :, None, None].expand(-1, 3, size, size).clone()
        painted = [i for i, scene in enumerate(wanted) if scene.painting != _PLAIN]
        if painted:
            canvas[painted] = self._paintings[size][[wanted[i].painting for i in painted]]
        for layer in range(max(len(scene.placements) for scene in wanted)):
            rows = [i for i, scene in enumerate(wanted) if len(scene.placements) > layer]
            drawn = self._draw([wanted[i].placements[layer] for i in rows], size)
            canvas[rows] = canvas[rows] * (1 - drawn[:, 3:]) + drawn[:, :3]
        return canvas.clamp(0, 1)

    def _draw(self, placements: list[Placement], size: int) -> Tensor:
        """Return sprites dyed and put in place, premultiplied RGBA: float32 [n, 4, size, size]."""
        chosen = torch.tensor([p.sprite for p in placements], device=self.device)
        sprites = self._sprites[size][chosen].float() / 255
        alpha = sprites[:, 3:]
        dye = torch.stack([p.dye for p in placements]).to(self.device)
        dyed = torch.einsum("nij,njhw->nihw", dye[:, :, :3], sprites[:, :3]) + dye[:, :, 3, None, None] * alpha
        sprites = torch.cat([dyed.clamp(min=0).minimum(alpha), alpha], 1)
        small = torch.tensor([p.side < 0.6 for p in placements], device=self.device)
        if small.any():
            soft = F.avg_pool2d(F.pad(sprites[small], (0, 1, 0, 1)), 2, 1)
            sprites[small] = soft
        frames = torch.tensor(
            [[[1 / p.side, 0, -(2 * p.x - 1) / p.side], [0, 1 / p.side, -(2 * p.y - 1) / p.side]] for p in placements],
            device=self.device,
        )
        # Softening moves a sprite by half of its own pixels, which at every size shall be the same way.
        frames[small, :, 2] += 1 / SIZE - 1 / size
        grid = F.affine_grid(frames, list(sprites.shape), align_corners=False)
        return F.grid_sample(sprites, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def uncoloured(name: str) -> str:
    """Return a name without its colour words: a "red apple" dyed blue is a "blue apple"."""
    return " ".join(word for word in name.split() if word not in COLOURS) or name


def _hue(sprite: Tensor) -> tuple[float, float] | None:
    """Return the dominant hue (radians in the I-Q plane) and lightness of a sprite [4, h, w]; None if it has none."""
    solid = sprite[3] > 0.5
    if int(solid.sum()) < 50:
        return None
    light, *chroma = _YIQ @ (sprite[:3][:, solid] / sprite[3][solid])
    plane = torch.stack(chroma)
    strength = plane.norm(dim=0)
    vivid = strength > 0.1
    mean = plane.mean(1)
    agreement = float(mean.norm() / (strength.mean() + 1e-6))
    if agreement < 0.8 or float(vivid.float().mean()) < 0.55:
        return None
    return math.atan2(mean[1], mean[0]), float(light[vivid].mean())
