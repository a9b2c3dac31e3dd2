"""What comes from the Hugging Face hub: where it lies once it was downloaded, and why it cannot be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from bot.engine.model_files.folder import INDEX
from bot.errors import UnusableFiles


def cached_folder(source: str) -> Path | None:
    """The folder of a repository that was downloaded before; None without one."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(source, INDEX)
    except HFValidationError:
        return None
    return Path(index).parent if isinstance(index, str) else None


def address() -> str:
    """Where the hub is asked."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Whether the host forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def unreachable(source: str, why: str) -> UnusableFiles:
    """The error where the hub does not answer."""
    return UnusableFiles(f"{source} cannot be fetched from the hub ({why}).", "Check this machine's network.")


def cause(error: BaseException) -> str:
    """Why the hub cannot be reached, by the error at the root: what libraries wrap it in says less."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    match error:
        case socket.gaierror():
            return "its address is not found"
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionError():
            return "there is no connection"
        case _:
            return type(error).__name__


def gated(source: str) -> UnusableFiles:
    """The error for a repository whose licence has to be accepted."""
    return UnusableFiles(
        f"{source} is given only to those who accepted its licence.",
        f"Accept it on https://huggingface.co/{source}, and set HF_TOKEN for Atelier.",
    )


def unknown(source: str) -> UnusableFiles:
    """The error for a repository that the hub does not show."""
    return UnusableFiles(
        f"{source} does not exist on the hub, or it is private.", "Correct its name, or set HF_TOKEN for Atelier."
    )


def unconfigured(file: str, error: UnusableFiles) -> UnusableFiles:
    """The error for a single file whose configuration cannot be fetched."""
    return UnusableFiles(
        f"{file} needs the configuration of its kind, and {error.words}",
        f"{error.remedy} Or set `config` to a diffusers folder of the same kind.",
    )
