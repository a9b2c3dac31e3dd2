"""The fixed list of prompts that `evaluate.py` asks for, and real pictures of them.

None is a caption of the training, word for word: either the combination is held out (`compose.held_out`), or its words
are some that `compose.py` never uses.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from training import layout
from training.compose import RELATIONS, VARIANTS, Composer, Scene, article, held_out, plural
from training.compose import uncoloured as bare
from training.layout import Placement
from training.phrases import COLOURS, DYES, NUMBERS
from training.scenes import FLOATING, SCENES

T = TypeVar("T")

#: Beginnings that no caption has.
WORDINGS = ("a drawing of ", "a painting of ", "draw ", "please paint ")
#: Words that no caption has, for things that some have by another name.
SYNONYMS = {
    "soldier": "police officer",
    "photographer": "artist",
    "submarine": "ship",
    "pickup": "truck",
    "peak": "mountain",
    "peninsula": "island",
    "mansion": "house",
    "missile": "rocket",
    "college": "school",
    "musician": "singer",
    "instructor": "teacher",
    "mill": "factory",
}
#: How many prompts of each kind the list has, and how many of those (the first ones) the README's sheet shows.
SIZES = {
    "single": (208, 8),
    "colours": (60, 3),
    "background": (40, 2),
    "pair": (60, 3),
    "count": (48, 2),
    "worn": (32, 2),
    "held": (32, 1),
    "under": (32, 1),
    "on": (24, 1),
    "scene": (44, 1),
    "alias": (40, 0),
    "synonym": (12, 0),
}
#: The kinds that are relations, by the name in `RELATIONS`.
RELATED = {"worn": "hat", "held": "hold", "under": "under", "on": "on"}
#: How the list words them.
WORDED = {"worn": "wearing", "held": "holding", "under": "under", "on": "on top of"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked for, in words and as facts; concepts are indices of concepts.txt."""

    kind: str
    text: str
    concepts: tuple[int, ...]
    colour: str = ""
    background: str = ""
    number: int = 1
    scene: str = ""


def gallery(composer: Composer, size: int = SIZES["single"][0]) -> list[int]:
    """Return the concepts that single things are asked for: evenly spread over all of them."""
    known = composer.things
    size = min(size, len(known))
    return [known[i * len(known) // size] for i in range(size)]


def prompts(composer: Composer) -> list[Prompt]:
    """Return the list, the same for the same sprites, kind after kind as in `SIZES`."""
    r = random.Random(20)  # the list's own generator: another number is another list
    known = composer.things
    name = {concept: composer.concepts[concept].name for concept in known}
    solid = [concept for concept in known if composer.concepts[concept].kind != "landscape"]

    def shuffled(concepts: Iterable[int]) -> list[int]:
        some = list(concepts)
        r.shuffle(some)
        return some

    def said(number: int, text: str) -> str:
        return WORDINGS[number % len(WORDINGS)] + article(text) + text

    found = [
        Prompt("single", said(i, name[concept]), (concept,)) for i, concept in enumerate(shuffled(gallery(composer)))
    ]
    dyeable = [concept for concept in known if composer.hue[composer.sprite[concept, "fluent"]] is not None]
    triples = [
        (concept, colour, behind)
        for concept in dyeable
        for colour in DYES
        for behind in COLOURS
        if colour != behind and held_out(name[concept], colour, behind)
    ]
    r.shuffle(triples)
    for concept, colour, behind in _each_once(triples, lambda triple: triple[:1]):
        text = f"{colour} {bare(name[concept])}"
        found.append(Prompt("colours", f"{article(text)}{text} on {_ground(behind)}", (concept,), colour, behind))
    for i, concept in enumerate(shuffled(known)):
        behind = list(COLOURS)[i % len(COLOURS)]
        text = f"{said(i, name[concept])} on {_ground(behind)}"
        found.append(Prompt("background", text, (concept,), background=behind))
    pairs = [(a, b) for a in solid for b in solid if a < b and held_out(*sorted((name[a], name[b])))]
    r.shuffle(pairs)
    for a, b in _each_once(pairs, lambda pair: pair):
        text = f"{article(name[a])}{name[a]} and {article(name[b])}{name[b]}"
        found.append(Prompt("pair", text, (a, b)))
    counts = [(concept, number) for concept in solid for number in NUMBERS if held_out(number, name[concept])]
    r.shuffle(counts)
    for concept, number in _each_once(counts, lambda count: count[:1]):
        several = plural(name[concept], composer.concepts[concept].plurals)
        found.append(Prompt("count", f"{NUMBERS[number]} {several}", (concept,), number=number))
    for kind, relation in RELATED.items():
        (first, but), (second, other), *_ = RELATIONS[relation]
        ones = [c for c in known if (composer.concepts[c].kind in first) != but]
        twos = [c for c in known if (composer.concepts[c].kind in second) != other]
        both = [(a, b) for a in ones for b in twos if a != b and held_out(relation, name[a], name[b])]
        r.shuffle(both)
        for a, b in _each_once(both, lambda two: two[:1]):
            said_first, said_second = (b, a) if kind in ("under", "on") else (a, b)
            text = f"{article(name[said_first])}{name[said_first]} {WORDED[kind]} "
            found.append(Prompt(kind, text + article(name[said_second]) + name[said_second], (a, b)))
    for i, concept in enumerate(shuffled(known)):
        scene = list(SCENES)[i % len(SCENES)]
        found.append(Prompt("scene", f"{said(i, name[concept])} {scene}", (concept,), scene=scene))
    for i, concept in enumerate(shuffled(concept for concept in known if len(composer.concepts[concept].names) > 1)):
        found.append(Prompt("alias", said(i, composer.concepts[concept].names[1]), (concept,)))
    index = {usual: concept for concept, usual in name.items()}
    for i, (word, usual) in enumerate(SYNONYMS.items()):
        if usual in index:
            found.append(Prompt("synonym", said(i, word), (index[usual],)))
    return [prompt for kind, (size, _) in SIZES.items() for prompt in [p for p in found if p.kind == kind][:size]]


def contact(fixed: Sequence[Prompt]) -> list[Prompt]:
    """Return the 24 of the list that the README shows: the first ones of most kinds."""
    return [p for kind, (_, shown) in SIZES.items() for p in [p for p in fixed if p.kind == kind][:shown]]


def sample(fixed: Sequence[Prompt], size: int | None) -> list[Prompt]:
    """Return `size` prompts of the list, evenly spread over it; all when None."""
    size = min(size or len(fixed), len(fixed))
    return [fixed[i * len(fixed) // size] for i in range(size)]


def real(composer: Composer, prompt: Prompt, chance: random.Random, vendor: str = "fluent") -> Scene:
    """Return a real picture of a prompt, with the layout and the small differences of the training's pictures."""
    scene = Scene(prompt.text)
    red, green, blue = (
        min(max(value + chance.uniform(-0.02, 0.02), 0.0), 1.0) if prompt.background else 1.0
        for value in COLOURS[prompt.background or "white"]
    )
    scene.background = (red, green, blue)
    drop = 0.0
    if prompt.scene:
        scene.painting = list(SCENES).index(prompt.scene) * VARIANTS + chance.randrange(VARIANTS)
        drop = 0.0 if prompt.scene in FLOATING else 0.06
    for placement in places(composer, prompt, vendor, drop, right=chance.random() < 0.5):
        near_x, near_y = (value + chance.uniform(-0.02, 0.02) for value in (placement.x, placement.y))
        scene.placements.append(Placement(placement.sprite, near_x, near_y, placement.side, prompt.colour))
    return scene


def places(
    composer: Composer, prompt: Prompt, vendor: str = "fluent", drop: float = 0.0, *, right: bool = True
) -> list[Placement]:
    """Return where the things of a prompt stand, `drop` lower than usual; `right` chooses between mirrored layouts."""
    sprites = [composer.sprite[concept, vendor] for concept in prompt.concepts]
    if prompt.kind in RELATED:
        return composer.related(RELATED[prompt.kind], *sprites, right)
    shown = sprites * prompt.number
    spots, side = layout.SEVERAL[len(shown)]
    side = 0.68 if prompt.scene else side
    if len(shown) == 1 and composer.concepts[prompt.concepts[0]].kind == "landscape":
        side = 1.0
    return [Placement(sprite, x, y + drop, side) for sprite, (x, y) in zip(shown, spots, strict=True)]


def _ground(colour: str) -> str:
    return f"{article(colour)}{colour} background"


def _each_once(combinations: list[T], concepts: Callable[[T], tuple[int, ...]]) -> Iterator[T]:
    """Yield combinations in order, first those of which no concept came before, then the others."""
    seen: set[int] = set()
    later: list[T] = []
    for combination in combinations:
        if seen.isdisjoint(concepts(combination)):
            seen.update(concepts(combination))
            yield combination
        else:
            later.append(combination)
    yield from later
