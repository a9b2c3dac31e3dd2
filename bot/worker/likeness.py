"""How pictures look, in 64 bits: hashes that differ in few bits for pictures that look alike.

The hash is the pHash of ImageHash: the signs of the 64 lowest frequencies of the picture in 32 × 32 shades of grey,
against their median. It survives compression and resizing, but not a crop. It runs in the engine process and in the
process that examines pictures.
"""

from __future__ import annotations

import imagehash
import PIL.Image

_BITS = 64


def phash(picture: PIL.Image.Image) -> int:
    """The perceptual hash of a picture, as a signed number of 64 bits, which is what a database can hold."""
    value = int(str(imagehash.phash(picture)), 16)
    return value - (1 << _BITS) if value >> (_BITS - 1) else value
