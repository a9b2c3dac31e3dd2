"""What prompts have in them that were copied from other tools or from Discord, besides flags and weights.

Every expression here takes time in proportion to the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_COMMAND = re.compile(r"/(?:imagine|dream|draw|paint|create)\b\s*(?:prompt\s*:)?\s*|prompt\s*:\s*", re.IGNORECASE)
# Midjourney's messages: **a cat --v 6** - @ada (fast)
_MESSAGE = re.compile(r"\*\*([^*]{1,4000})\*\* - [^*]{0,200}")
_ADDRESS = re.compile(r"<?https?://[^\s<>]{0,2000}[^\s<>,.;:!?)\]}\"']>?", re.IGNORECASE)
_EMOJI = re.compile(r"<a?:(\w{2,32}):\d{15,21}>")
_MENTION = re.compile(
    r"<(?:@[!&]?|#)\d{15,21}>|</[^<>:]{1,80}:\d{15,21}>|<t:-?\d{1,14}(?::[a-zA-Z])?>|<id:\w{1,20}>", re.ASCII
)
_NEGATIVE = re.compile(r"(?:(?<=[\s,.])|^)Negative prompt:\s*", re.IGNORECASE)
_STEPS = re.compile(r"(?:(?<=[\s,.])|^)Steps: (?=\d{1,4}, [A-Z])")
_ENTRY = re.compile(r'([A-Z][\w +]{0,40}):\s*("[^"]{0,500}"|[^,]{0,200})(?:,\s*|$)')
_SIZE = re.compile(r"\d{1,6}x\d{1,6}")

# The settings that AUTOMATIC1111's web UI writes under a picture, and our flags.
_FLAGS = {"Steps": "steps", "CFG scale": "cfg", "Seed": "seed", "Size": "size"}
_NAMES = {"Sampler": "sampler", "Model": "model"}


@dataclass(frozen=True, slots=True)
class Tidied:
    """A prompt without what no model can read."""

    text: str
    """With our own flags where the settings of another tool were."""
    has_address: bool = False
    has_mention: bool = False
    unused: tuple[str, ...] = ()
    """Settings of another tool that say something Atelier does not have, by their names there."""


def tidy(text: str, names: Mapping[str, Collection[str]]) -> Tidied:
    """Read what was copied with a prompt, which is one line.

    The beginning of a command, addresses and mentions of Discord go; a server's own emoji becomes its name; the
    settings of AUTOMATIC1111's web UI become flags. `names` has the models and samplers that exist, in lower case.
    """
    text = _COMMAND.sub("", text, count=1) if _COMMAND.match(text) else text
    if message := _MESSAGE.fullmatch(text):
        text = message[1]
    text = _EMOJI.sub(lambda emoji: emoji[1].replace("_", " "), text)
    without, mentions = _MENTION.subn(" ", text)
    # A prompt of mentions alone stays: it is better than none.
    mentions, text = (mentions, without) if without.strip() else (0, text)
    text, addresses = _ADDRESS.subn(" ", text)
    if addresses or mentions:
        text = " ".join(text.split()).lstrip(",;. ")
    text, unused = _settings(text, names)
    return Tidied(text, addresses > 0, mentions > 0, unused)


def _settings(text: str, names: Mapping[str, Collection[str]]) -> tuple[str, tuple[str, ...]]:
    """The text with the settings of AUTOMATIC1111's web UI as flags, and the names of those that are left out."""
    starts = [match.start() for match in _STEPS.finditer(text)]
    end = starts[-1] if starts else len(text)
    negative = _NEGATIVE.search(text, 0, end)
    if negative is None and not starts:
        return text, ()
    settings, flags = text[end:], ""
    if (own := settings.find(" --")) >= 0:
        settings, flags = settings[:own], settings[own:]
    words = text[: negative.start() if negative else end].strip()
    without = text[negative.end() : end].strip() if negative else ""
    if not starts and (own := without.find(" --")) >= 0:
        without, flags = without[:own], without[own:]
    found, unused = [f"--no {without}"] if without else [], []
    for name, value in _entries(settings):
        if name in _FLAGS and (name != "Size" or _SIZE.fullmatch(value)):
            found.append(f"--{_FLAGS[name]} {value}")
        elif name in _NAMES and value.lower() in names.get(_NAMES[name], ()):
            found.append(f"--{_NAMES[name]} {value}")
        else:
            unused.append(name)
    return " ".join([words, *found]) + flags, tuple(unused)


def _entries(settings: str) -> Iterator[tuple[str, str]]:
    """The settings in order, up to what looks like none."""
    at = 0
    while entry := _ENTRY.match(settings, at):
        yield entry[1], entry[2].strip()
        at = entry.end()
        if at == len(settings):
            return
