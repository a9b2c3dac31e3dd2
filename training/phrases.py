"""The words that captions are made of, beside the names of things. Every word here is one that the model learns."""

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
#: Other words for those colours.
SHADES = {
    "purple": ("violet", "lilac"),
    "gray": ("grey", "silver"),
    "yellow": ("golden", "gold"),
    "teal": ("turquoise", "cyan"),
    "red": ("crimson", "scarlet"),
    "pink": ("magenta",),
    "beige": ("cream",),
    "white": ("pale",),
    "black": ("dark",),
}
#: Colours a thing may be dyed in.
DYES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")
#: How captions say which emoji set a sprite is from. The first set needs no word: it is the usual style.
STYLES = {
    "fluent": ("3d", "3d render", "glossy", "plastic"),
    "noto": ("cartoon", "illustrated", "drawing"),
    "flat": ("flat", "minimalist", "flat design"),
    "twemoji": ("sticker", "vector art", "clipart"),
}
#: Words that ask for an effect of `effects.py`, by its name.
EFFECTS = {
    "pixel art": ("pixel art", "pixelated", "retro game"),
    "watercolor": ("watercolor", "watercolour", "watercolor painting"),
    "sketch": ("sketch", "pencil sketch", "pencil drawing", "line art"),
    "neon": ("neon", "neon sign", "neon lights", "glowing neon"),
    "black and white": ("black and white", "monochrome"),
    "vintage": ("vintage", "sepia", "old photo"),
    "oil painting": ("oil painting", "impressionist"),
    "comic": ("comic", "comic book", "pop art"),
}
#: Words before a thing, or before a whole caption, that change nothing in the picture.
ADJECTIVES = (
    *("cute", "beautiful", "adorable", "lovely", "pretty", "cool", "funny", "majestic", "fluffy", "shiny", "little"),
    *("magical", "fantasy", "realistic", "epic", "old", "young", "fancy", "tasty", "delicious", "fresh", "cozy"),
    *("happy", "friendly", "scary", "mysterious", "colorful", "simple", "modern", "ancient", "wooden", "wild"),
)
#: Phrases before a caption that mean nothing for the picture; `evaluate.py` uses others, never seen in training.
PHRASES = (
    *("a picture of ", "an image of ", "a photo of ", "photo of ", "portrait of ", "a portrait of ", "close up of "),
)
#: Phrases after a caption that mean nothing for the picture.
QUALITIES = (
    *("highly detailed", "very detailed", "detailed", "high quality", "best quality", "masterpiece", "cinematic"),
    *("cinematic lighting", "soft light", "studio lighting", "sharp focus", "digital art", "concept art", "artstation"),
    *("trending on artstation", "photorealistic", "ultra realistic", "dramatic", "bokeh", "wallpaper", "centered"),
    *("intricate", "vibrant", "vivid colors", "aesthetic", "dreamy", "kawaii", "chibi", "icon", "logo", "emoji"),
)
#: Numbers of one thing, and the words for them.
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
#: Sizes of one thing: its side as a part of the usual one, and the words.
SMALL, BIG = ("small", "tiny"), ("big", "giant", "huge", "large")
#: Words between two things side by side.
BESIDE = ("and", "and", "and", "next to", "beside", "with", "near", "by", "chasing", "looking at")
#: Words between a thing and what it has on its head or over its eyes.
WEARING = ("wearing", "wearing", "wearing", "with", "in")
#: Words between a thing and what it has in its hands, by the kind of the latter; any other kind takes the first.
HOLDING = {
    "": ("holding", "holding", "holding", "with", "carrying"),
    "food": ("holding", "holding", "eating", "with"),
    "fruit": ("holding", "holding", "eating", "with"),
    "drink": ("holding", "holding", "drinking", "with"),
    "instrument": ("playing", "playing", "holding", "with"),
    "sport": ("playing", "holding", "holding", "with"),
}
#: Words between a thing and what it is on.
ON = ("on", "on", "on top of", "riding", "sitting on", "standing on", "riding on", "sleeping on")
#: Words between a thing and what is above it, and the other way round.
UNDER, OVER = ("under", "under", "below", "beneath"), ("over", "above", "flying over")
#: Words between a thing and the larger one behind it, and the other way round.
FRONT, BEHIND = ("in front of", "in front of", "outside", "by"), ("behind",)
#: Words that tie captions together.
JOINTS = (
    *("a", "an", "the", "and", "of", "on", "in", "at", "to", "style", "background", "left", "right", "with", "some"),
    *("is", "its", "it", "his", "her", "for", "from", "during", "through"),
)


def every() -> list[str]:
    """Return every phrase of this module."""
    tables = (STYLES, EFFECTS, SHADES, HOLDING)
    return [
        *COLOURS,
        *(phrase for table in tables for phrases in table.values() for phrase in phrases),
        *(*ADJECTIVES, *PHRASES, *QUALITIES, *NUMBERS.values(), *map(str, NUMBERS), *SMALL, *BIG),
        *(*BESIDE, *WEARING, *ON, *UNDER, *OVER, *FRONT, *BEHIND, *JOINTS),
    ]
