"""Secrets, which are never settings.

The bot token comes from DISCORD_TOKEN, the key of the database from ATELIER_DATABASE_KEY, the token of a Ray cluster
from ATELIER_RAY_TOKEN, and the key of a provider such as openai from ATELIER_KEY_OPENAI; each may also come from a file
that the variable of that name with _FILE at its end names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bot.errors import ConfigError

DATABASE_KEY, NEW_DATABASE_KEY = "ATELIER_DATABASE_KEY", "ATELIER_DATABASE_KEY_NEW"
RAY_TOKEN = "ATELIER_RAY_TOKEN"  # noqa: S105 - the name of a variable
SECRETS = (
    *("DISCORD_TOKEN", "DISCORD_TOKEN_FILE", DATABASE_KEY, f"{DATABASE_KEY}_FILE", NEW_DATABASE_KEY),
    *(RAY_TOKEN, f"{RAY_TOKEN}_FILE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
)
_PROVIDER_KEY = "ATELIER_KEY_"


def without_secrets(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment that child processes get."""
    return {
        name: value for name, value in environ.items() if name not in SECRETS and not name.startswith(_PROVIDER_KEY)
    }


def read_provider_key(provider: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of a provider by its name, or None. Raises ConfigError for a file without one, and for no key."""
    found = _read_secret(provider_key(provider), f"the key of the provider {provider}", environ)
    if found is None:
        return None
    key, where = found
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{where} holds something other than a key: one word of letters, digits, - and _.")
    return key


def provider_key(provider: str) -> str:
    """The environment variable that has the key of a provider."""
    return f"{_PROVIDER_KEY}{provider.upper()}"


def read_token(environ: Mapping[str, str] = os.environ) -> str:
    """The bot token, from DISCORD_TOKEN or a file that DISCORD_TOKEN_FILE names. Raises ConfigError without one."""
    if found := _read_secret("DISCORD_TOKEN", "the bot token", environ):
        return check_token(*found)
    raise ConfigError(
        "There is no bot token: set DISCORD_TOKEN to the token from your application's Bot page on "
        "discord.com/developers. To try Atelier without a token, run: atelier try"
    )


def read_database_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of the database, from ATELIER_DATABASE_KEY or a file that ATELIER_DATABASE_KEY_FILE names; or None."""
    found = _read_secret(DATABASE_KEY, "the key of the database", environ)
    return found[0] if found else None


def read_ray_token(environ: Mapping[str, str] = os.environ) -> str:
    """The token of the Ray cluster, from ATELIER_RAY_TOKEN or a file that ATELIER_RAY_TOKEN_FILE names.

    Raises ConfigError without one.
    """
    found = _read_secret(RAY_TOKEN, "the token of the Ray cluster", environ)
    if found is None:
        raise ConfigError(
            f"There is no token for the Ray cluster: set {RAY_TOKEN} to the token that the head was started with, or "
            f"{RAY_TOKEN}_FILE to the file that holds it. docs/scale.md shows how to make one."
        )
    token, where = found
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where} holds something other than a token: one word without spaces.")
    return token


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


def check_token(token: str, where: str) -> str:
    """A token that may be one; `where` names its place in messages. Raises ConfigError for anything else."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where} holds something other than a bot token: one word of letters, digits, dots, - and _."
        )
    return token
