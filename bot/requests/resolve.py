"""From options to a request with every value resolved: trailing flags, the model's defaults, bounds and limits.

A value that is out of range is moved to the nearest bound, and a note says so. A value that cannot be understood is
refused, with a value that would work.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.config import IMAGES, PROMPT_LIMIT, ControlNetConfig, LoraConfig, ModelConfig
from bot.engine import weights
from bot.engine.images_api.capabilities import capabilities_of
from bot.engine.model_files.sampling import UNLIMITED, Sampling
from bot.errors import Rejected, UserError, cut, quoted
from bot.jobs import (
    BLEND_PROMPT,
    MASK_TOLERANCE,
    NO_STYLE,
    Adapters,
    GenerationRequest,
    Operation,
    StyleRef,
    Upload,
    upscale_refusal,
)
from bot.language import mark, say, sentence
from bot.policy.limits import Limit, Limits
from bot.requests import styles
from bot.requests.defaults import Defaults, Source, sources, with_defaults
from bot.requests.flags import ADDRESSES, with_flags
from bot.requests.morphs import ends, film_frames, film_size, frames_of, one_file, read_end
from bot.requests.options import BLENDED, Choice, Options
from bot.requests.presets import NO_PRESETS, Presets, choose
from bot.requests.remote import fitted_size, most_images, without_lacking
from bot.requests.uploads import CALLED
from bot.requests.wording import clean, unknown
from bot.storage.styles import Style

RATIOS = (0.25, 4.0)
GUIDANCE = (0.0, 30.0)
SEEDS = (0, 2**32 - 1)
LORA_WEIGHTS = (-2.0, 2.0)
MOST_LORAS = 4
CONTROLNET_WEIGHTS = (0.0, 2.0)

STRENGTH = 0.75
"""The default strength for an image without a mask: as in CompVis' img2img script and diffusers' examples."""
INPAINT_STRENGTH = 1.0
"""The default strength for an image with a mask, which is diffusers' default."""

DRAFTS = 4
"""How many pictures a draft has if the person does not say."""
UNGUIDED = 1.0
"""The guidance of a blend without words: the pictures decide, and the words above hardly count."""

_SHOWN_FORMS = 3
_SHOWN_FORM = 30

ASPECTS = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The request, and a note for every value that had to be changed."""

    request: GenerationRequest
    notes: tuple[str, ...]
    origins: Mapping[str, Source]
    """Where the value of each option comes from, by the option's name."""
    read: Options
    """The options after the flags in the prompt were read, without defaults."""
    enhance: bool = False
    """Whether the person wants to see first what would improve the prompt."""
    choice: Choice | None = None
    """What was chosen for the request, if the server lets ratings choose."""


_SIZE = re.compile(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", re.IGNORECASE)
_ASPECT = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)\s*:\s*(\d{1,4}(?:\.\d{1,4})?)")


def draw_seed() -> int:
    """A seed for what has none."""
    return random.randint(*SEEDS)


def seeded(options: Options) -> Options:
    """The options with a seed, drawn if they have none.

    Requests that are to differ only in what their person chose share a seed. With a seed in the first of them, too,
    ratings choose no preset for it.
    """
    return options if options.seed is not None else replace(options, seed=draw_seed())


def resolve(
    options: Options,
    models: Sequence[ModelConfig],
    samplers: Sequence[str],
    limits: Limits | None = None,
    samplings: Mapping[str, Sampling] | None = None,
    defaults: Sequence[Defaults] = (),
    broken: Collection[str] = (),
    known_styles: Mapping[str, Style] | None = None,
    offered: Presets = NO_PRESETS,
) -> Resolved:
    """Fill in missing options from `defaults` and the model, and clamp every value to its range and its limit.

    `models` must not be empty; the first allowed one is the default. `samplings` says how a model can be painted, by
    its name; a model that is missing there can be painted with all `samplers`. `broken` names models that do not work
    now, so that none of them becomes a default. `known_styles` are the styles of the server, by name, and `offered` the
    presets among which its ratings choose. Raises UserError for a request that cannot be painted, and Rejected if a
    limit forbids it and clamping is impossible, as for models.
    """
    said: list[str] = []
    given = options
    if options.edit is None:
        options = with_flags(options, said, _names(models, samplers, known_styles or {}))
    if options.morph is not None:
        options = read_end(options, _names(models, samplers, known_styles or {}))
    # What was wished for before the request is no value of it.
    enhance, options = options.enhance is True, replace(options, enhance=None)
    upscales = _operation(options) is Operation.UPSCALE
    if not options.prompt and not upscales and not options.blended:
        addressed = any(note.startswith(say(ADDRESSES)) for note in said)
        if addressed:
            raise UserError(
                "Say what to paint, like: a red apple on a blue background. Addresses are not opened: attach a picture "
                "as the option image."
            )
        raise UserError("Say what to paint, like: a red apple on a blue background.")
    if options.film is not None:
        options = one_file(options)
    end = "" if options.morph is None else options.morph.prompt
    negative = clean(options.negative_prompt) if options.negative_prompt is not None else None
    style = styles.named(options.style, known_styles or {})
    read = options
    of_style: dict[str, Source] = {}
    usable = _allowed(models, limits) - set(broken)
    style_notes: list[str] = []
    if style is not None:
        end = end and styles.with_style(replace(options, prompt=end), style, (), ())[0].prompt
        options, of_style, style_notes = styles.with_style(options, style, {model.name for model in models}, usable)
    _check_length(mark("prompt"), options.prompt, style)
    _check_length(mark("last prompt"), end, style)
    _check_length(mark("negative prompt"), styles.negative_of(negative or "", style), style)
    said += _about_weights(options.prompt, negative or "", end)
    # Prompts that were copied from elsewhere get one note for all that is read in another way.
    notes = ["; ".join(said)] if said else []
    options, filled, left_out = with_defaults(options, defaults, usable)
    filled |= of_style
    notes += style_notes + left_out
    if options.blended and not options.prompt:
        guidance = UNGUIDED if options.guidance_scale is None else options.guidance_scale
        options = replace(options, prompt=BLEND_PROMPT, guidance_scale=guidance)
    model = _model(options.model, models, limits, notes)
    draft = options.draft is True and model.draft_steps is not None
    if options.draft and not draft:
        notes.append(say("the model {model} has no preset for drafts, so it paints as usual", model=model.name))
    if draft and read.images is None:
        # A person's own default is about pictures that are finished.
        options = replace(options, images=None)
        filled.pop("images", None)
    choice = None if style is not None else choose(offered, read, known_styles or {}, model.name)
    if choice is not None:
        style = (known_styles or {}).get(choice.style)
        filled["style"] = Source.CONTROL if choice.is_control else Source.LEARNED
    usual = _Usual.of(model, draft=draft)
    sampling = (samplings or {}).get(model.name, UNLIMITED)
    if style is not None:
        able = [name for name in samplers if name in sampling.samplers]
        options, of_style, style_notes = styles.with_settings(options, style, model, able, draft=draft)
        filled |= of_style
        notes += style_notes
    remote = capabilities_of(model) if model.provider else None
    if remote is not None:
        options = without_lacking(options, read, model, remote, notes)
    used = options.edit.style if options.edit else NO_STYLE
    if style is not None:
        used = StyleRef(style.name, style.number, style.version)
    sampler = _named(mark("sampler"), options.sampler, {name: name for name in samplers}, model.sampler)
    if refusal := sampling.refusal(model.name, sampler):
        raise UserError(refusal)
    seed = options.seed if options.seed is not None else draw_seed()
    for each in (seed, options.morph.seed if options.morph else None):
        if each is not None and not SEEDS[0] <= each <= SEEDS[1]:
            raise UserError(
                "Seeds go from {low} to {high:,}, not to {seed}.", low=SEEDS[0], high=SEEDS[1], seed=cut(f"{each:,}")
            )
    _check_uploads(options)
    width, height = _size(options, model, notes)
    if limits is not None:
        width, height = _smaller(width, height, model, limits.pixels, notes)
    if remote is not None:
        pixels = None if limits is None else limits.pixels
        width, height = fitted_size(width, height, model, remote, pixels, notes)
    loras = _loras(options.lora, model, notes, model.draft_lora if draft else None)
    controlnet, weight = _controlnet(options, models, model, notes)
    bounds = sampling.steps[0], sampling.most_steps(_asked_strength(options))
    steps = _capped(
        mark("steps"),
        options.steps,
        min(usual.steps, bounds[1]),
        bounds,
        None if limits is None else limits.steps,
        notes,
    )
    is_one = upscales or options.morph is not None or options.film is not None
    frames, end_seed = 0, None
    if options.morph is not None:
        frames = frames_of(options.morph, (width, height), None if limits is None else limits.animation, notes)
        end, end_seed = ends(options.morph, options.prompt, end, seed)
    if options.film is not None:
        width, height = film_size(width, height)
        frames = film_frames(options.film, (width, height), None if limits is None else limits.animation, notes)
    request = GenerationRequest(
        prompt=_triggered(options.prompt, loras, model),
        negative_prompt=""
        if remote is not None and "negative_prompt" not in remote.options
        else styles.negative_of(model.negative_prompt if negative is None else negative, style),
        model=model.name,
        sampler=sampler,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=_within(mark("guidance"), options.guidance_scale, usual.guidance_scale, GUIDANCE, notes),
        seed=seed,
        operation=_operation(options),
        num_images_per_prompt=_capped(
            mark("images"),
            None if is_one else options.images,
            1 if is_one else usual.images,
            most_images(remote, IMAGES),
            None if limits is None else limits.images,
            notes,
        ),
        loras=loras,
        image=options.image.sha256 if options.image else "",
        mask_image=options.mask.sha256 if options.mask else "",
        blended=tuple(upload.sha256 for upload in options.blended),
        region=options.edit.region if options.edit else (),
        kept=options.edit.kept if options.edit else None,
        margins=options.edit.margins if options.edit else (0.0, 0.0, 0.0, 0.0),
        strength=1.0 if remote is not None or options.film is not None else _strength(options, steps, notes),
        controlnet=controlnet,
        control_image=options.control.sha256 if options.control else "",
        controlnet_conditioning_scale=weight,
        draft=draft,
        style=used.name,
        style_number=used.number,
        style_version=used.version,
        provider=model.provider,
        frames=frames,
        end_prompt=end and _triggered(end, loras, model),
        end_seed=end_seed,
    )
    return Resolved(request, tuple(notes), sources(given, read, filled), read, enhance, choice)


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a model paints with if the person does not say: its usual values, or those of its drafts."""

    steps: int
    guidance_scale: float
    images: int

    @classmethod
    def of(cls, model: ModelConfig, *, draft: bool) -> _Usual:
        if not draft or model.draft_steps is None:
            return cls(model.steps, model.guidance_scale, 1)
        guidance = model.draft_guidance_scale
        return cls(model.draft_steps, model.guidance_scale if guidance is None else guidance, DRAFTS)


def _allowed(models: Sequence[ModelConfig], limits: Limits | None) -> set[str]:
    """The names of the models that the limits allow."""
    allowed = None if limits is None else limits.models.value
    return {model.name for model in models if allowed is None or model.name in allowed}


def _check_length(name: str, text: str, style: Style | None) -> None:
    """Raise UserError for words that are too long, with those of the style."""
    if len(text) > PROMPT_LIMIT:
        numbers = {"length": len(text), "most": PROMPT_LIMIT, "more": len(text) - PROMPT_LIMIT}
        if style:
            raise UserError(
                "The {text} has {length:,} characters with the words of the style {style}, and at most {most:,} are "
                "allowed: shorten it by {more:,}.",
                text=sentence(name),
                style=style.name,
                **numbers,
            )
        raise UserError(
            "The {text} has {length:,} characters, and at most {most:,} are allowed: shorten it by {more:,}.",
            text=sentence(name),
            **numbers,
        )


def _names(
    models: Sequence[ModelConfig], samplers: Sequence[str], known_styles: Mapping[str, Style]
) -> dict[str, frozenset[str]]:
    """What the options that take a name may name."""
    return {
        "model": frozenset(model.name for model in models),
        "sampler": frozenset(samplers),
        "style": frozenset(known_styles),
        "lora": frozenset(lora.name for model in models for lora in model.loras),
        "controlnet": frozenset(net.name for model in models for net in model.controlnets),
    }


def usual_request(model: ModelConfig) -> GenerationRequest:
    """One picture by a model with all its defaults, to calculate with; it is never painted."""
    return GenerationRequest(
        prompt="a picture",
        model=model.name,
        sampler=model.sampler,
        width=model.width,
        height=model.height,
        num_inference_steps=model.steps,
        guidance_scale=model.guidance_scale,
        seed=0,
    )


def check_aspect(aspect: str, model: ModelConfig) -> None:
    """Raise UserError if `aspect` is neither a shape such as 16:9 nor a size such as 768x512."""
    if not _SIZE.fullmatch(aspect.strip()):
        aspect_size(aspect, model)


def aspect_size(aspect: str, model: ModelConfig) -> tuple[int, int]:
    """Width and height in pixels of an aspect such as 16:9, with about the area that the model paints best.

    Raises UserError if `aspect` is not an aspect.
    """
    return _shaped(_ratio(aspect, model), model)


def _shaped(ratio: float, model: ModelConfig) -> tuple[int, int]:
    ratio = min(max(ratio, RATIOS[0]), RATIOS[1])
    area = model.width * model.height
    # Large models were trained on multiples of 64; a small one would have no shapes left to choose from.
    grid = 64 if min(model.width, model.height) >= 512 else 8
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    return tuple(max(grid, round(side / grid) * grid) for side in (width, height))  # type: ignore[return-value]


def _ratio(aspect: str, model: ModelConfig) -> float:
    match = _ASPECT.fullmatch(aspect.strip())
    if not match or not all(float(part) for part in match.groups()):
        raise UserError(
            "{typed} is neither a shape like 16:9 nor a size like {width}x{height}.",
            typed=quoted(aspect),
            width=model.width,
            height=model.height,
        )
    return float(match[1]) / float(match[2])


def _size(options: Options, model: ModelConfig, notes: list[str]) -> tuple[int, int]:
    aspect, guide = options.aspect, options.image or options.control
    if aspect is None:
        return (model.width, model.height) if guide is None else _shaped(_canvas_ratio(options, guide), model)
    match = _SIZE.fullmatch(aspect.strip())
    if match is None:
        width, height = aspect_size(aspect, model)
        if not RATIOS[0] <= _ratio(aspect, model) <= RATIOS[1]:
            notes.append(
                say(
                    "shape {shape} became {width}×{height} (shapes go from 1:4 to 4:1)",
                    shape=aspect.strip(),
                    width=width,
                    height=height,
                )
            )
        return width, height
    asked = int(match[1]), int(match[2])
    native = max(model.width, model.height)
    low, high = max(8, native // 2 // 8 * 8), native * 2
    # A size from elsewhere keeps its shape as far as possible.
    scale = min(1.0, high / max(*asked, 1))
    scale = max(scale, low / max(min(asked), 1)) if scale == 1 else scale
    width, height = (min(max(round(side * scale / 8) * 8, low), high) for side in asked)
    if (width, height) != asked:
        notes.append(
            say(
                "size {asked} became {width}×{height} (sides of {model} go from {low} to {high} in steps of 8)",
                asked=f"{asked[0]}×{asked[1]}",
                width=width,
                height=height,
                model=model.name,
                low=low,
                high=high,
            )
        )
    return width, height


def _canvas_ratio(options: Options, guide: Upload) -> float:
    """The width by the height of what is painted: of the guiding picture, with what is added around it."""
    left, upper, right, lower = options.edit.margins if options.edit else (0.0, 0.0, 0.0, 0.0)
    ratio = guide.width * (1 + left + right) / (guide.height * (1 + upper + lower))
    if options.edit and any(options.edit.margins) and not RATIOS[0] <= ratio <= RATIOS[1]:
        raise UserError("The picture would become too long: shapes go only from 1:4 to 4:1. Extend another side.")
    return ratio


def _model(name: str | None, models: Sequence[ModelConfig], limits: Limits | None, notes: list[str]) -> ModelConfig:
    """The requested model, or without a choice the first allowed one. Raises Rejected if it is not allowed."""
    asked: ModelConfig = _named(mark("model"), name, {model.name: model for model in models}, models[0])
    allowed = None if limits is None else limits.models.value
    if limits is None or allowed is None or asked.name in allowed:
        return asked
    origin = limits.models.origin
    known = [model for model in models if model.name in allowed]
    if not known:
        words = sentence("No model is allowed here ({origin}).", origin=origin.reference)
        raise Rejected(words, rule="models", origin=str(origin))
    if name is None:
        notes.append(say("model became {model} ({origin})", model=known[0].name, origin=origin.reference))
        return known[0]
    names = ", ".join(model.name for model in known)
    raise Rejected(
        sentence(
            "The model {model} is not allowed here ({origin}). Choose from: {models}.",
            model=asked.name,
            origin=origin.reference,
            models=names,
        ),
        rule="models",
        origin=str(origin),
    )


def _smaller(width: int, height: int, model: ModelConfig, limit: Limit[int], notes: list[str]) -> tuple[int, int]:
    """The size, scaled down to the limit of pixels. Raises Rejected if the model cannot paint that small."""
    if width * height <= limit.value:
        return width, height
    scale = math.sqrt(limit.value / (width * height))
    small = [int(side * scale) // 8 * 8 for side in (width, height)]
    least = max(8, min(model.width, model.height) // 4 // 8 * 8)
    if min(small) < least:
        raise Rejected(
            sentence(
                "Pictures may have up to {most:,} pixels here ({origin}), and the model {model} cannot paint such "
                "small ones.",
                most=limit.value,
                origin=limit.origin.reference,
                model=model.name,
            ),
            rule="pixels",
            origin=str(limit.origin),
            asked=width * height,
            allowed=limit.value,
        )
    notes.append(
        say(
            "size {asked} became {width}×{height} (up to {most:,} pixels: {origin})",
            asked=f"{width}×{height}",
            width=small[0],
            height=small[1],
            most=limit.value,
            origin=limit.origin.reference,
        )
    )
    return small[0], small[1]


def _capped(
    name: str, asked: int | None, default: int, bounds: tuple[int, int], limit: Limit[int] | None, notes: list[str]
) -> int:
    """A whole number within its bounds and its limit; the limit applies to the model's default too."""
    if limit is None or limit.value >= bounds[1] or (default if asked is None else asked) <= limit.value:
        return int(_within(name, asked, default, bounds, notes))
    notes.append(
        say(
            "{option} {asked} became {value} ({origin})",
            option=say(name),
            asked=default if asked is None else asked,
            value=limit.value,
            origin=limit.origin.reference,
        )
    )
    return int(limit.value)


def _loras(text: str | None, model: ModelConfig, notes: list[str], added: str | None = None) -> Adapters:
    """The LoRAs that a person named, in their order; for a LoRA that is named twice, the last weight counts.

    The LoRA `added` comes after them, with its usual weight unless the person named it.
    """
    chosen: dict[str, float] = {}
    for entry in (text or "").split(","):
        if not entry.strip():
            continue
        if not model.loras:
            raise UserError("The model {model} has no LoRAs.", model=model.name)
        name, weight = _weighed(mark("LoRA"), entry, model.loras, LORA_WEIGHTS, notes)
        chosen[name] = weight
    for lora in model.loras:
        if lora.name == added:
            chosen.setdefault(lora.name, lora.weight)
    if len(chosen) > MOST_LORAS:
        numbers = {"count": len(chosen), "most": MOST_LORAS}
        if added:
            raise UserError(
                "{count} LoRAs are too many: up to {most} can be used together. One of them is {draft}, for drafts.",
                draft=added,
                **numbers,
            )
        raise UserError("{count} LoRAs are too many: up to {most} can be used together.", **numbers)
    return tuple(chosen.items())


def is_adapter(entry: str, known: Sequence[LoraConfig] | Sequence[ControlNetConfig]) -> bool:
    """Whether an entry such as sketch:0.8 names one of `known`, with a weight that is a number if it has one."""
    try:
        _weighed("LoRA", entry, known, LORA_WEIGHTS, [])
    except UserError:
        return False
    return True


def _weighed(
    kind: str,
    entry: str,
    known: Sequence[LoraConfig] | Sequence[ControlNetConfig],
    bounds: tuple[float, float],
    notes: list[str],
) -> tuple[str, float]:
    """The name and the weight of the LoRA or ControlNet that `entry` asks for, like sketch or sketch:0.8."""
    name, colon, weight = (part.strip() for part in entry.partition(":"))
    adapter = _named(kind, name, {adapter.name: adapter for adapter in known}, None)
    try:
        asked = float(weight) if colon else adapter.weight
    except ValueError:
        raise UserError(
            "The weight of a {kind} is a number, like {example}:0.8; {typed} is not a number.",
            kind=kind,
            example=adapter.name,
            typed=quoted(weight),
        ) from None
    label = say("weight of {adapter}", adapter=adapter.name)
    return adapter.name, _within(label, asked, adapter.weight, bounds, notes)


def _check_uploads(options: Options) -> None:
    """Raise UserError for uploads that cannot be used, or not together."""
    image, mask = options.image, options.mask
    pictures = [("image", image), ("mask", mask), ("control picture", options.control)]
    if options.blended:
        pictures = list(zip([CALLED[name] for name in BLENDED], (image, *options.blended), strict=False))
    for what, upload in pictures:
        if upload is not None and not RATIOS[0] <= upload.width / upload.height <= RATIOS[1]:
            raise UserError(
                "The {file} has {width}×{height} pixels, and shapes go only from 1:4 to 4:1: crop it.",
                file=sentence(what),
                width=upload.width,
                height=upload.height,
            )
    if image is not None and _operation(options) is Operation.UPSCALE:
        if words := upscale_refusal(image.width, image.height):
            raise UserError(words)
        return
    if image is None:
        if mask is not None:
            raise UserError("A mask needs an image to repaint: add the image to start from, too.")
        if options.strength is not None:
            raise UserError(
                "Strength says how much of an image is painted over: add the image to start from, or omit strength."
            )
    elif mask is not None:
        stretch = (image.width * mask.height) / (image.height * mask.width)
        if abs(stretch - 1) > MASK_TOLERANCE:
            raise UserError(
                "The mask has {mask} pixels and the image {image}: draw a mask for the whole image, with the same "
                "proportions.",
                mask=f"{mask.width}×{mask.height}",
                image=f"{image.width}×{image.height}",
            )


def _operation(options: Options) -> Operation:
    """The operation that a control asks for, or else the uploads."""
    if options.edit is not None and options.edit.operation is not None:
        return options.edit.operation
    if options.morph is not None:
        return Operation.MORPH
    if options.film is not None:
        return Operation.FILM if options.image is None else Operation.IMAGE2FILM
    if options.mask is not None:
        return Operation.INPAINT
    if options.blended:
        return Operation.BLEND
    return Operation.TEXT2IMAGE if options.image is None else Operation.IMAGE2IMAGE


def _asked_strength(options: Options) -> float:
    """How much of the image is to be painted over, before it is known how many steps there are."""
    if options.image is None:
        return 1.0
    asked = _usual_strength(options) if options.strength is None else options.strength
    return min(max(asked, 0.0), 1.0) if _is_finite(asked) else 1.0


def _usual_strength(options: Options) -> float:
    """How much of the image is painted over if the person does not say."""
    whole = _operation(options) in (Operation.IMAGE2IMAGE, Operation.BLEND)
    return STRENGTH if whole else INPAINT_STRENGTH


def _strength(options: Options, steps: int, notes: list[str]) -> float:
    """How much of the image is painted over: at least one step of it, because diffusers takes int(steps · strength)."""
    if options.image is None:
        return 1.0
    usual = _usual_strength(options)
    # In thousandths, rounded up: 49 · (1 / 49) is below 1 in floating point.
    least = math.ceil(1000 / steps) / 1000
    return _within(
        mark("strength"), usual if options.strength is None else options.strength, usual, (least, 1.0), notes
    )


def _controlnet(
    options: Options, models: Sequence[ModelConfig], model: ModelConfig, notes: list[str]
) -> tuple[str, float]:
    """The name and the weight of the request's ControlNet; ("", 1.0) without one."""
    known = model.controlnets
    entry = (options.controlnet or "").strip()
    if not entry and options.control is None:
        return "", 1.0
    if not known:
        others = [other.name for other in models if other.controlnets]
        if others:
            raise UserError(
                "The model {model} has no ControlNets; these models have some: {models}.",
                model=model.name,
                models=", ".join(others),
            )
        raise UserError("The model {model} has no ControlNets, and no other model here has any.", model=model.name)
    if not entry and len(known) > 1:
        names = ", ".join(net.name for net in known)
        raise UserError("Say which ControlNet to use with the control picture: {names}.", names=names)
    chosen = _weighed(mark("ControlNet"), entry or known[0].name, known, CONTROLNET_WEIGHTS, notes)
    if options.control is None:
        (wanted,) = (net.description for net in known if net.name == chosen[0])
        if wanted:
            raise UserError(
                "The ControlNet {controlnet} needs a picture to follow ({wanted}): add it as the control picture.",
                controlnet=chosen[0],
                wanted=wanted,
            )
        raise UserError(
            "The ControlNet {controlnet} needs a picture to follow: add it as the control picture.",
            controlnet=chosen[0],
        )
    return chosen


def _about_weights(*texts: str) -> list[str]:
    """What people should know of the weights in their words: what is not supported, and what was changed."""
    read = [weights.read(text) for text in texts]
    notes = []
    bounded = [text.bounded for text in read if text.bounded is not None]
    if bounded:
        low, high = weights.WEIGHTS
        became = min(max(bounded[0], low), high)
        notes.append(
            say(
                "the weight {asked:g} became {value:g} ({low:g} to {high:g})",
                asked=bounded[0],
                value=became,
                low=low,
                high=high,
            )
        )
    if any(text.is_crowded for text in read):
        most = weights.MOST_WEAK_PARTS
        notes.append(say("weights below 1 count for the first {most} parts that have one", most=most))
    if forms := list(dict.fromkeys(form for text in read for form in text.unsupported))[:_SHOWN_FORMS]:
        names = ", ".join(quoted(form if len(form) <= _SHOWN_FORM else f"{form[: _SHOWN_FORM - 1]}…") for form in forms)
        words = say("read as plain words: {words}. Weights are written (word:1.3), [word] or word++.", words=names)
        if any(form.startswith("<") for form in forms):
            words += " " + say("A LoRA is chosen by --lora.")
        notes.append(words)
    return notes


def _triggered(prompt: str, loras: Adapters, model: ModelConfig) -> str:
    """The prompt, with the trigger words of its LoRAs added if it lacks them."""
    triggers = {lora.name: clean(lora.trigger) for lora in model.loras}
    for name, _ in loras:
        if triggers[name].lower() not in prompt.lower():
            prompt = f"{prompt}, {triggers[name]}"
    return prompt


def _within(name: str, asked: float | None, default: float, bounds: tuple[float, float], notes: list[str]) -> float:
    if asked is None:
        return default
    low, high = bounds
    if not _is_finite(asked):
        raise UserError("{option} goes from {low:g} to {high:g}.", option=sentence(name), low=low, high=high)
    value = min(max(asked, low), high)
    if value != asked:
        notes.append(
            say(
                "{option} {asked:g} became {value:g} (it goes from {low:g} to {high:g})",
                option=say(name),
                asked=asked,
                value=value,
                low=low,
                high=high,
            )
        )
    return value


def _named(kind: str, name: str | None, known: dict[str, Any], default: Any) -> Any:
    if name is None:
        return default
    if name.lower() not in known:
        raise UserError(unknown(kind, name, list(known)))
    return known[name.lower()]


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False  # an int of hundreds of digits
