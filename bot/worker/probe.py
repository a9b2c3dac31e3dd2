"""Prints the devices that torch finds on this machine, as one line of JSON. Run by `atelier doctor`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Print the versions of torch and diffusers and the device torch would use."""
    import diffusers
    import torch

    from bot.worker.proving import machine_facts

    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "device": "cpu",
        "name": "",
        "gib": 0.0,
        "gpus": [],
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts |= {"device": "cuda", "name": properties.name, "gib": properties.total_memory / 2**30}
        facts["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    elif torch.backends.mps.is_available():
        facts |= {"device": "mps", "name": "Apple GPU"}
    facts |= {"cores": os.cpu_count() or 1, "machine": machine_facts()}
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
