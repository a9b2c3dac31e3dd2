"""The engine process, `python -m bot.worker`. torch lives here and nowhere else; nothing else in bot imports this."""

import sys

# Where torchvision is installed, transformers prepares pictures with it, and cannot be imported if torchvision cannot,
# as beside a torch without CUDA. Only spandrel needs it, which `host_upscaler.py` imports; so the engine paints the
# same with and without. None makes `find_spec` say that there is no such module.
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]
