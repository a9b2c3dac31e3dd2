"""Which samplers and how many steps a model can be painted with: its scheduler's class and settings say so.

A sampler of another class is built from the model's own scheduler settings. It paints what the model was trained for
only if it understands each setting that shapes the noise; diffusers drops the others without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.config import STEPS
from bot.language import Listed, Sentence, sentence

SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "default": ("", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++ 2m karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++ sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Name → diffusers' scheduler class and what to change in its configuration. "default" is the model's own."""

_EXCHANGEABLE = frozenset(
    {
        "DDIMParallelScheduler",
        "DDIMScheduler",
        "DDPMParallelScheduler",
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSDEScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "SASolverScheduler",
        "UniPCMultistepScheduler",
    }
)
"""Schedulers whose noise is Σ of betas over the training steps, as that of Stable Diffusion: one replaces another."""

_PREDICTIONS: Mapping[str, frozenset[str]] = {
    "epsilon": frozenset(name for name, _ in SAMPLERS.values()),
    "v_prediction": frozenset(name for name, _ in SAMPLERS.values()),
    "sample": frozenset(name for name, _ in SAMPLERS.values()) - {"EulerAncestralDiscreteScheduler"},
}
"""What a model predicts → the samplers' classes that can use it."""

ZERO_SNR = frozenset(
    {
        "",
        "DDIMScheduler",
        "DDPMScheduler",
        "DPMSolverMultistepScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "UniPCMultistepScheduler",
    }
)
"""Classes that know `rescale_betas_zero_snr`: noise of such a model ends in pure noise."""
_SIGMA_BOUNDS = frozenset({"", "EulerDiscreteScheduler", "UniPCMultistepScheduler"})
"""Classes that know `sigma_min` and `sigma_max`."""
_CONTINUOUS = frozenset({"", "EulerDiscreteScheduler"})
"""Classes that know `timestep_type`."""

_DISTILLED = ("LCMScheduler", "TCDScheduler")
"""They skip along a short schedule that the model was distilled for."""
_DISTILLED_STEPS = 50
"""`original_inference_steps` if the settings do not say."""

FLOW_PIPELINES = ("Flux", "StableDiffusion3", "AuraFlow", "QwenImage", "ZImage", "Lumina", "Chroma", "HiDream")
"""How the classes of pipelines begin whose models predict a flow, and that only a flow's scheduler can serve."""
NOISE_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXL", "StableDiffusionImg2Img", "StableDiffusionInpaint")
"""How those begin that no flow's scheduler can serve."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model can be painted."""

    samplers: tuple[str, ...] = tuple(SAMPLERS)
    """The samplers it can use; "default" is one of them."""
    steps: tuple[int, int] = STEPS
    """The fewest and the most steps."""
    why: tuple[Sentence, ...] = ()
    """Why it can use no other sampler, each as "because it …" goes on; empty if it can use all."""
    shortened: bool = False
    """Whether an image to start from takes its share of the most steps away."""

    def most_steps(self, strength: float = 1.0) -> int:
        """The most steps of a request that paints this much of an image over, or all of it."""
        return max(self.steps[0], int(self.steps[1] * strength)) if self.shortened else self.steps[1]

    def refusal(self, model: str, sampler: str) -> Sentence | None:
        """Why a sampler is not one of those of a model, with those there are; None if it is one."""
        if sampler in self.samplers:
            return None
        return sentence(
            "The model {model} cannot use the sampler {sampler}, because it {reasons}. There is: {samplers}.",
            model=model,
            sampler=sampler,
            reasons=Listed(self.why),
            samplers=", ".join(self.samplers),
        )


UNLIMITED = Sampling()
"""That of a model which nothing is known of yet."""


def is_flow(scheduler: str, settings: Mapping[str, Any]) -> bool:
    """Whether a scheduler of this class with these settings follows a flow instead of taking noise away."""
    return (
        "FlowMatch" in scheduler
        or "FlowMap" in scheduler
        or bool(settings.get("use_flow_sigmas"))
        or settings.get("prediction_type") == "flow_prediction"
    )


def sampling_of(scheduler: str, settings: Mapping[str, Any], pipeline: str = "") -> Sampling:
    """How a model can be painted whose own scheduler has this class and these settings, in a pipeline of this class."""
    if is_flow(scheduler, settings):
        # Flux and its kin give the scheduler their own sigmas as well; none of the other samplers takes them.
        why = sentence("predicts a flow and needs its own scheduler ({scheduler})", scheduler=scheduler)
        return Sampling(("default",), STEPS, (why,))
    trained = settings.get("num_train_timesteps")
    most = min(STEPS[1], trained) if type(trained) is int and trained > 0 else STEPS[1]
    if scheduler in _DISTILLED:
        original = settings.get("original_inference_steps", _DISTILLED_STEPS)
        most = min(most, original) if type(original) is int and original > 0 else most
        shortened = pipeline.startswith("LatentConsistencyModel")
        why = sentence("was distilled for its own scheduler ({scheduler})", scheduler=scheduler)
        return Sampling(("default",), (1, most), (why,), shortened)
    if scheduler not in _EXCHANGEABLE:
        return Sampling(
            ("default",), (1, most), (sentence("needs its own scheduler ({scheduler})", scheduler=scheduler),)
        )
    prediction = str(settings.get("prediction_type", "epsilon"))
    able = _PREDICTIONS.get(prediction, frozenset({""}))
    reasons: list[Sentence] = []
    if able != _PREDICTIONS["epsilon"]:
        reasons.append(sentence("predicts '{prediction}'", prediction=prediction))
    has_bounds = settings.get("sigma_min") or settings.get("sigma_max")
    for asked, knows, why in (
        (settings.get("rescale_betas_zero_snr"), ZERO_SNR, sentence("was trained with zero terminal SNR")),
        (has_bounds, _SIGMA_BOUNDS, sentence("has bounds of its own for the noise")),
        (settings.get("timestep_type") == "continuous", _CONTINUOUS, sentence("was trained with continuous timesteps")),
    ):
        if asked:
            able &= knows
            reasons.append(why)
    samplers = tuple(name for name, (kind, _) in SAMPLERS.items() if kind in able or not kind)
    return Sampling(samplers, (1, most), tuple(reasons))
