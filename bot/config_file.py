"""Reads the host's settings from config.toml, overridden by ATELIER_* in the environment."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from bot.config import ENV_PREFIX, MODEL_FILES, Config, ModelConfig
from bot.config_errors import explain, line_of, no_such_setting
from bot.errors import ConfigError


def load_config(path: Path | None) -> Config:
    """Read `path`, or the built-in defaults when it is None; relative model paths start at the file's folder.

    Raises ConfigError, which names the key and the line of the first error.
    """
    text, values = ("", {}) if path is None else _read_toml(path)
    _refuse_unknown(values, text, path)
    try:
        config = Config(**values)
    except ValidationError as error:
        raise ConfigError(explain(error, text, path)) from error
    except SettingsError as error:
        # Only the environment can cause this: there, tables and lists are JSON.
        raise ConfigError(f"environment variables {ENV_PREFIX}*: {error}; the value must be JSON.") from error
    base = Path.cwd() if path is None else path.resolve().parent
    data = _home(str(config.data), "data")
    models = tuple(_located(model, base) for model in config.models)
    upscaler = config.engine.upscaler and _place(config.engine.upscaler, base, "engine.upscaler")
    places = {
        name: str((base / _home(value, f"engine.{name}")).resolve()) if (value := getattr(config.engine, name)) else ""
        for name in ("certificate", "private_key", "describer", "likeness")
    }
    engine = config.engine.model_copy(update={"upscaler": upscaler, **places})
    return config.model_copy(update={"data": data, "engine": engine, "models": models})


def _refuse_unknown(values: Mapping[str, Any], text: str, path: Path | None) -> None:
    """Raise ConfigError for a top-level setting that does not exist; pydantic-settings overlooks some of them."""
    known = list(Config.model_fields)
    for name in values:
        if name not in known:
            line = line_of(text, (name,))
            where = f"{path}, line {line}: {name}" if line is not None else f"{path}: {name}"
            raise ConfigError(f"{where}: {no_such_setting(name, known)}")
    for variable in os.environ:
        name = variable.removeprefix(ENV_PREFIX).split("__")[0].lower()
        # Other programs may use the prefix, as Kubernetes does for a service named atelier: refuse only typing errors.
        if variable.startswith(ENV_PREFIX) and name not in known and difflib.get_close_matches(name, known, cutoff=0.8):
            raise ConfigError(f"environment variable {variable}: {no_such_setting(name, known)}")


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
    is_path = path.exists() or place.endswith(MODEL_FILES) or place.startswith((".", "/", "~"))
    return str(path.resolve()) if is_path else place


def _located(model: ModelConfig, base: Path) -> ModelConfig:
    """Make the model's own paths absolute; hub ids and the embedded model stay as they are."""
    if model.provider:
        return model

    def locate(place: str) -> str:
        return _place(place, base, f"model {model.name}")

    loras = tuple(lora.model_copy(update={"source": locate(lora.source)}) for lora in model.loras)
    controlnets = tuple(net.model_copy(update={"source": locate(net.source)}) for net in model.controlnets)
    changes: dict[str, Any] = {"loras": loras, "controlnets": controlnets}
    if not model.is_embedded:
        config = None if model.config is None else locate(model.config)
        changes |= {"source": locate(model.source), "config": config}
    return model.model_copy(update=changes)
