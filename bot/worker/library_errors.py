"""What torch, diffusers and other libraries say when something fails, in words that people may read."""

from __future__ import annotations

import re
from pathlib import PurePath

_LONGEST = 300


def told(error: BaseException) -> str:
    """All that an error says, on one line and without the host's folders; the log has the rest of a long one."""
    words = " ".join(str(error).split()) or type(error).__name__
    words = re.sub(r"(?<![\w:/])(?:/[^\s/'\",]+){2,}/?", lambda path: PurePath(path[0]).name, words)
    if len(words) <= _LONGEST:
        return words
    return f"{words[:_LONGEST].rsplit(' ', 1)[0]} … (the log has the rest)"


def refused(error: BaseException) -> str:
    """An error of loading something that Atelier's own checks let pass, and what the host can do."""
    return (
        f"diffusers does not accept it ({told(error)}). The host can download it again, or take another version of it; "
        "the log has the details."
    )
