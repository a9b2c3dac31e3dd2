"""The host's settings as frozen sections; `config_file.py` reads them, and secrets are in `secrets.py`.

`config.example.toml` lists every key with its default; a test keeps the two equal. The sections of models are in
`model_config.py` and those of providers in `provider_config.py`; the rest of the code imports models from here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.model_config import (
    EMBEDDED,
    EMBEDDED_MODEL,
    MODEL_FILES,
    PROMPT_LIMIT,
    SAVINGS,
    STEPS,
    ControlNetConfig,
    LoraConfig,
    ModelConfig,
    refuse_twins,
)
from bot.provider_config import ProviderConfig, Section, check_source

__all__ = [
    "ANIMATION",
    "EMBEDDED",
    "EMBEDDED_MODEL",
    "ENV_PREFIX",
    "IMAGES",
    "MODEL_FILES",
    "PERMUTATIONS",
    "PROMPT_LIMIT",
    "SAFETY_IS_OFF",
    "SAVINGS",
    "STEPS",
    "BillConfig",
    "Config",
    "ControlNetConfig",
    "DiscordConfig",
    "EngineConfig",
    "LimitsConfig",
    "LoraConfig",
    "MetricsConfig",
    "ModelConfig",
    "RayConfig",
]

ENV_PREFIX = "ATELIER_"

IMAGES = (1, 4)
"""The fewest and the most pictures of one request."""
ANIMATION = (64, 2**30)
"""The fewest and the most pixels of all frames of an animation, as moderators can limit it."""
PERMUTATIONS = (1, 64)
"""The fewest and the most pictures that one prompt with choices stands for, as moderators can limit it."""
SAFETY_IS_OFF = "no picture is checked for nudity, because engine.safety is off"

_COMMAND_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")
_DEVICE = re.compile(r"cpu|mps|cuda:[0-9]{1,3}")


def _command_name(name: str) -> str:
    if not _COMMAND_NAME.fullmatch(name):
        raise ValueError("a command name is 1 to 32 lower-case letters, digits, - or _, like imagine")
    return name


def _address(listen: str) -> str:
    match = _ADDRESS.fullmatch(listen)
    if listen and (match is None or not 0 < int(match[1]) < 2**16):
        raise ValueError("an address to listen at is host:port, like 127.0.0.1:9464 or [::1]:9464")
    return listen


def _ray_address(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[1]) < 2**16:
        raise ValueError("the address of a Ray head is host:port, like 10.0.0.1:6379, without ray:// before it")
    return address


def _upscaler_file(path: str) -> str:
    if path and not path.endswith(".safetensors"):
        raise ValueError(
            f"{path} is not a .safetensors file, and no other kind is loaded: take the .safetensors version of it"
        )
    return path


class DiscordConfig(Section):
    """How the bot appears and behaves on Discord."""

    command: Annotated[str, AfterValidator(_command_name)] = "imagine"
    ping_after_seconds: Annotated[int, Field(ge=0)] = 120
    """A person who waited longer than this is pinged once, with a link. 0 never pings."""
    posts_per_channel: Annotated[int, Field(ge=1, le=50)] = 5
    """Posts and edits per channel in five seconds."""
    direct_messages: bool = False
    """Whether people may ask in direct messages, where no moderator's rule holds."""


class LimitsConfig(Section):
    """What everyone may use unless moderators set something else."""

    pace: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Images per minute of one person."""
    depth: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Requests of one person that may wait at the same time."""
    quota: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """GPU seconds of one person in any 24 hours."""
    money: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """US cents of one person in any 24 hours, for models of providers."""
    server_money: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """US cents of a whole server in any 24 hours; moderators can only lower it."""
    host_money: Annotated[int, Field(ge=0, le=10_000_000)] = 1000
    """US cents of all servers together in any 24 hours; only the host can change it."""
    pixels: Annotated[int, Field(ge=64, le=2**26)] = 2048 * 2048
    """The largest picture, as width times height before it is enlarged; a larger one is made smaller."""
    steps: Annotated[int, Field(ge=STEPS[0], le=STEPS[1])] = 150
    """The most denoising steps; more are cut."""
    images: Annotated[int, Field(ge=IMAGES[0], le=IMAGES[1])] = 4
    """The most pictures of one request; more are cut."""
    animation: Annotated[int, Field(ge=ANIMATION[0], le=ANIMATION[1])] = 16 * 1024 * 1024
    """The most pixels of all frames of an animation together; frames over it are left out."""
    permutations: Annotated[int, Field(ge=PERMUTATIONS[0], le=PERMUTATIONS[1])] = 16
    """The most pictures that one prompt with choices, such as {red, green}, may stand for."""
    models: Literal["all"] | tuple[str, ...] = "all"
    """The models people may choose, by their names here."""
    weight: Annotated[int, Field(ge=1, le=10_000)] = 100
    """The share of the GPU that a person gets when many wait: twice the weight, twice the share."""
    channels: Literal["all"] | tuple[StrictInt, ...] = "all"
    """The channels in which people may ask, by their ids."""
    nsfw_block: Annotated[int, Field(ge=1, le=100)] = 80
    """How explicit a picture may not be, in percent; moderators can only lower it."""
    nsfw_spoiler: Annotated[int, Field(ge=1, le=100)] = 40
    """From how many percent on a picture is behind a spoiler; moderators can only lower it."""
    loosen_age_restricted: bool = False
    """Whether channels with Discord's age restriction are less strict: a spoiler instead of a block."""


class BillConfig(Section):
    """The thresholds above which the bot shows the cost of a request and asks for confirmation."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """A request must be confirmed if it takes more than this share of what is left of the quota, and"""
    at_least: Annotated[float, Field(ge=0, le=1_000_000)] = 5.0
    """more GPU seconds than this: a quick request needs no confirmation."""
    seconds: Annotated[float, Field(ge=0, le=1_000_000)] = 30.0
    """A request that takes more GPU seconds than this must always be confirmed."""
    money: Annotated[int, Field(ge=0, le=1_000_000)] = 5
    """A request that costs more US cents than this must always be confirmed."""


class RayConfig(Section):
    """Lanes on other hosts, by Ray. The token of the cluster is a secret, not a setting."""

    lanes: Annotated[int, Field(ge=0, le=64)] = 0
    """How many lanes there are: at most one for each GPU of the cluster."""
    address: Annotated[str, AfterValidator(_ray_address)] = "127.0.0.1:6379"
    """The head of the cluster, as address:port."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 1
    """GPUs of each lane; 0 paints on CPUs."""
    folder: Annotated[str, Field(min_length=1)] = "~/.cache/atelier"
    """Where the lanes keep on their hosts what they learn of a model."""


def _devices(chosen: Any) -> Any:
    """The devices that paint side by side."""
    if chosen in ("all", "none"):
        return chosen
    names = tuple(chosen) if isinstance(chosen, list | tuple) else (chosen,)
    for name in names:
        if not isinstance(name, str) or _DEVICE.fullmatch(name) is None:
            raise ValueError(
                f'devices is "all", "none" or a list like ["cuda:0", "cuda:1"] or ["cpu", "cpu"], not {name!r}'
            )
        if name != "cpu" and names.count(name) > 1:
            raise ValueError(f"devices names {name} twice; two engines do not fit on one GPU")
    return names


class EngineConfig(Section):
    """The process that paints."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    devices: Annotated[Literal["all", "none"] | tuple[str, ...], BeforeValidator(_devices)] = ()
    """The devices that paint side by side, each in a process of its own. Empty: the one that `device` says."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of each process. 0: one on a small machine, half the cores on a larger one, divided among all."""
    slots: Annotated[int, Field(ge=1, le=64)] = 8
    """Requests in the engine at the same time; they share every denoising step."""
    rows: Annotated[int, Field(ge=1, le=256)] = 16
    """The most rows of one forward. A picture takes two with guidance and one without; large pictures fit fewer."""
    reproducible: bool = False
    """Requests share no forward, only deterministic algorithms run: the same request gives the same bits."""
    graphs: bool = True
    """Record forwards as CUDA graphs, on CUDA only."""
    compile: bool = False
    """Compile forwards while idle, on CUDA only; a request that comes meanwhile waits, for seconds to minutes."""
    preview_seconds: Annotated[float, Field(ge=0, le=600)] = 3
    """Seconds between previews of a picture that takes longer than this; 0 shows no previews."""
    provenance: Literal["none", "seed", "full"] = "full"
    """How much of a request is in the file of its picture: nothing, all but the words, or everything. Each file says
    that a model made it, and which one."""
    mark: bool = True
    """Lay an invisible mark over the pictures that people get, so that their copies are recognised."""
    certificate: str = ""
    """A .pem file with the certificates that pictures are signed with; empty is one that is made at the first start."""
    private_key: str = ""
    """The .pem file with the key of that certificate."""
    upscaler: Annotated[str, AfterValidator(_upscaler_file)] = ""
    """A .safetensors file with a network that enlarges pictures four times, for models without their own; or none."""
    describer: str = ""
    """A folder with a model that describes pictures in words, for /describe; or none."""
    likeness: str = ""
    """A folder with a CLIP model that compares pictures, for searches by picture; or none."""
    segmenter: str = ""
    """A folder or a hub id of a model that tells a thing from its background, for /variants; or none: a threshold."""
    safety: Literal["on", "off"] = "on"
    """Whether every picture is checked for nudity before people see it. Only the host can switch that off."""
    memory: Annotated[float, Field(ge=0, le=4096)] = 0
    """GiB that models may take together on a device; the least recently used is unloaded. 0 is 70 % of a GPU, or half
    of the RAM divided among all."""
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _devices_are_named_once(self) -> Self:
        if self.devices and self.device != "auto":
            raise ValueError("device and devices name the same thing: remove one of them")
        if self.devices == "none" and not self.ray.lanes:
            raise ValueError('devices is "none", so nothing paints: set ray.lanes, or remove devices')
        return self

    @model_validator(mode="before")
    @classmethod
    def _former_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "embed_parameters" in values:
            raise ValueError('embed_parameters is now called provenance: write "full" for true and "none" for false')
        return values

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key belong together: name both files, or neither")
        return self


class MetricsConfig(Section):
    """A page of metrics for Prometheus."""

    listen: Annotated[str, AfterValidator(_address)] = ""
    """Where it is served, as address:port; nowhere by default. The page asks for no password."""


class Config(BaseSettings):
    """All settings. The first model is used when the request names none."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )

    data: Path = Path("data")
    encrypt: bool = True
    """Encrypt a new database with a key that Atelier makes, if the environment holds none."""
    encrypt_pictures: bool = False
    """Encrypt new pictures, results and uploads alike, with the key of the database."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    discord: DiscordConfig = DiscordConfig()
    limits: LimitsConfig = LimitsConfig()
    bill: BillConfig = BillConfig()
    engine: EngineConfig = EngineConfig()
    metrics: MetricsConfig = MetricsConfig()
    providers: tuple[ProviderConfig, ...] = ()
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)] = (EMBEDDED_MODEL,)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        refuse_twins("models", [model.name for model in self.models])
        return self

    @model_validator(mode="after")
    def _allowed_models_exist(self) -> Self:
        known = [model.name for model in self.models]
        for name in () if self.limits.models == "all" else self.limits.models:
            if name not in known:
                raise ValueError(f"limits.models names {name!r}, but the models are: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _providers_exist(self) -> Self:
        refuse_twins("providers", [provider.name for provider in self.providers])
        for model in self.models:
            if model.provider:
                check_source(model.name, model.source, model.provider, self.providers)
        return self

    @property
    def local_models(self) -> tuple[ModelConfig, ...]:
        """The models that this machine paints with."""
        return tuple(model for model in self.models if not model.provider)

    @property
    def remote_models(self) -> tuple[ModelConfig, ...]:
        """The models that providers paint with: words for them leave this machine."""
        return tuple(model for model in self.models if model.provider)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the hook's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrides the file; the content of the file comes as keyword arguments."""
        return env_settings, init_settings
