"""The host's settings for the models that people can choose, with their LoRAs and ControlNets."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bot.language import mark, say
from bot.provider_config import ApiConfig, Section, check_model, with_usual_values

EMBEDDED = "embedded"
"""The `source` of the model that ships with Atelier."""
STEPS = (1, 150)
"""The fewest and the most denoising steps."""
PROMPT_LIMIT = 4000
"""Characters of a prompt, and of a negative prompt."""
SAVINGS = ("8bit", "4bit", "text-when-needed", "text-on-cpu", "offload")
"""Ways to keep a model in less memory, by their names in config.toml; docs/memory.md describes them."""
MODEL_FILES = (".safetensors", ".gguf")
"""How the names of files end that a model can be loaded from."""

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def _model_name(name: str) -> str:
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError("this name is 1 to 32 lower-case letters, digits, dots, - or _, like sd15")
    return name


def refuse_twins(what: str, names: list[str]) -> None:
    """Raise ValueError if two of the names are the same; `what` says of which things they are."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two {what} have the name {twice[0]!r}; give each its own name")


class LoraConfig(Section):
    """A LoRA that people can add to one model."""

    name: Annotated[str, AfterValidator(_model_name)]
    source: str
    """A .safetensors file, a folder with one, or a hub id like org/name."""
    weight: Annotated[float, Field(ge=-2, le=2)] = 1.0
    """How strongly it is applied if the request names no weight."""
    trigger: Annotated[str, Field(max_length=200)] = ""
    """Words that the LoRA was trained with; they are added to a prompt that lacks them."""


class ControlNetConfig(Section):
    """A ControlNet that makes one model's pictures follow another picture, such as edges, a pose or depths."""

    name: Annotated[str, AfterValidator(_model_name)]
    source: str
    """A diffusers folder, a .safetensors file, or a hub id like org/name."""
    description: Annotated[str, Field(max_length=60)] = ""
    """The kind of picture that it needs."""
    weight: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How strictly it is followed if the request names no weight."""


def _savings(chosen: Any) -> Any:
    """The chosen ways to save memory, of which one may be written without a list."""
    names = (chosen,) if isinstance(chosen, str) else tuple(chosen) if isinstance(chosen, list | tuple) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise ValueError(f"memory is a list of names; there is: {', '.join(SAVINGS)}")
    for name in names:
        if name not in SAVINGS:
            near = difflib.get_close_matches(name, SAVINGS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"memory {name!r} does not exist; there is: {', '.join(SAVINGS)}{hint}")
    for group in (("8bit", "4bit"), ("text-when-needed", "text-on-cpu"), ("text-when-needed", "offload")):
        if all(name in names for name in group):
            raise ValueError(f"memory cannot be both {group[0]} and {group[1]}: choose one of them")
    return tuple(name for name in SAVINGS if name in names)


class ModelConfig(Section):
    """One checkpoint that people can choose, with its defaults."""

    name: Annotated[str, AfterValidator(_model_name)]
    source: str
    """`embedded`, a diffusers folder, a single .safetensors or .gguf file, or a hub id like org/name; for a model of a
    provider, its name there."""
    provider: str = ""
    """The provider that paints with it, by its name; empty for a model that this machine paints with."""
    config: str | None = None
    """For a .safetensors file: a diffusers folder or hub id with the same configuration. For a .gguf file, which has
    only the denoiser: the diffusers folder that has the rest."""
    memory: Annotated[tuple[str, ...], BeforeValidator(_savings)] = ()
    """How the model is kept in less memory: names of SAVINGS."""
    description: Annotated[str, Field(max_length=60)] = ""
    width: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 512
    height: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 512
    steps: Annotated[int, Field(ge=STEPS[0], le=STEPS[1])] = 30
    guidance_scale: Annotated[float, Field(ge=0, le=30)] = 7.5
    negative_prompt: Annotated[str, Field(max_length=PROMPT_LIMIT)] = ""
    sampler: str = "default"
    upscale: Annotated[int, Field(ge=1, le=8)] = 1
    """Enlarge finished pictures by this factor: with the network in the model's `upscaler/`, or by Lanczos."""
    outpaint_strength: Annotated[float, Field(gt=0, le=1)] = 0.8
    """How much of the first guess of a new area is painted over where a picture is continued beyond its edges."""
    outpaint_guidance_scale: Annotated[float, Field(ge=0, le=30)] | None = None
    """The guidance for that; None is the guidance of the picture that is continued."""
    draft_steps: Annotated[int, Field(ge=STEPS[0], le=STEPS[1])] | None = None
    """The steps of a draft; None if the model has no preset for drafts."""
    draft_guidance_scale: Annotated[float, Field(ge=0, le=30)] | None = None
    """The guidance of a draft; None is the usual one."""
    draft_lora: str | None = None
    """A LoRA of the model that drafts are painted with, such as an LCM LoRA, by its name."""
    loras: tuple[LoraConfig, ...] = ()
    controlnets: tuple[ControlNetConfig, ...] = ()
    api: ApiConfig = ApiConfig()
    """For a model of a provider: what it can do and costs."""

    @model_validator(mode="before")
    @classmethod
    def _usual_values(cls, values: Any) -> Any:
        return with_usual_values(values)

    @model_validator(mode="after")
    def _provider_has_the_rest(self) -> Self:
        check_model(self)
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("LoRAs", [lora.name for lora in self.loras]),
            ("ControlNets", [controlnet.name for controlnet in self.controlnets]),
        ):
            refuse_twins(what, names)
        return self

    @model_validator(mode="after")
    def _drafts_are_possible(self) -> Self:
        if self.draft_steps is None:
            for key in ("draft_guidance_scale", "draft_lora"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} counts only with draft_steps: say how many steps a draft has")
            return self
        if self.draft_steps > self.steps:
            raise ValueError(
                f"draft_steps is {self.draft_steps}, and the model {self.name} usually has {self.steps} steps: "
                "a draft may not have more"
            )
        if self.draft_lora is None:
            return self
        lora = next((lora for lora in self.loras if lora.name == self.draft_lora), None)
        if lora is None:
            known = ", ".join(lora.name for lora in self.loras) or "none"
            raise ValueError(f"draft_lora names {self.draft_lora!r}, but the LoRAs of {self.name} are: {known}")
        if lora.trigger:
            # A finished picture has the words of its draft, but not this LoRA.
            raise ValueError(f"draft_lora names {lora.name!r}, which has a trigger; take a LoRA that needs no words")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether this is the model that ships with Atelier."""
        return self.source == EMBEDDED

    @property
    def is_single_file(self) -> bool:
        """Whether the source is one file."""
        return not self.provider and self.source.endswith(MODEL_FILES)

    @property
    def about(self) -> str:
        """Its description in words, with who paints with it if that is not this machine."""
        elsewhere = say("painted by {provider}", provider=self.provider) if self.provider else ""
        return ", ".join(filter(None, [say(self.description), elsewhere]))

    @property
    def is_hub_id(self) -> bool:
        """Whether the source is a hub id such as org/name, not a path."""
        return (
            not self.provider
            and not self.is_embedded
            and not self.is_single_file
            and not Path(self.source).exists()
            and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", self.source) is not None
        )


EMBEDDED_MODEL = ModelConfig(
    name="emoji",
    source=EMBEDDED,
    description=mark("ships with Atelier: small pictures in the style of emoji"),
    width=128,
    height=128,
    steps=12,
    guidance_scale=4.0,
    upscale=4,
    # It paints one thing in the middle of every picture, also around a picture, unless it has little freedom.
    outpaint_strength=0.15,
    outpaint_guidance_scale=1.0,
    # With six steps a picture is nearly that of twelve.
    draft_steps=6,
    draft_guidance_scale=4.0,
)
