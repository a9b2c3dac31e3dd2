"""From options to a request with every value resolved: trailing flags, the model's defaults, bounds and limits.

A value that is out of range is moved to the nearest bound, and a note says so. A value that cannot be understood is
refused, with a value that would work.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.config import IMAGES, PROMPT_LIMIT, ModelConfig
from bot.engine import weights
from bot.engine.images_api.capabilities import capabilities_of
from bot.engine.model_files.sampling import UNLIMITED, Sampling
from bot.errors import Reference, Rejected, UserError, cut, quoted, refer
from bot.jobs import BLEND_PROMPT, NO_STYLE, GenerationRequest, Operation, StyleRef
from bot.language import mark, say, sentence
from bot.policy.limits import Limit, Limits
from bot.requests import styles
from bot.requests.adapters import controlnet_of, loras_of, triggered
from bot.requests.bounds import capped, named, within
from bot.requests.defaults import Defaults, Source, sources, with_defaults
from bot.requests.flags import ADDRESSES, with_flags
from bot.requests.morphs import ends, film_frames, film_size, frames_of, one_file, read_end
from bot.requests.options import Choice, Options
from bot.requests.presets import NO_PRESETS, Presets, choose
from bot.requests.remote import fitted_size, most_images, without_lacking
from bot.requests.shapes import aspect_size, size_of, smaller
from bot.requests.starting import asked_strength, check_uploads, operation_of, strength_of
from bot.requests.wording import clean
from bot.storage.styles import Style

GUIDANCE = (0.0, 30.0)
SEEDS = (0, 2**32 - 1)

DRAFTS = 4
"""How many pictures a draft has if the person does not say."""
UNGUIDED = 1.0
"""The guidance of a blend without words: the pictures decide, and the words above hardly count."""

_SHOWN_FORMS = 3
_SHOWN_FORM = 30


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
    upscales = operation_of(options) is Operation.UPSCALE
    if not options.prompt and not upscales and not options.blended:
        addressed = any(note.startswith(say(ADDRESSES)) for note in said)
        if addressed:
            raise UserError(
                "Say what to paint, like: a red apple on a blue background. Links are not opened: attach a picture as "
                "{option}.",
                option=refer(Reference.OPTION, "image"),
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
    if options.edit is not None and options.edit.is_first_frame:
        notes.append(say("the picture is an animation, so only its first frame counts"))
    if options.usual_model and options.model is None:
        options = replace(options, model=options.usual_model)
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
    sampler = named(mark("sampler"), options.sampler, {name: name for name in samplers}, model.sampler)
    if refusal := sampling.refusal(model.name, sampler):
        raise UserError(refusal)
    seed = options.seed if options.seed is not None else draw_seed()
    for each in (seed, options.morph.seed if options.morph else None):
        if each is not None and not SEEDS[0] <= each <= SEEDS[1]:
            raise UserError(
                "Seeds go from {low} to {high:,}, not to {seed}.", low=SEEDS[0], high=SEEDS[1], seed=cut(f"{each:,}")
            )
    check_uploads(options)
    width, height = size_of(options, model, notes)
    if limits is not None:
        width, height = smaller(width, height, model, limits.pixels, notes)
    if remote is not None:
        pixels = None if limits is None else limits.pixels
        width, height = fitted_size(width, height, model, remote, pixels, notes)
    loras = loras_of(options.lora, model, notes, model.draft_lora if draft else None)
    controlnet, weight = controlnet_of(options, models, model, notes)
    bounds = sampling.steps[0], sampling.most_steps(asked_strength(options))
    steps = capped(
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
        prompt=triggered(options.prompt, loras, model),
        negative_prompt=""
        if remote is not None and "negative_prompt" not in remote.options
        else styles.negative_of(model.negative_prompt if negative is None else negative, style),
        model=model.name,
        sampler=sampler,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=within(mark("guidance"), options.guidance_scale, usual.guidance_scale, GUIDANCE, notes),
        seed=seed,
        operation=operation_of(options),
        num_images_per_prompt=capped(
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
        strength=1.0 if remote is not None or options.film is not None else strength_of(options, steps, notes),
        controlnet=controlnet,
        control_image=options.control.sha256 if options.control else "",
        controlnet_conditioning_scale=weight,
        draft=draft,
        style=used.name,
        style_number=used.number,
        style_version=used.version,
        provider=model.provider,
        frames=frames,
        end_prompt=end and triggered(end, loras, model),
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


def delivered_size(aspect: str, model: ModelConfig, limit: Limit[int]) -> tuple[int, int] | None:
    """The size in which pictures of a shape come: with the limit of pixels, and enlarged if the model does that.

    None if the limit does not let the model paint this shape.
    """
    size = aspect_size(aspect, model)
    try:
        if model.provider:
            return fitted_size(*size, model, capabilities_of(model), limit, [])
        width, height = smaller(*size, model, limit, [])
    except Rejected:
        return None
    return width * model.upscale, height * model.upscale


def _model(name: str | None, models: Sequence[ModelConfig], limits: Limits | None, notes: list[str]) -> ModelConfig:
    """The requested model, or without a choice the first allowed one. Raises Rejected if it is not allowed."""
    asked: ModelConfig = named(mark("model"), name, {model.name: model for model in models}, models[0])
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
        notes.append(say("only the first {most} weights below 1 count", most=most))
    if forms := list(dict.fromkeys(form for text in read for form in text.unsupported))[:_SHOWN_FORMS]:
        names = ", ".join(str(quoted(form, _SHOWN_FORM)) for form in forms)
        words = say("read as plain words: {words}. Weights are written (word:1.3), [word] or word++.", words=names)
        if any(form.startswith("<") for form in forms):
            words += " " + say("A LoRA is chosen by --lora.")
        notes.append(words)
    return notes
