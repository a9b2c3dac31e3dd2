"""Pictures and captions, composed on the fly from sprites: names, colours, scenes, styles, counts, pairs and relations.

Some combinations are held out (`held_out`): they never occur in training, and `evaluate.py` asks for exactly those.
"""

import functools
import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from training import effects, layout, phrases, scenes
from training.layout import Placement
from training.phrases import COLOURS, DYES, NUMBERS
from training.sources import SIZE, VENDORS, concepts, sprite_file

#: Paintings of each scene.
VARIANTS = 8
#: The most sprites in a picture.
LAYERS = max(NUMBERS)

#: Kinds of things that have heads and hands.
ACTORS = ("animal", "person", "fantasy")
#: Kinds that can be held, be below somebody, be above, and be behind.
HELD = ("food", "fruit", "drink", "plant", "instrument", "sport", "thing", "holiday")
BASES = ("vehicle", "animal", "sea", "thing", "building", "food", "plant", "fantasy")
ABOVE = ("sky", "plant", "vehicle")
BACKS = ("building", "nature", "plant", "vehicle", "landscape")
#: Kinds that are no things to put beside, on or under others.
WIDE = ("landscape", "nature", "building", "sky")

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = torch.linalg.inv(_YIQ)
_SCENES, _MOODS, _EFFECTS = tuple(scenes.SCENES), tuple(scenes.MOODS), tuple(effects.EFFECTS)
_NONE = -1
#: What the light of a mood does to everything, as RGB factors and RGB added.
_LIGHT = {
    "at night": ((0.30, 0.34, 0.52), (0.0, 0.01, 0.05)),
    "at sunset": ((0.92, 0.66, 0.52), (0.14, 0.05, 0.02)),
    "in the rain": ((0.58, 0.62, 0.68), (0.06, 0.07, 0.09)),
    "in the snow": ((0.62, 0.64, 0.68), (0.34, 0.35, 0.36)),
    "in the fog": ((0.42, 0.42, 0.43), (0.50, 0.51, 0.52)),
}


def held_out(*words: object) -> bool:
    """Return whether a combination (thing, colour, background; thing, thing; number, thing) is kept for testing."""
    return zlib.crc32(" ".join(map(str, words)).encode()) % 8 == 0


def plural(name: str, odd: Mapping[str, str] | None = None) -> str:
    """Return the plural of an English name, well enough for captions; `odd` knows those that follow no rule."""
    if odd and name in odd:
        return odd[name]
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


def uncoloured(name: str) -> str:
    """Return a name without its colour words: a "red apple" dyed blue is a "blue apple"."""
    return " ".join(word for word in name.split() if word not in COLOURS) or name


@dataclass(slots=True)
class Scene:
    """What a picture shows, and how its caption says it."""

    caption: str
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: Numbers of a painting, of a mood's variant and of an effect; _NONE without one.
    painting: int = _NONE
    mood: int = _NONE
    effect: int = _NONE
    placements: list[Placement] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Packed:
    """Scenes as arrays of one row a picture, as `Composer.paint` takes them and processes hand them on.

    sprite, dye int16 [n, LAYERS]; place float32 [n, LAYERS, 3] (x, y, side); background float32 [n, 3]; backdrop int16
    [n, 3] (painting, mood, effect). A sprite or backdrop of _NONE is none.
    """

    sprite: np.ndarray[Any, Any]
    dye: np.ndarray[Any, Any]
    place: np.ndarray[Any, Any]
    background: np.ndarray[Any, Any]
    backdrop: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.sprite)

    def rows(self, which: slice) -> "Packed":
        """Return some of the pictures."""
        return Packed(*(getattr(self, name)[which] for name in self.__slots__))


def pack(wanted: Sequence[Scene]) -> Packed:
    """Return scenes as arrays."""
    n = len(wanted)
    packed = Packed(
        np.full((n, LAYERS), _NONE, np.int16),
        np.zeros((n, LAYERS), np.int16),
        np.zeros((n, LAYERS, 3), np.float32),
        np.array([scene.background for scene in wanted], np.float32),
        np.array([(scene.painting, scene.mood, scene.effect) for scene in wanted], np.int16),
    )
    for row, scene in enumerate(wanted):
        for layer, p in enumerate(scene.placements):
            packed.sprite[row, layer] = p.sprite
            packed.dye[row, layer] = DYES.index(p.dye) + 1 if p.dye else 0
            packed.place[row, layer] = p.x, p.y, p.side
    return packed


@dataclass(frozen=True)
class Mix:
    """How many of the pictures show a pair of things, several of one, things in a relation; the others a single one.

    `effects` is how many of the pictures in the usual style have an effect of `effects.py`.
    """

    pairs: float = 0.16
    several: float = 0.13
    relations: float = 0.25
    effects: float = 0.13


class Composer:
    """Draws random scenes: `scenes` decides (on the CPU), `render` paints (on any device)."""

    def __init__(
        self,
        work: Path,
        device: str = "cpu",
        seed: int = 0,
        vendors: dict[str, float] | None = None,
        large: int | None = None,
        mix: Mix | None = None,
    ) -> None:
        """Read WORK/sprites.npz; `vendors` weighs the emoji sets (by default, Fluent before all).

        `large` is a second size to render at; its sprites must have been drawn, and are held in memory. `mix` says how
        often a picture shows more than one thing.
        """
        stored = np.load(sprite_file(work))
        pixels = torch.from_numpy(stored["pixels"]).permute(0, 3, 1, 2)
        self.device = device
        self.concepts = concepts()
        self._vendors = vendors or {"fluent": 0.72, "noto": 0.12, "flat": 0.10, "twemoji": 0.06}
        #: Index of a sprite by concept and emoji set.
        self.sprite = {
            (int(c), VENDORS[int(v)]): i
            for i, (c, v) in enumerate(zip(stored["concept"], stored["vendor"], strict=True))
        }
        self.hue = [_hue(sprite) for sprite in pixels]
        self._shapes = [layout.shape(sprite[3]) for sprite in pixels]
        self._sizes = {SIZE: pixels.to(device)}
        if large is not None:
            self._sizes[large] = torch.from_numpy(np.load(sprite_file(work, large))["pixels"]).permute(0, 3, 1, 2)
        self._mix = mix or Mix()
        self._random = random.Random(seed)

    @functools.cached_property
    def things(self) -> list[int]:
        """The concepts of which there is a sprite in the usual style, by index."""
        return [index for index in range(len(self.concepts)) if (index, "fluent") in self.sprite]

    @functools.cache  # noqa: B019  composers live as long as the program
    def _of(self, kinds: tuple[str, ...], vendor: str, but: bool = False) -> list[int]:
        """Return the concepts of some kinds, or of all `but` those, that an emoji set has."""
        return [
            index
            for index, concept in enumerate(self.concepts)
            if (concept.kind in kinds) != but and (index, vendor) in self.sprite
        ]

    def name(self, concept: int, several: bool = False) -> str:
        """Return a name of a concept: mostly the usual one, sometimes another, rarely the emoji itself."""
        thing, luck = self.concepts[concept], self._random.random()
        if luck < 0.02 and not several:
            return thing.emoji
        name = thing.name if luck < 0.6 or len(thing.names) == 1 else self._random.choice(thing.names[1:])
        return plural(name, thing.plurals) if several else name

    def scenes(self, count: int) -> list[Scene]:
        """Return random scenes, none of which shows a held-out combination."""
        return [self._scene() for _ in range(count)]

    def _scene(self) -> Scene:
        r = self._random
        vendor = r.choices(list(self._vendors), list(self._vendors.values()))[0]
        scene = None
        while scene is None:
            scene = self._try(vendor)
        words = ""
        if vendor != "fluent" or r.random() < 0.05:
            words = r.choice(phrases.STYLES[vendor])
        elif r.random() < self._mix.effects:
            effect = r.choice(_EFFECTS)
            scene.effect = _EFFECTS.index(effect)
            words = r.choice(phrases.EFFECTS[effect])
        caption = scene.caption
        if words:
            forms = (f"{words} {caption}", f"{caption}, {words}", f"{caption}, {words} style", f"{words} of {caption}")
            caption = r.choice(forms)
        elif r.random() < 0.10:
            caption = r.choice(phrases.PHRASES) + caption
        if r.random() < 0.10:
            caption = ", ".join((caption, *r.sample(phrases.QUALITIES, r.choice((1, 1, 2, 3)))))
        scene.caption = caption
        return scene

    def _try(self, vendor: str) -> Scene | None:
        """Return a scene of one emoji set; None when chance met a held-out combination."""
        r = self._random
        scene, where, behind = Scene(""), "", ""
        luck = r.random()
        if luck < 0.24:
            behind = r.choice(_SCENES)
            scene.painting = _SCENES.index(behind) * VARIANTS + r.randrange(VARIANTS)
            where = behind if r.random() < 0.6 else r.choice(scenes.ALSO[behind])
            mood = ""
            if behind in scenes.OUTDOORS and r.random() < 0.3:
                mood = r.choice(_MOODS)
                scene.mood = _MOODS.index(mood) * VARIANTS + r.randrange(VARIANTS)
                mood = " " + r.choice(scenes.MOODS[mood])
            if r.random() < 0.12:
                alone = r.choice(scenes.ALONE[behind])
                scene.caption = (article(alone) if r.random() < 0.4 else "") + alone + mood
                return scene
            where = f" {where}{mood}"
        elif luck < 0.50:
            behind = r.choice(list(COLOURS))
            red, green, blue = COLOURS[behind]
            scene.background = (self._near(red), self._near(green), self._near(blue))
            said = self._shade(behind)
            ground = f"{article(said)}{said} background"
            where = r.choice((f" on {ground}", f" on {said}", f" with {ground}"))
        drop = 0.06 if scene.painting != _NONE and behind not in scenes.FLOATING else 0.0
        luck, mix = r.random(), self._mix
        if luck < mix.several:
            text = self._several(scene, vendor, drop)
        elif luck < mix.several + mix.pairs:
            text = self._pair(scene, vendor, drop)
        elif luck < mix.several + mix.pairs + mix.relations:
            text = self._relation(scene, vendor)
        else:
            text = self._single(scene, vendor, drop, behind)
        if text is None:
            return None
        scene.caption = text + where
        return scene

    def _called(self, concept: int, colour: str = "", size: str = "") -> str:
        """Return how a caption calls one thing: article, size, colour, name."""
        r = self._random
        name = self.name(concept)
        if colour:
            name = f"{self._shade(colour)} {uncoloured(name)}"
        if r.random() < 0.10:
            name = f"{r.choice(phrases.ADJECTIVES)} {name}"
        text = f"{size} {name}" if size else name
        return (article(text) if r.random() < 0.75 else r.choice(("", "", "the "))) + text

    def _single(self, scene: Scene, vendor: str, drop: float, behind: str) -> str | None:
        r = self._random
        concept = r.choice(self._of((), vendor, True))
        side = 0.68 if scene.painting != _NONE else 0.84
        x, y, place, size = 0.5, 0.5 + drop, "", ""
        luck = r.random()
        if self.concepts[concept].kind == "landscape":
            side, y = 1.0, 0.5
        elif luck < 0.03:
            side, size = side * 0.6, r.choice(phrases.SMALL)
        elif luck < 0.06:
            side, y, size = 1.05, 0.5, r.choice(phrases.BIG)
        elif luck < 0.08:
            place = r.choice(("left", "right"))
            x, side = (0.3 if place == "left" else 0.7), 0.55
            place = f" on the {place}"
        sprite = self.sprite[concept, vendor]
        colour = self._dye(sprite, 0.34)
        if colour and behind and held_out(self.concepts[concept].name, colour, behind):
            return None
        scene.placements.append(Placement(sprite, self._near(x), self._near(y), side * r.uniform(0.95, 1.05), colour))
        return self._called(concept, colour, size) + place

    def _pair(self, scene: Scene, vendor: str, drop: float) -> str | None:
        r = self._random
        first, second = r.sample(self._of(("landscape",), vendor, True), 2)
        if held_out(*sorted((self.concepts[first].name, self.concepts[second].name))):
            return None
        texts = []
        for concept, x in ((first, 0.27), (second, 0.73)):
            sprite = self.sprite[concept, vendor]
            colour = self._dye(sprite, 0.14)
            scene.placements.append(Placement(sprite, x, self._near(0.5 + drop), 0.47, colour))
            texts.append(self._called(concept, colour))
        return f" {r.choice(phrases.BESIDE)} ".join(texts)

    def _several(self, scene: Scene, vendor: str, drop: float) -> str | None:
        r = self._random
        concept, number = r.choice(self._of(("landscape",), vendor, True)), r.choice(list(NUMBERS))
        if held_out(number, self.concepts[concept].name):
            return None
        sprite = self.sprite[concept, vendor]
        colour = self._dye(sprite, 0.16)
        places, side = layout.SEVERAL[number]
        shift = drop * 0.5
        scene.placements += [Placement(sprite, self._near(x), self._near(y) + shift, side, colour) for x, y in places]
        name = self.name(concept, several=True)
        if colour:
            name = f"{self._shade(colour)} {uncoloured(name)}"
        if number <= 3 and r.random() < 0.15:
            return name
        return f"{NUMBERS[number] if r.random() < 0.85 else number} {name}"

    def _relation(self, scene: Scene, vendor: str) -> str | None:
        """Return a caption of two things in a relation: the lower or farther one is placed first."""
        r = self._random
        relation = r.choice(tuple(RELATIONS))
        firsts, seconds, kind, other = RELATIONS[relation]
        ones, others = (self._of(kinds, vendor, but) for kinds, but in (firsts, seconds))
        if not ones or not others:
            return None
        first, second = r.choice(ones), r.choice(others)
        names = self.concepts[first].name, self.concepts[second].name
        if first == second or held_out(relation, *names):
            return None
        placements = self.related(relation, self.sprite[first, vendor], self.sprite[second, vendor], r.random() < 0.5)
        for placement in placements:
            placement.dye = self._dye(placement.sprite, 0.12)
            placement.x, placement.y = self._near(placement.x, 0.012), self._near(placement.y, 0.012)
        scene.placements += placements
        one, two = (self._called(c, p.dye) for c, p in zip((first, second), placements, strict=True))
        if relation == "hold":
            kind = phrases.HOLDING.get(self.concepts[second].kind, phrases.HOLDING[""])
        if other and r.random() < 0.35:
            return f"{one} {r.choice(other)} {two}"
        return f"{two} {r.choice(kind)} {one}" if other or relation == "on" else f"{one} {r.choice(kind)} {two}"

    def related(self, relation: str, first: int, second: int, right: bool) -> list[Placement]:
        """Return the places of two sprites in a relation of `RELATIONS`; `right` chooses between mirrored layouts."""
        one, two = self._shapes[first], self._shapes[second]
        match relation:
            case "hat":
                places = layout.hat(one, two)
            case "glasses":
                places = layout.glasses(one, two)
            case "hold":
                places = layout.held(right)
            case "on":
                places = layout.on(one, two)
            case "under":
                places = layout.under()
            case _:
                places = layout.front(right)
        return [Placement(sprite, *place) for sprite, place in zip((first, second), places, strict=True)]

    def _dye(self, sprite: int, chance: float) -> str:
        if self.hue[sprite] is None or self._random.random() > chance:
            return ""
        return self._random.choice(DYES)

    def _shade(self, colour: str) -> str:
        others = phrases.SHADES.get(colour)
        return self._random.choice(others) if others and self._random.random() < 0.12 else colour

    def _near(self, value: float, by: float = 0.02) -> float:
        return min(max(value + self._random.uniform(-by, by), 0.0), 1.0)

    def render(self, wanted: Sequence[Scene], size: int = SIZE) -> Tensor:
        """Return the pictures of scenes, as `paint` does."""
        return self.paint(pack(wanted), size)

    def paint(self, wanted: Packed, size: int = SIZE) -> Tensor:
        """Return the pictures of scenes: float32 [n, 3, size, size] in [0, 1], on this composer's device.

        KeyError for a size that is neither 128 nor this composer's `large`.
        """
        plain = torch.from_numpy(wanted.background).to(self.device)
        canvas = plain[:, :, None, None].expand(-1, 3, size, size).clone()
        paintings, falling = _backdrops(size, self.device, VARIANTS)
        painted, moody = (np.flatnonzero(wanted.backdrop[:, column] != _NONE) for column in (0, 1))
        moods = torch.from_numpy(wanted.backdrop[moody, 1].astype(np.int64)).to(self.device)
        if len(painted):
            canvas[painted] = paintings[wanted.backdrop[painted, 0].astype(np.int64)].float() / 255
        if len(moody):
            factor, added = (part.to(self.device)[moods // VARIANTS, :, None, None] for part in _lights())
            canvas[moody] = canvas[moody] * factor + added
        for layer in range(LAYERS):
            rows = np.flatnonzero(wanted.sprite[:, layer] != _NONE)
            if not len(rows):
                break
            self._lay(canvas, rows, wanted.sprite[rows, layer], wanted.dye[rows, layer], wanted.place[rows, layer])
        if len(moody):
            hidden = falling[moods].float() * (0.75 / 255)
            canvas[moody] = canvas[moody] * (1 - hidden) + 0.92 * hidden
        canvas = canvas.clamp(0, 1)
        for number, name in enumerate(_EFFECTS):
            rows = np.flatnonzero(wanted.backdrop[:, 2] == number)
            if len(rows):
                canvas[rows] = effects.EFFECTS[name](canvas[rows])
        return canvas

    def _lay(self, canvas: Tensor, rows: Any, sprites: Any, dyes: Any, places: Any) -> None:
        """Paint a sprite into each of some rows of pictures. A small one is softened first, so that it has no noise."""
        sides = places[:, 2]
        for low, high, soft in ((0.55, 9.0, 1), (0.30, 0.55, 2), (0.0, 0.30, 4)):
            which = np.flatnonzero((sides >= low) & (sides < high))
            if len(which):
                drawn = self._draw(sprites[which], dyes[which], places[which], canvas.shape[-1], soft)
                canvas[rows[which]] = canvas[rows[which]] * (1 - drawn[:, 3:]) + drawn[:, :3]

    def _draw(self, chosen: Any, dyes: Any, places: Any, size: int, soft: int) -> Tensor:
        """Return sprites dyed and put in place, premultiplied RGBA: float32 [n, 4, size, size]."""
        pixels = self._sizes[size]
        index = torch.from_numpy(chosen.astype(np.int64))
        sprites = pixels[index.to(pixels.device)].to(self.device).float() / 255
        alpha = sprites[:, 3:]
        dye = self._matrices[index.to(self.device), torch.from_numpy(dyes.astype(np.int64)).to(self.device)]
        dyed = torch.einsum("nij,njhw->nihw", dye[:, :, :3], sprites[:, :3]) + dye[:, :, 3, None, None] * alpha
        sprites = torch.cat([dyed.clamp(min=0).minimum(alpha), alpha], 1)
        if soft > 1:
            # At every size a sprite shall be as soft, as far as whole pixels allow.
            sprites = F.avg_pool2d(sprites, soft)
        x, y, side = torch.from_numpy(places).to(self.device).unbind(1)
        zero = torch.zeros_like(x)
        frames = torch.stack(
            [
                torch.stack([1 / side, zero, -(2 * x - 1) / side], 1),
                torch.stack([zero, 1 / side, -(2 * y - 1) / side], 1),
            ],
            1,
        )
        grid = F.affine_grid(frames, [len(sprites), 4, size, size], align_corners=False)
        return F.grid_sample(sprites, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @functools.cached_property
    def _matrices(self) -> Tensor:
        """RGB affines that dye each sprite, the first leaving it as it is: float32 [sprites, 1 + DYES, 3, 4]."""
        table = torch.eye(3, 4).repeat(len(self.hue), 1 + len(DYES), 1, 1)
        for sprite, hue in enumerate(self.hue):
            if hue is not None:
                for number, colour in enumerate(DYES):
                    table[sprite, number + 1] = _dyeing(hue, colour)
        return table.to(self.device)


Kinds = tuple[tuple[str, ...], bool]
#: Each relation: the kinds of the thing that is lower or farther and of the other, the words between them (the other
#: first where `on`, `under` and `front` are told), and the words for the same told the other way round.
RELATIONS: dict[str, tuple[Kinds, Kinds, tuple[str, ...], tuple[str, ...]]] = {
    "hat": (((*ACTORS, "face"), False), (("hat",), False), phrases.WEARING, ()),
    "glasses": ((("face", "person"), False), (("glasses",), False), phrases.WEARING, ()),
    "hold": ((ACTORS, False), (HELD, False), (), ()),
    "on": ((BASES, False), (WIDE, True), phrases.ON, ()),
    "under": ((ABOVE, False), (WIDE, True), phrases.UNDER, phrases.OVER),
    "front": ((BACKS, False), (WIDE, True), phrases.FRONT, phrases.BEHIND),
}


@functools.cache
def _backdrops(size: int, device: str, variants: int) -> tuple[Tensor, Tensor]:
    """Return the paintings of all scenes and what falls in all moods, at a size: uint8."""
    made = (scenes.paint(variants, size=size), scenes.weather(variants, size=size))
    paintings, falling = (torch.from_numpy((part * 255 + 0.5).astype(np.uint8)).to(device) for part in made)
    return paintings, falling


@functools.cache
def _lights() -> tuple[Tensor, Tensor]:
    """Return the factors and the sums of all moods, RGB: float32 [moods, 3] each."""
    factors, added = (torch.tensor([_LIGHT[mood][part] for mood in _MOODS]) for part in (0, 1))
    return factors, added


def _dyeing(hue: tuple[float, float], colour: str) -> Tensor:
    """Return the RGB affine [3, 4] that dyes a sprite of one dominant hue."""
    angle, light = hue
    target = _YIQ @ torch.tensor(COLOURS[colour])
    if colour in ("black", "white"):
        fade = torch.diag(torch.tensor([1.0, 0.12, 0.12]))
        gain, lift = (0.40, 0.0) if colour == "black" else (0.45, 0.53)
        return torch.cat([gain * _RGB @ fade @ _YIQ, torch.full((3, 1), lift)], 1)
    turn = math.atan2(target[2], target[1]) - angle
    gain = min(max(float(target[0]) / max(light, 0.1), 0.65), 1.6)
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = gain * _RGB @ torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
    return torch.cat([matrix, torch.zeros(3, 1)], 1)


def _hue(pixels: Tensor) -> tuple[float, float] | None:
    """Return the hue (radians in the I-Q plane) and lightness of a sprite, uint8 [4, h, w]; None when it has many."""
    sprite = pixels[:, ::2, ::2].float() / 255
    solid = sprite[3] > 0.5
    if int(solid.sum()) < 20:
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
