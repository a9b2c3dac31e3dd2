"""The host's settings: frozen sections read from config.toml, overridden by ATELIER_* in the environment.

`config.example.toml` lists every key with its default; a test keeps the two equal. Secrets are never settings: the bot
token comes from DISCORD_TOKEN and the key of the database from ATELIER_DATABASE_KEY, or from a file that
DISCORD_TOKEN_FILE or ATELIER_DATABASE_KEY_FILE names.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bot.errors import ConfigError

EMBEDDED = "embedded"
"""The `source` of the model that ships with Atelier."""

ENV_PREFIX = "ATELIER_"

STEPS = (1, 150)
"""The fewest and the most denoising steps."""
IMAGES = (1, 4)
"""The fewest and the most pictures of one request."""
PERMUTATIONS = (1, 64)
"""The fewest and the most pictures that one prompt with choices stands for, as moderators can limit it."""
PROMPT_LIMIT = 4000
"""Characters of a prompt, and of a negative prompt."""

DATABASE_KEY, NEW_DATABASE_KEY = "ATELIER_DATABASE_KEY", "ATELIER_DATABASE_KEY_NEW"
SECRETS = ("DISCORD_TOKEN", "DISCORD_TOKEN_FILE", DATABASE_KEY, f"{DATABASE_KEY}_FILE", NEW_DATABASE_KEY)
"""Environment variables that are removed from the environment of child processes."""

SAFETY_IS_OFF = "no picture is checked for nudity, because engine.safety is off"

SAVINGS = ("8bit", "4bit", "text-when-needed", "text-on-cpu", "offload")
"""Ways to keep a model in less memory, by their names in config.toml; docs/memory.md describes them."""
_FILES = (".safetensors", ".gguf")
"""How the names of files end that a model can be loaded from."""

_COMMAND_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")
_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def _command_name(name: str) -> str:
    if not _COMMAND_NAME.fullmatch(name):
        raise ValueError("a command name is 1 to 32 lower-case letters, digits, - or _, like imagine")
    return name


def _model_name(name: str) -> str:
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError("this name is 1 to 32 lower-case letters, digits, dots, - or _, like sd15")
    return name


def _address(listen: str) -> str:
    match = _ADDRESS.fullmatch(listen)
    if listen and (match is None or not 0 < int(match[1]) < 2**16):
        raise ValueError("an address to listen at is host:port, like 127.0.0.1:9464 or [::1]:9464")
    return listen


def _upscaler_file(path: str) -> str:
    if path and not path.endswith(".safetensors"):
        raise ValueError(
            f"{path} is not a .safetensors file, and no other kind is loaded: take the .safetensors version of it"
        )
    return path


def _refuse_twins(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two {what} have the name {twice[0]!r}; give each its own name")


class Section(BaseModel):
    """One table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    pixels: Annotated[int, Field(ge=64, le=2**26)] = 2048 * 2048
    """The largest picture, as width times height before it is enlarged; a larger one is made smaller."""
    steps: Annotated[int, Field(ge=STEPS[0], le=STEPS[1])] = 150
    """The most denoising steps; more are cut."""
    images: Annotated[int, Field(ge=IMAGES[0], le=IMAGES[1])] = 4
    """The most pictures of one request; more are cut."""
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


class EngineConfig(Section):
    """The process that paints."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads that paint. 0: one on a small machine, half the cores on a larger one."""
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
    safety: Literal["on", "off"] = "on"
    """Whether every picture is checked for nudity before people see it. Only the host can switch that off."""
    memory: Annotated[float, Field(ge=0, le=4096)] = 0
    """GiB that models may take together; the least recently used is unloaded. 0 is 70 % of a GPU or half of the RAM."""

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
    """`embedded`, a diffusers folder, a single .safetensors or .gguf file, or a hub id like org/name."""
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

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("LoRAs", [lora.name for lora in self.loras]),
            ("ControlNets", [controlnet.name for controlnet in self.controlnets]),
        ):
            _refuse_twins(what, names)
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
        return self.source.endswith(_FILES)

    @property
    def is_hub_id(self) -> bool:
        """Whether the source is a hub id such as org/name, not a path."""
        return (
            not self.is_embedded
            and not self.is_single_file
            and not Path(self.source).exists()
            and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", self.source) is not None
        )


EMBEDDED_MODEL = ModelConfig(
    name="emoji",
    source=EMBEDDED,
    description="ships with Atelier: small pictures in the style of emoji",
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


class Config(BaseSettings):
    """All settings. The first model is used when the request names none."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )

    data: Path = Path("data")
    encrypt: bool = True
    """Encrypt a new database with a key that Atelier makes, if the environment holds none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    discord: DiscordConfig = DiscordConfig()
    limits: LimitsConfig = LimitsConfig()
    bill: BillConfig = BillConfig()
    engine: EngineConfig = EngineConfig()
    metrics: MetricsConfig = MetricsConfig()
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)] = (EMBEDDED_MODEL,)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _refuse_twins("models", [model.name for model in self.models])
        return self

    @model_validator(mode="after")
    def _allowed_models_exist(self) -> Self:
        known = [model.name for model in self.models]
        for name in () if self.limits.models == "all" else self.limits.models:
            if name not in known:
                raise ValueError(f"limits.models names {name!r}, but the models are: {', '.join(known)}")
        return self

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


def load_config(path: Path | None) -> Config:
    """Read `path`, or the built-in defaults when it is None; relative model paths start at the file's folder.

    Raises ConfigError, which names the key and the line of the first error.
    """
    text, values = ("", {}) if path is None else _read_toml(path)
    _refuse_unknown(values, text, path)
    try:
        config = Config(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, text, path)) from error
    except SettingsError as error:
        # Only the environment can cause this: there, tables and lists are JSON.
        raise ConfigError(f"environment variables {ENV_PREFIX}*: {error}; the value must be JSON.") from error
    base = Path.cwd() if path is None else path.resolve().parent
    data = _home(str(config.data), "data")
    models = tuple(_located(model, base) for model in config.models)
    upscaler = config.engine.upscaler and _place(config.engine.upscaler, base, "engine.upscaler")
    places = {
        name: str((base / _home(value, f"engine.{name}")).resolve()) if (value := getattr(config.engine, name)) else ""
        for name in ("certificate", "private_key", "describer")
    }
    engine = config.engine.model_copy(update={"upscaler": upscaler, **places})
    return config.model_copy(update={"data": data, "engine": engine, "models": models})


def read_token(environ: Mapping[str, str] = os.environ) -> str:
    """The bot token, from DISCORD_TOKEN or a file that DISCORD_TOKEN_FILE names. Raises ConfigError without one."""
    if found := _read_secret("DISCORD_TOKEN", "the bot token", environ):
        return _plausible(*found)
    raise ConfigError(
        "There is no bot token: set DISCORD_TOKEN to the token from your application's Bot page on "
        "discord.com/developers. To try Atelier without a token, run: atelier try"
    )


def read_database_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of the database, from ATELIER_DATABASE_KEY or a file that ATELIER_DATABASE_KEY_FILE names; or None."""
    found = _read_secret(DATABASE_KEY, "the key of the database", environ)
    return found[0] if found else None


def _read_secret(name: str, what: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """A secret and where it was found. Raises ConfigError when the file that should hold it does not."""
    if secret := environ.get(name, "").strip():
        return secret, name
    if not (place := environ.get(f"{name}_FILE", "").strip()):
        return None
    where = f"{name}_FILE: {place}"
    return read_secret(Path(place), what, where), where


def read_secret(file: Path, what: str, where: str = "") -> str:
    """The secret that a file holds; `where` names the file in messages. Raises ConfigError when it holds none."""
    where = where or str(file)
    try:
        secret = file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ConfigError(f"{where} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not UTF-8 text: save it as UTF-8.") from error
    if not secret:
        raise ConfigError(f"{where} is empty; put {what} into it.")
    return secret


def _plausible(token: str, where: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where} holds something other than a bot token: one word of letters, digits, dots, - and _."
        )
    return token


def _refuse_unknown(values: Mapping[str, Any], text: str, path: Path | None) -> None:
    """Raise ConfigError for a top-level setting that does not exist; pydantic-settings overlooks some of them."""
    known = list(Config.model_fields)
    for name in values:
        if name not in known:
            line = _line_of(text, (name,))
            where = f"{path}, line {line}: {name}" if line is not None else f"{path}: {name}"
            raise ConfigError(f"{where}: {_no_such_setting(name, known)}")
    for variable in os.environ:
        name = variable.removeprefix(ENV_PREFIX).split("__")[0].lower()
        # Other programs may use the prefix, as Kubernetes does for a service named atelier: refuse only typing errors.
        if variable.startswith(ENV_PREFIX) and name not in known and difflib.get_close_matches(name, known, cutoff=0.8):
            raise ConfigError(f"environment variable {variable}: {_no_such_setting(name, known)}")


def _no_such_setting(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return "there is no such setting" + (f"; did you mean {near[0]}?" if near else ".")


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _home(place: str, key: str) -> Path:
    """The path that `key` is set to, with the home folder for a ~. Raises ConfigError."""
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}: {place} starts with a home folder that does not exist.") from error


def _place(place: str, base: Path, key: str) -> str:
    """The absolute path that `key` is set to, as seen from a folder; a hub id stays as it is."""
    path = base / _home(place, key)
    is_path = path.exists() or place.endswith(_FILES) or place.startswith((".", "/", "~"))
    return str(path.resolve()) if is_path else place


def _located(model: ModelConfig, base: Path) -> ModelConfig:
    """Make the model's own paths absolute; hub ids and the embedded model stay as they are."""

    def locate(place: str) -> str:
        return _place(place, base, f"model {model.name}")

    loras = tuple(lora.model_copy(update={"source": locate(lora.source)}) for lora in model.loras)
    controlnets = tuple(net.model_copy(update={"source": locate(net.source)}) for net in model.controlnets)
    changes: dict[str, Any] = {"loras": loras, "controlnets": controlnets}
    if not model.is_embedded:
        config = None if model.config is None else locate(model.config)
        changes |= {"source": locate(model.source), "config": config}
    return model.model_copy(update=changes)


def _explain(error: ValidationError, text: str, path: Path | None) -> str:
    """Say where the first wrong setting is, what is wrong with it and what would work."""
    first = error.errors()[0]
    location = first["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    line = _line_of(text, location)
    variable = ENV_PREFIX + "__".join(str(part) for part in location).upper()
    if variable in os.environ:
        where = f"environment variable {variable}"
    elif line is not None:
        where = f"{path}, line {line}: {key}"
    else:
        where = f"{path or 'settings'}: {key}".removesuffix(": ")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = _no_such_setting(str(location[-1]), _known_keys(location[:-1]))
    message = message[0].lower() + message[1:]
    return f"{where}: {message}" + ("" if message.endswith(("?", ".")) else ".")


_ARRAYS: dict[str, type[BaseModel]] = {
    "models": ModelConfig,
    "loras": LoraConfig,
    "controlnets": ControlNetConfig,
}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at `location`."""
    section: type[BaseModel] = Config
    for part in location:
        if part in _ARRAYS:
            section = _ARRAYS[str(part)]
        elif isinstance(part, str) and part in section.model_fields:
            inner = section.model_fields[part].annotation
            section = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else section
    return list(section.model_fields)


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line, from 1, on which the key at `location` is set; None if the text does not set it.

    tomllib keeps no positions, so this follows table headers itself; it understands what the example file
    uses: `[table]`, `[[array of tables]]` and `key = value`.
    """
    wanted = list(location)
    here: list[int | str] = []
    counts: dict[tuple[int | str, ...], int] = {}
    header: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if match := re.match(r"\[\[\s*([\w.-]+)\s*\]\]", stripped):
            # [[models.loras]] belongs to the last [[models]], and each model counts its own from 0.
            *parents, name = match[1].split(".")
            here = []
            for parent in parents:
                here += [parent, *([counts[(*here, parent)]] if (*here, parent) in counts else [])]
            here.append(name)
            counts[tuple(here)] = counts.get(tuple(here), -1) + 1
            here.append(counts[tuple(here)])
        elif match := re.match(r"\[\s*([\w.-]+)\s*\]", stripped):
            here = list(match[1].split("."))
        elif match := re.match(r"([\w-]+)\s*=", stripped):
            if [*here, match[1]] == wanted[: len(here) + 1]:
                return number
            continue
        if here and here == wanted[: len(here)]:
            header = number
    return header
