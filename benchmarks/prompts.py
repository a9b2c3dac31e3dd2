"""Composed prompts and queries by hand, to measure what search finds.

A prompt is made of parts: who, where, how it is painted, and in a third of them by whom. Each part can be said in
several ways, the usual one most often. A query is relevant for the prompts with the parts that it is about, in
whatever words.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COUNT = 5000
HELD_OUT = Path(__file__).with_name("held_out.txt")

WHO = {
    "cat": ("a cat", "a kitten", "a tabby cat", "a sleepy feline"),
    "dog": ("a dog", "a puppy", "a golden retriever", "a hound"),
    "horse": ("a horse", "a stallion", "a galloping mare", "a foal"),
    "bird": ("a small bird", "a sparrow", "a robin", "a songbird"),
    "owl": ("an owl", "a barn owl", "an owlet"),
    "fish": ("a fish", "a school of salmon", "a trout", "a goldfish"),
    "shark": ("a shark", "a great white shark", "a hammerhead"),
    "dragon": ("a dragon", "a wyvern", "a fire-breathing serpent"),
    "knight": ("a knight", "a soldier in armor", "a crusader with a sword"),
    "wizard": ("a wizard", "a sorcerer", "an old mage with a staff"),
    "witch": ("a witch", "an enchantress", "a hag with a cauldron"),
    "robot": ("a robot", "an android", "a rusty automaton"),
    "astronaut": ("an astronaut", "a cosmonaut", "a spaceman in a helmet"),
    "pirate": ("a pirate", "a buccaneer", "a captain with an eyepatch"),
    "king": ("a king", "a monarch with a crown", "an emperor"),
    "child": ("a child", "a little girl", "a young boy", "a toddler"),
    "oldman": ("an old man", "a grandfather", "an elderly gentleman"),
    "woman": ("a woman", "a lady in a red dress", "a young woman"),
    "farmer": ("a farmer", "a peasant with a hoe", "a shepherd"),
    "doctor": ("a doctor", "a physician", "a surgeon in a mask"),
    "musician": ("a musician", "a violinist", "a guitarist on stage"),
    "dancer": ("a dancer", "a ballerina", "a couple dancing tango"),
    "chef": ("a chef", "a cook with a pan", "a baker kneading dough"),
    "car": ("a car", "a sports car", "an old automobile", "a racing car"),
    "train": ("a train", "a steam locomotive", "a railway engine"),
    "ship": ("a ship", "a sailing vessel", "a galleon", "a small boat"),
    "plane": ("an airplane", "a jet", "a biplane", "an aircraft"),
    "bicycle": ("a bicycle", "a bike leaning on a wall", "a cyclist"),
    "castle": ("a castle", "a fortress", "a ruined citadel"),
    "house": ("a house", "a cottage", "a little cabin", "a hut"),
    "church": ("a church", "a cathedral", "a chapel"),
    "lighthouse": ("a lighthouse", "a beacon tower"),
    "bridge": ("a bridge", "an old stone bridge", "a viaduct"),
    "flower": ("a flower", "a rose", "a bouquet of tulips", "a blossom"),
    "tree": ("a tree", "an ancient oak", "a pine", "a willow"),
    "mushroom": ("a mushroom", "toadstools", "a ring of fungi"),
    "apple": ("an apple", "a basket of fruit", "ripe apples"),
    "cake": ("a cake", "a birthday cake", "a plate of pastries"),
    "coffee": ("a cup of coffee", "an espresso", "a steaming mug"),
    "bread": ("a loaf of bread", "fresh baguettes", "a bun"),
    "book": ("an open book", "a stack of novels", "an old tome"),
    "clock": ("a clock", "a pocket watch", "an hourglass"),
    "guitar": ("a guitar", "an electric bass", "a banjo"),
    "skull": ("a skull", "a skeleton", "old bones"),
    "spider": ("a spider", "a tarantula on its web"),
    "butterfly": ("a butterfly", "a moth", "a monarch butterfly on a leaf"),
    "whale": ("a whale", "an orca", "a humpback whale"),
    "bear": ("a bear", "a grizzly", "a polar bear cub"),
    "wolf": ("a wolf", "a howling wolf pack", "a coyote"),
    "snowman": ("a snowman", "a figure made of snow"),
}
WHERE = {
    "beach": ("on the beach", "on a sandy shore", "by the seaside"),
    "forest": ("in a forest", "in the deep woods", "among tall trees"),
    "mountain": ("on a mountain", "among snowy peaks", "in the alps"),
    "city": ("in a city", "on a busy street", "between skyscrapers"),
    "desert": ("in the desert", "among sand dunes", "under a scorching sun"),
    "space": ("in outer space", "among the stars", "above a distant planet"),
    "underwater": ("under water", "at the bottom of the ocean", "in a coral reef"),
    "snow": ("in the snow", "on a winter day", "in a blizzard"),
    "rain": ("in the rain", "during a thunderstorm", "on a wet evening"),
    "night": ("at night", "under the moonlight", "in the dark"),
    "sunset": ("at sunset", "in the evening glow", "at dusk"),
    "garden": ("in a garden", "in a flower meadow", "in the backyard"),
    "kitchen": ("in a kitchen", "on a dining table", "beside a stove"),
    "library": ("in a library", "between bookshelves", "in a reading room"),
    "cave": ("in a cave", "in a dark cavern", "in an underground grotto"),
    "market": ("at a market", "in a crowded bazaar", "in front of a shop"),
    "school": ("in a school", "in a classroom", "at a university"),
    "hospital": ("in a hospital", "in a clinic", "in a sick room"),
    "village": ("in a village", "in a small medieval town", "between old farmhouses"),
    "fog": ("in the fog", "in thick mist", "on a hazy morning"),
}
HOW = {
    "watercolour": ("watercolour", "aquarelle", "soft watercolor wash"),
    "oil": ("oil painting", "oil on canvas", "thick impasto strokes"),
    "photo": ("photograph", "35mm film photo", "dslr, shallow depth of field"),
    "sketch": ("pencil sketch", "charcoal drawing", "rough graphite lines"),
    "anime": ("anime style", "manga illustration", "cel shaded"),
    "pixel": ("pixel art", "8-bit sprite", "retro video game graphics"),
    "render": ("3d render", "octane render", "computer generated, raytraced"),
    "emoji": ("emoji", "flat icon", "sticker with white border"),
    "woodcut": ("woodcut", "linocut print", "engraving"),
    "stained": ("stained glass", "mosaic of coloured glass"),
    "cyberpunk": ("cyberpunk, neon lights", "futuristic dystopia"),
    "steampunk": ("steampunk, brass gears", "victorian machinery"),
}
NAMES = {
    name.split()[-1].lower(): name
    for name in (
        "Anka Melnyk", "Tove Ravndal", "Oriel Quist", "Bastien Corvo", "Ishani Rao-Keller", "Yun Taek-su",
        "Hedda Lomax",
        "Piero Zannini", "Wenja Brandvold", "Kofi Asante-Bly", "Marisol Ibarrund", "Leopold Vint", "Saga Thorvalda",
        "Dario Eszterhas", "Minako Hoshide", "Rurik Obolen", "Celestine Ombra", "Jory Penhallow", "Ulrike Sandmo",
    )
}  # fmt: skip
"""Artists that do not exist: real prompts are full of names, which no word vector knows."""

EXTRAS = ("highly detailed", "masterpiece", "warm colours", "pastel palette", "dramatic light", "best quality", "cosy")

# What people would type, with the parts that they mean. Some use the words of prompts, some others, some only a part.
QUERIES = """
kitten on the beach|cat beach;kitty in the woods|cat forest;feline at night|cat night;cats in snow|cat snow
cute cat in the garden|cat garden;puppy by the sea|dog beach;dogs in the rain|dog rain;hound in misty weather|dog fog
doggy in the kitchen|dog kitchen;puppies in winter|dog snow;horse riding through desert|horse desert
stallion at dusk|horse sunset;mare in a forest|horse forest;sparrow in a garden|bird garden
tiny birds in winter|bird snow;songbirds in the city|bird city;owl in moonlight|owl night;owls in the woods|owl forest
owl with books in a library|owl library;barn owl in a storm|owl rain;salmon at the market|fish market
goldfish in the kitchen|fish kitchen;trout in space|fish space;shark under water|shark underwater
hammerhead in a cave|shark cave;shark in the city|shark city;dragon on a mountain peak|dragon mountain
wyvern in a cavern|dragon cave;dragon at night|dragon night;knight in the woods|knight forest
armored warrior in fog|knight fog;crusader in the desert|knight desert;wizard in a library|wizard library
mage in a grotto|wizard cave;sorcerer during a thunderstorm|wizard rain;magician with staff in snow|wizard snow
witches at night|witch night;enchantress in a cave|witch cave;witch at the bazaar|witch market
robot in a city street|robot city;automaton in the kitchen|robot kitchen;robots in a classroom|robot school
astronaut among stars|astronaut space;cosmonaut in the desert|astronaut desert
astronaut at the market|astronaut market;pirate on a shore|pirate beach;pirates in a cave|pirate cave
buccaneer in a storm|pirate rain;king in a garden|king garden;emperor in the snow|king snow
monarch in a library|king library;the king at a market|king market;little girl in the rain|child rain
boy on the beach|child beach;kids playing in snow|child snow;grandpa in the garden|oldman garden
elderly man in hospital|oldman hospital;grandfather reading in a library|oldman library
lady in red in the city|woman city;woman at sunset|woman sunset;women at the seaside|woman beach
farmer in a village|farmer village;shepherd in the mountains|farmer mountain;peasant in the rain|farmer rain
surgeon in a clinic|doctor hospital;doctor in a school|doctor school;physician in a small town|doctor village
doctors at night|doctor night;musician under stars|musician space;guitar player on the beach|musician beach
violin player in the snow|musician snow;ballerina in the forest|dancer forest;tango in the rain|dancer rain
ballet in an underwater world|dancer underwater;chef in a kitchen|chef kitchen;baker in a village|chef village
cook in outer space|chef space;racing car in the desert|car desert;old automobile in the snow|car snow
car in a city at rush hour|car city;steam train in the mountains|train mountain;locomotive in fog|train fog
train in the snow|train snow;railway in the forest|train forest;galleon at sunset|ship sunset
boat on the sand|ship beach;sunken vessel at the ocean bottom|ship underwater;airplane above mountains|plane mountain
biplane over desert dunes|plane desert;aircraft in mist|plane fog;bike in the city|bicycle city
cyclist in the mountains|bicycle mountain;bicycles in front of a shop|bicycle market;castle in fog|castle fog
fortress on a mountain|castle mountain;ruined castle at night|castle night;cabin in the woods|house forest
cottage with garden|house garden;hut in the snow|house snow;small house on the beach|house beach
chapel in a village|church village;church in mist|church fog;church in moonlight|church night
lighthouse in a storm|lighthouse rain;lighthouse on the shore|lighthouse beach;lighthouse in the fog|lighthouse fog
stone bridge in the forest|bridge forest;viaduct in the mountains|bridge mountain;old bridge in mist|bridge fog
rose in the snow|flower snow;tulips on a dining table|flower kitchen;blossoms in the rain|flower rain
oak tree in a meadow|tree garden;lonely tree in the desert|tree desert;willow in fog|tree fog
pine trees in winter|tree snow;toadstool in a cave|mushroom cave;fungi in the garden|mushroom garden
mushroom at night|mushroom night;fruit basket in a kitchen|apple kitchen;apple in a classroom|apple school
apple in the garden|apple garden;birthday cake in the kitchen|cake kitchen;cakes in a shop|cake market
cake in a hospital|cake hospital;espresso in the city|coffee city;coffee in the rain|coffee rain
mug in a reading room|coffee library;baguette in a kitchen|bread kitchen;bread at the market|bread market
bun in a village|bread village;fresh bread at sunset|bread sunset;novels in a library|book library
tome in the forest|book forest;book on the beach|book beach;pocket watch in the sand dunes|clock desert
hourglass in the night|clock night;clocks in space|clock space;guitar on the beach|guitar beach
banjo in a village|guitar village;guitar in the snow|guitar snow;skeleton in a cave|skull cave
skull in the desert|skull desert;bones in the forest|skull forest;tarantula in a cave|spider cave
spider web in the garden|spider garden;spiders in a library|spider library;spider in the rain|spider rain
butterfly in a meadow|butterfly garden;butterflies in a forest|butterfly forest
butterfly in a greenhouse kitchen|butterfly kitchen;orca in the ocean|whale underwater;whales at sunset|whale sunset
humpback in the snow|whale snow;polar bear in a blizzard|bear snow;grizzly in the woods|bear forest
bears in a cave|bear cave;howling wolf in moonlight|wolf night;wolves in the snow|wolf snow
coyote in the desert|wolf desert;anka melnyk|melnyk;melnyk cats|melnyk cat;ravndal landscape in fog|ravndal fog
by tove ravndal|ravndal;oriel quist|quist;quist at sunset|quist sunset;bastien corvo|corvo;corvo night|corvo night
corvo ship|corvo ship;rao-keller|rao-keller;ishani rao keller flowers|rao-keller flower;yun taek-su|taek-su
taek su city|taek-su city;lomax|lomax;hedda lomax portrait of a woman|lomax woman;zannini|zannini
zannini village|zannini village;brandvold snow|brandvold snow;wenja brandvold|brandvold
asante-bly musician|asante-bly musician;kofi asante|asante-bly;ibarrund|ibarrund;ibarrund dancers|ibarrund dancer
leopold vint|vint;vint train|vint train;thorvalda|thorvalda;saga thorvalda wolf|thorvalda wolf;eszterhas|eszterhas
dario eszterhas in the rain|eszterhas rain;hoshide|hoshide;minako hoshide garden|hoshide garden;obolen|obolen
rurik obolen forest|obolen forest;celestine ombra|ombra;ombra church|ombra church;penhallow beach|penhallow beach
jory penhallow|penhallow;sandmo|sandmo;ulrike sandmo kitchen|sandmo kitchen;melnyk watercolour|melnyk watercolour
"""


@dataclass(frozen=True, slots=True)
class Composed:
    """A prompt, and the parts that it is made of."""

    text: str
    parts: frozenset[str]


def compose(count: int = COUNT, seed: int = 20260503) -> list[Composed]:
    """Prompts in a fixed order."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        who, where, how = (draw.choice(list(kind)) for kind in (WHO, WHERE, HOW))
        words = [f"{_said(draw, WHO[who])} {_said(draw, WHERE[where])}", _said(draw, HOW[how])]
        words += draw.sample(EXTRAS, draw.randrange(3))
        by = draw.choice(list(NAMES)) if draw.random() < 1 / 3 else ""
        if by:
            words.append(f"by {NAMES[by]}")
        if draw.random() < 0.3:
            words.insert(0, words.pop(1))
        found.append(Composed(", ".join(words), frozenset({who, where, how, by} - {""})))
    return found


def _said(draw: random.Random, ways: tuple[str, ...]) -> str:
    """One of the ways to say something; the n-th is 1/n as usual as the first."""
    return draw.choices(ways, [1 / n for n in range(1, len(ways) + 1)])[0]


def queries() -> list[tuple[str, frozenset[str]]]:
    """What people would type, and the parts that a prompt must have to be what they mean."""
    return _read(entry for line in QUERIES.strip().splitlines() for entry in line.split(";"))


def held_out() -> list[tuple[str, frozenset[str]]]:
    """The same from another set, which was written before any of its results were seen. Nothing may be tuned on it."""
    return _read(HELD_OUT.read_text().splitlines())


def _read(entries: Iterable[str]) -> list[tuple[str, frozenset[str]]]:
    parted = (entry.partition("|") for entry in entries)
    return [(text.strip(), frozenset(parts.split())) for text, _, parts in parted]
