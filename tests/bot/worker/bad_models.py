"""Models, LoRAs and ControlNets that cannot be used, as people have them: each is built from a tiny real one.

python -m tests.bot.worker.bad_models FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bot.worker.bad_adapters import CONTROLNETS, LORAS
from tests.bot.worker.bad_files import FILES
from tests.bot.worker.bad_folders import FOLDERS
from tests.bot.worker.tiny_models import make_tiny_folder

if __name__ == "__main__":
    home = Path(sys.argv[1])
    tiny_model = make_tiny_folder(home / "tiny")
    for bad in (*FILES, *FOLDERS, *LORAS, *CONTROLNETS):
        bad.make(tiny_model, home / bad.file_name)
