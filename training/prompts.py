"""The fixed list of prompts that `evaluate.py` asks for, and real pictures of them.

None is a caption of the training, word for word: either the combination is held out (`compose.held_out`), or its words
are some that `compose.py` never uses.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from training.compose import COLOURS, DYES, NUMBERS, VARIANTS, Composer, Placement, Scene, article, held_out, plural
from training.compose import uncoloured as bare
from training.scenes import FLOATING, SCENES

T = TypeVar("T")

#: Beginnings that no caption has.
WORDINGS = ("a drawing of ", "a painting of ", "draw ", "please paint ")
#: Words that no caption has, for things that some have by another name.
SYNONYMS = {
    "hound": "dog",
    "kitty": "cat",
    "hare": "rabbit",
    "hog": "pig",
    "stallion": "horse",
    "wasp": "bee",
    "melon": "watermelon",
    "fortress": "castle",
    "mansion": "house",
    "ship": "sailboat",
    "aircraft": "airplane",
    "bonfire": "fire",
}
#: How many prompts of each kind the list has, and how many of those (the first ones) the README's sheet shows.
SIZES = {
    "single": (50, 6),
    "colours": (56, 5),
    "background": (26, 3),
    "pair": (40, 4),
    "count": (24, 3),
    "scene": (24, 3),
    "alias": (24, 0),
    "synonym": (12, 0),
}


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


def gallery(composer: Composer, size: int = 50) -> list[int]:
    """Return the concepts that retrieval chooses from: evenly spread over the composer's subjects."""
    known = _known(composer)
    size = min(size, len(known))
    return [known[i * len(known) // size] for i in range(size)]


def prompts(composer: Composer) -> list[Prompt]:
    """Return the list, the same for the same sprites, kind after kind as in `SIZES`."""
    r = random.Random(20)  # the list's own generator: another number is another list
    known = _known(composer)
    name = {concept: composer.names[concept][0] for concept in known}

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
    pairs = [(a, b) for a in known for b in known if a != b and held_out(*sorted((name[a], name[b])))]
    r.shuffle(pairs)
    for a, b in _each_once(pairs, lambda pair: pair):
        text = f"{article(name[a])}{name[a]} and {article(name[b])}{name[b]}"
        found.append(Prompt("pair", text, (a, b)))
    counts = [(concept, number) for concept in known for number in NUMBERS if held_out(number, name[concept])]
    r.shuffle(counts)
    for concept, number in _each_once(counts, lambda count: count[:1]):
        found.append(Prompt("count", f"{NUMBERS[number]} {plural(name[concept])}", (concept,), number=number))
    for i, concept in enumerate(shuffled(known)):
        scene = list(SCENES)[i % len(SCENES)]
        found.append(Prompt("scene", f"{said(i, name[concept])} {scene}", (concept,), scene=scene))
    for i, concept in enumerate(shuffled(concept for concept in known if len(composer.names[concept]) > 1)):
        found.append(Prompt("alias", said(i, composer.names[concept][1]), (concept,)))
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
    shown = prompt.concepts * prompt.number
    places = {
        1: ((0.5, 0.5 + drop),),
        2: ((0.27, 0.5 + drop), (0.73, 0.5 + drop)),
        3: ((0.5, 0.28 + drop / 2), (0.27, 0.70 + drop / 2), (0.73, 0.70 + drop / 2)),
    }[len(shown)]
    side = {1: 0.68 if prompt.scene else 0.84, 2: 0.46, 3: 0.45}[len(shown)]
    if len(shown) == 1:
        side *= chance.uniform(0.95, 1.05)
    for concept, (x, y) in zip(shown, places, strict=True):
        sprite = composer.sprite[concept, vendor]
        dye = composer.dye(sprite, prompt.colour) if prompt.colour else torch.eye(3, 4)
        near_x, near_y = (value + chance.uniform(-0.02, 0.02) for value in (x, y))
        scene.placements.append(Placement(sprite, near_x, near_y, side, dye))
    return scene


def _known(composer: Composer) -> list[int]:
    """Return those of the composer's subjects of which there is a sprite in the usual style."""
    return [concept for concept in composer.subjects if (concept, "fluent") in composer.sprite]


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
