"""The engine process, `python -m bot.worker`. torch lives here and nowhere else; nothing else in bot imports this."""

import sys
from collections.abc import Iterable

OPTIONAL = ("torchvision", "torchao", "bitsandbytes")
"""Libraries that transformers and diffusers import wherever they are installed, though few models need them.

torchao takes seconds. torchvision cannot be imported beside a torch without CUDA, and then transformers cannot either;
`host_upscaler.py` imports it for spandrel.
"""

for _name in OPTIONAL:
    # None makes `find_spec` say that there is no such module.
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]


def reveal(names: Iterable[str]) -> None:
    """Let libraries of OPTIONAL be found again. Call it before diffusers is imported."""
    for name in names:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]
