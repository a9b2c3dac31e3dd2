"""Where the secrets are with which processes that make files sign them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signing:
    """The folder of the installation's own certificate, and the host's certificate and key, which may be empty."""

    folder: Path
    certificate: str = ""
    private_key: str = ""

    def order(self) -> Mapping[str, str]:
        """What such a process is told."""
        return {
            "folder": str(self.folder.resolve()),
            "certificate": self.certificate,
            "private_key": self.private_key,
        }
