"""The flags of other bots and tools: which of them Atelier has under another name, and what value the others take.

Midjourney's flags are those of its versions 1 to 8. The others are of the "prompts from file" script of AUTOMATIC1111's
web UI, of InvokeAI's first command line, and of bots for Stable Diffusion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

SAME: Mapping[str, str] = {
    "r": "images",
    "batch": "images",
    "batch_size": "images",
    "count": "images",
    "n_iter": "images",
    "num": "images",
    "num_images": "images",
    "number": "images",
    "samples": "images",
    "aspect_ratio": "aspect",
    "ratio": "aspect",
    "resolution": "aspect",
    "cfg_scale": "guidance_scale",
    "cfgscale": "guidance_scale",
    "guidance_scale": "guidance_scale",
    "neg": "negative_prompt",
    "negative": "negative_prompt",
    "negative_prompt": "negative_prompt",
    "negprompt": "negative_prompt",
    "nprompt": "negative_prompt",
    "num_inference_steps": "steps",
    "num_steps": "steps",
    "sampler_name": "sampler",
}
"""The option that a flag of another bot means, by the flag. A hyphen in a name counts as an underscore."""

WIDTH, HEIGHT = "width", "height"
"""Flags that together say a size."""


class Takes(Enum):
    """What follows a flag that Atelier does not have."""

    NOTHING = auto()
    NUMBER = auto()
    """A number or a level such as "high", or nothing."""
    WORD = auto()
    """Any word, or nothing."""
    CODES = auto()
    """Any number of codes, such as those of Midjourney's styles."""
    UNKNOWN = auto()


_NOTHING = """
    anime beta creative draftmode fast hd highres hires hqs loop nsfw public raw realistic relax remix
    restore_faces sfw sharp spoiler stealth test testp tile tiling turbo uplight upbeta upanime upscale video hires_fix
    enable_hr karras private
"""
_NUMBER = """
    b bs c chaos clip_skip clipskip cw denoise denoising denoising_strength eta exp fps g h h1 hq hr_scale init_strength
    iw motion n niji ow p_strength q quality s sameseed scale seed_resize seconds sharpness stop style_strength stylize
    subseed subseed_strength sv sw v variety vary version vf w weird width height frames duration end_weight
    image_weight
"""
_WORD = """
    checkpoint ckpt format hr_upscaler hypernet lang language mode output preset scheduler style styles sampling_method
    sampler_index schedule_type upscaler vae
"""
_CODES = """
    cref edit image img init init_image init_img input iref mask mood moodboard oref p personalize profile ref
    reference sref start end
"""
FOREIGN: Mapping[str, Takes] = {
    **dict.fromkeys(_NOTHING.split(), Takes.NOTHING),
    **dict.fromkeys(_NUMBER.split(), Takes.NUMBER),
    **dict.fromkeys(_WORD.split(), Takes.WORD),
    **dict.fromkeys(_CODES.split(), Takes.CODES),
}
"""What each flag of another bot takes."""

_NUMERIC = re.compile(r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})%?", re.ASCII)
_LEVEL = {
    "auto",
    "default",
    "draft",
    "hd",
    "high",
    "low",
    "max",
    "medium",
    "min",
    "off",
    "on",
    "standard",
    "true",
    "false",
}
_CODE = re.compile(r"(?=[^\s]{0,40}\d)[\w:.,;-]{1,60}|random|none", re.IGNORECASE)
_VALUE = re.compile(r"[+-]?[\d.]+(?:[:x×/][\d.]+)?%?|(?=[^\s]{0,20}\d)\w{1,40}")
_ENDS = ",;."


def name_of(flag: str) -> str:
    """A flag's name as the tables have it."""
    return flag.lower().replace("-", "_")


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    return _NUMERIC.fullmatch(text) is not None


def taken(takes: Takes, words: Sequence[str]) -> int:
    """How many of the words after a flag, up to the next flag, are its value; the others belong to the prompt."""
    first = words[0].rstrip(_ENDS).lower() if words else ""
    if first.startswith("{"):
        # One of several values: a permutation of Midjourney.
        return next((number for number, word in enumerate(words, 1) if word.endswith("}")), 1)
    match takes:
        case Takes.NOTHING:
            return 0
        case Takes.NUMBER:
            return int(is_number(first) or first in _LEVEL)
        case Takes.WORD:
            return min(len(words), 1)
        case Takes.CODES:
            codes = 0
            while codes < len(words) and _CODE.fullmatch(words[codes]):
                codes += 1
            # The codes of profiles may consist of letters alone.
            return codes or int(len(words) == 1)
        case Takes.UNKNOWN:
            return int(len(words) == 1 or _VALUE.fullmatch(first) is not None)


def is_a_name(word: str) -> bool:
    """Whether a word after --style may name one of Atelier's styles, and is none of Midjourney's."""
    return word.strip(_ENDS).lower() not in ("raw", "cute", "scenic", "expressive", "original") and word[:1].isalpha()
