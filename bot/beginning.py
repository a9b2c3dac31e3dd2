"""The files that a new host begins with: config.toml, a file for the token, and a systemd unit.

Where the bot is started by Docker Compose, the `compose.yaml` of the repository is used.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bot.config import EMBEDDED, Config
from bot.errors import ConfigError

CONFIG, TOKEN, UNIT = "config.toml", "discord.token", "atelier.service"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a new host was asked."""

    model: str
    """The `source` of the model: `embedded`, a path or a hub id."""
    data: Path
    token: str
    """Empty if the host sets it later."""
    unit: bool
    """Whether a systemd unit is wanted."""


def files(answers: Answers, folder: Path, program: Path, user: str) -> Mapping[Path, str]:
    """The files for a folder, by their paths; `program` is the command `atelier`, which `user` runs."""
    wanted = {folder / CONFIG: config(answers)}
    if answers.token:
        wanted[folder / TOKEN] = f"{answers.token}\n"
    if answers.unit:
        wanted[folder / UNIT] = unit(folder, program, user)
    return wanted


def config(answers: Answers) -> str:
    """A config.toml with comments, which says what was answered and shows what is often changed."""
    defaults = Config.model_construct().limits
    lines = [
        "# The settings of Atelier. Every setting is optional; config.example.toml in the repository lists them all,",
        "# each with its default. `atelier doctor` checks this file.",
        "",
        "# Where the database and the pictures are, as seen from the folder in which Atelier is started.",
        f"data = {_text(str(answers.data))}",
        "",
        "# What everyone may use. Moderators change these on Discord with /limits set.",
        "[limits]",
        f"pace = {defaults.pace}       # pictures per minute of one person",
        f"depth = {defaults.depth}       # requests of one person that may wait at the same time",
        f"quota = {defaults.quota}     # GPU seconds of one person in any 24 hours",
        "",
        "[engine]",
        'device = "auto"  # or "cuda", "mps", "cpu"',
        "",
        "# The models that people can choose; the first one is used if a request names none.",
    ]
    if answers.model == EMBEDDED:
        lines += [
            "# Without this section Atelier paints with the small model that ships with it.",
            "# [[models]]",
            '# name = "sd15"',
            '# source = "/srv/models/sd15.safetensors"  # or a diffusers folder, or a hub id like org/name',
            "# width = 512",
            "# height = 512",
        ]
    else:
        lines += [
            "[[models]]",
            f"name = {_text(model_name(answers.model))}",
            f"source = {_text(answers.model)}",
            "width = 512       # the size of a picture if a request names none; 1024 for SDXL and newer models",
            "height = 512",
            "steps = 30",
            "guidance_scale = 7.5",
        ]
    return "\n".join(lines) + "\n"


def model_name(source: str) -> str:
    """A name under which people choose a model, made of the last part of its source."""
    stem = source.rstrip("/").rpartition("/")[2].removesuffix(".safetensors").removesuffix(".gguf").lower()
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem)
    return kept.strip("-")[:32].strip("-") or "model"


def unit(folder: Path, program: Path, user: str) -> str:
    """A systemd unit that runs the bot in a folder, with the token from a file in it.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html names the settings.
    """
    return f"""[Unit]
Description=Atelier, a Discord bot that paints
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
WorkingDirectory={_escaped(str(folder))}
ExecStart={_escaped(shlex.quote(str(program)))} run
Environment={_escaped(shlex.quote(f"DISCORD_TOKEN_FILE={folder / TOKEN}"))}
Restart=on-failure
# The configuration cannot be used: starting again would not help.
RestartPreventExitStatus=78
TimeoutStopSec=60
NoNewPrivileges=true
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""


def next_steps(answers: Answers, folder: Path) -> list[str]:
    """What the host does next, a line each."""
    if answers.token:
        token = f"DISCORD_TOKEN_FILE={shlex.quote(str(folder / TOKEN))} "
        steps = []
    else:
        token = "DISCORD_TOKEN=… "  # noqa: S105 - the place of a token
        where = f", and put it into {folder / TOKEN}" if answers.unit else ""
        steps = [f"Create an application on discord.com/developers, copy the token from its Bot page{where}."]
    steps += [f"{token}atelier doctor checks everything and shows the link that invites the bot."]
    if answers.unit:
        here = shlex.quote(str(folder / UNIT))
        steps += [f"sudo cp {here} /etc/systemd/system/ && sudo systemctl enable --now atelier starts it for good."]
    else:
        steps += [f"{token}atelier run starts it."]
    return [f"{number}. {step}" for number, step in enumerate(steps, start=1)]


def write(wanted: Mapping[Path, str]) -> None:
    """Write new files, all or none; only their owner can read the token. Raises ConfigError."""
    for path in wanted:
        if path.exists():
            raise ConfigError(f"{path} exists already. Nothing was written. Move it away, or choose another folder.")
    made: list[Path] = []
    try:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if path.name == TOKEN else 0o644)
            made.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        for path in made:
            with suppress(OSError):
                path.unlink()
        raise ConfigError(f"{path} cannot be written ({error.strerror}). Nothing was kept.") from error


def _text(value: str) -> str:
    """A text as TOML writes it: JSON's strings are basic strings of TOML."""
    return json.dumps(value, ensure_ascii=False)


def _escaped(value: str) -> str:
    """A value of a unit, in which % begins a specifier."""
    return value.replace("%", "%%")
