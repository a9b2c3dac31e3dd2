"""The environment of the engine process."""

from __future__ import annotations

from collections.abc import Mapping

from bot.secrets import without_secrets


def worker_environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without its secrets, with what torch and its libraries need, and with `more`."""
    return {
        # Without PASSIVE, idle OpenMP threads spin and starve the bot on a small machine: 40 s instead of 1.
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # The library gives advice on import, before the engine can turn that off.
        "TRANSFORMERS_VERBOSITY": "error",
        **without_secrets(),
        **(more or {}),
    }
