"""The LoRAs and the ControlNet that a person names, with their weights. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.config import ControlNetConfig, LoraConfig, ModelConfig
from bot.errors import UserError, quoted
from bot.jobs import Adapters
from bot.language import mark, say
from bot.requests.bounds import named, within
from bot.requests.options import Options
from bot.requests.wording import clean

LORA_WEIGHTS = (-2.0, 2.0)
MOST_LORAS = 4
CONTROLNET_WEIGHTS = (0.0, 2.0)


def loras_of(text: str | None, model: ModelConfig, notes: list[str], added: str | None = None) -> Adapters:
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
    adapter = named(kind, name, {adapter.name: adapter for adapter in known}, None)
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
    return adapter.name, within(label, asked, adapter.weight, bounds, notes)


def controlnet_of(
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


def triggered(prompt: str, loras: Adapters, model: ModelConfig) -> str:
    """The prompt, with the trigger words of its LoRAs added if it lacks them."""
    triggers = {lora.name: clean(lora.trigger) for lora in model.loras}
    for name, _ in loras:
        if triggers[name].lower() not in prompt.lower():
            prompt = f"{prompt}, {triggers[name]}"
    return prompt
