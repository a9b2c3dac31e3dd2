"""The engine process, `python -m bot.worker`. torch lives here and nowhere else; nothing else in bot imports this."""

import os
import sys
from collections.abc import Iterable

OPTIONAL = ("torchvision", "torchao", "bitsandbytes")
"""Libraries that transformers and diffusers import wherever they are installed, though few models need them.

torchao takes seconds. torchvision cannot be imported beside a torch without CUDA, and then transformers cannot either;
`host_upscaler.py` imports it for spandrel.
"""

# onnxruntime's builds send events to Microsoft, and libraries of Hugging Face to Hugging Face, unless these are set
# before they are imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

for _name in OPTIONAL:
    # None makes `find_spec` say that there is no such module.
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]


def reveal(names: Iterable[str]) -> None:
    """Let libraries of OPTIONAL be found again. Call it before diffusers is imported."""
    for name in names:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]
