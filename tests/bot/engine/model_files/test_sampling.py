"""Which samplers are offered for a model, held against what diffusers' schedulers really take."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch

from bot.engine.model_files.sampling import SAMPLERS, Sampling, sampling_of

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning", "ignore::FutureWarning")

ALL = tuple(SAMPLERS)
STABLE: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
FLOWS = [
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}),
    ("FlowMatchHeunDiscreteScheduler", {}),
    ("FlowMatchLCMScheduler", {}),
    ("DPMSolverMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("UniPCMultistepScheduler", {"use_flow_sigmas": True}),
]
OTHERS = ["EDMEulerScheduler", "DDPMWuerstchenScheduler", "LCMScheduler", "TCDScheduler", "SCMScheduler"]
SPECIAL = {
    "rescale_betas_zero_snr": {"rescale_betas_zero_snr": True},
    "sigma_max": {"sigma_max": 80.0, "sigma_min": 0.002},
    "timestep_type": {"timestep_type": "continuous", "prediction_type": "v_prediction"},
}


@pytest.mark.parametrize("own", ["PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_stable_diffusion_takes_every_sampler(own: str, prediction: str) -> None:
    sampling = sampling_of(own, {**STABLE, "prediction_type": prediction})
    assert sampling == Sampling(ALL, (1, 150))
    assert sampling.refusal("flux", "heun") is None


@pytest.mark.parametrize(("own", "settings"), FLOWS)
def test_a_model_of_a_flow_takes_its_own_scheduler_alone(own: str, settings: dict[str, Any]) -> None:
    sampling = sampling_of(own, settings)
    assert sampling.samplers == ("default",)
    assert str(sampling.refusal("flux", "euler a")) == (
        "The model flux cannot use the sampler euler a, because it predicts a flow and needs its own scheduler "
        f"({own}). There is: default."
    )


@pytest.mark.parametrize("own", OTHERS)
def test_a_scheduler_that_no_other_replaces_stays(own: str) -> None:
    assert sampling_of(own, STABLE).samplers == ("default",)


@pytest.mark.parametrize("setting", SPECIAL)
def test_a_setting_that_shapes_the_noise_is_known_to_every_sampler_that_is_offered(setting: str) -> None:
    offered = sampling_of("EulerDiscreteScheduler", {**STABLE, **SPECIAL[setting]}).samplers
    knows = [
        name
        for name, (kind, _) in SAMPLERS.items()
        if not kind or setting in inspect.signature(getattr(diffusers, kind).__init__).parameters
    ]
    assert list(offered) == knows
    assert "default" in offered
    assert len(offered) < len(ALL)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "default"])
def test_what_is_offered_for_a_prediction_is_what_can_take_a_step_with_it(sampler: str, prediction: str) -> None:
    settings = {**STABLE, "prediction_type": prediction}
    name, changes = SAMPLERS[sampler]
    scheduler = getattr(diffusers, name).from_config(settings, **changes)
    scheduler.set_timesteps(3)
    sample, able = torch.ones(1, 4, 8, 8), True
    try:
        for moment in scheduler.timesteps:
            sample = scheduler.step(torch.ones_like(sample), moment, sample).prev_sample
    except (ValueError, NotImplementedError):
        able = False
    assert (sampler in sampling_of("DDIMScheduler", settings).samplers) == able


@pytest.mark.parametrize("kind", ["LCMScheduler", "TCDScheduler"])
@pytest.mark.parametrize("settings", [{}, {"original_inference_steps": 20}, {"num_train_timesteps": 30}])
def test_steps_end_where_a_distilled_scheduler_does(kind: str, settings: dict[str, Any]) -> None:
    scheduler = getattr(diffusers, kind)(**{"original_inference_steps": 20, **settings} if settings else settings)
    low, high = sampling_of(kind, dict(scheduler.config)).steps
    for steps in (low, high):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == steps
    with pytest.raises(ValueError, match="num_inference_steps"):
        scheduler.set_timesteps(high + 1)


def test_a_latent_consistency_model_loses_steps_with_strength() -> None:
    sampling = sampling_of("LCMScheduler", {"original_inference_steps": 50}, "LatentConsistencyModelPipeline")
    assert (sampling.most_steps(), sampling.most_steps(0.5), sampling.most_steps(0.001)) == (50, 25, 1)
    scheduler = diffusers.LCMScheduler()
    scheduler.set_timesteps(25, strength=0.5)
    with pytest.raises(ValueError, match="num_inference_steps"):
        scheduler.set_timesteps(26, strength=0.5)


def test_a_model_of_few_training_steps_takes_no_more() -> None:
    assert sampling_of("DDIMScheduler", {**STABLE, "num_train_timesteps": 40}).steps == (1, 40)


@pytest.mark.parametrize("nonsense", [None, "many", -3, 2.5, True])
def test_nonsense_in_the_settings_limits_nothing(nonsense: object) -> None:
    settings = {"num_train_timesteps": nonsense, "original_inference_steps": nonsense, "prediction_type": "epsilon"}
    assert sampling_of("DDIMScheduler", settings).steps == (1, 150)
    assert sampling_of("LCMScheduler", settings).steps == (1, 150)
