"""What a provider answered: pictures, as bytes or as addresses, and the usage, if it reports one. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bot.engine.images_api.prices import Usage

MOST_BYTES = 64 * 2**20
"""Bytes of one picture that is taken."""
_DATA = "data:image/"


@dataclass(frozen=True, slots=True)
class Partial:
    """How a picture looks so far: an encoded picture."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The pictures, each as its bytes or as the address where it is, and what they took."""

    pictures: tuple[bytes | str, ...]
    usage: Usage | None


def read(found: Any, base_url: str) -> Answer:
    """The pictures in an answer of the API; those in another form than it publishes are left out."""
    data = _get(found, "data")
    entries = data if isinstance(data, Sequence) and not isinstance(data, str) else ()
    pictures = tuple(picture for entry in entries if (picture := _picture(entry, base_url)) is not None)
    return Answer(pictures, Usage.read(_get(found, "usage")))


def read_event(event: Any) -> Partial | Answer | None:
    """A partial image or the finished one of a stream; None for another event."""
    kind, data = str(_get(event, "type")), _bytes(_get(event, "b64_json"))
    if kind.endswith(".partial_image"):
        return None if data is None else Partial(data)
    if kind.endswith(".completed"):
        return Answer(() if data is None else (data,), Usage.read(_get(event, "usage")))
    return None


def error_code(found: Any) -> str | None:
    """The code of an error that came in the place of pictures, empty if it has none; None if it is no error."""
    error = None if _get(found, "data") else _get(found, "error")
    return None if not error else str(_get(error, "code") or "")


def may_fetch(url: str, base_url: str) -> bool:
    """Whether a picture may be fetched from an address: at the provider itself, or from elsewhere over https."""
    try:
        there, here = urlsplit(url), urlsplit(base_url)
    except ValueError:
        return False
    if (there.scheme, there.netloc) == (here.scheme, here.netloc):
        return True
    return there.scheme == "https" and bool(there.hostname)


def _picture(entry: Any, base_url: str) -> bytes | str | None:
    if (data := _bytes(_get(entry, "b64_json"))) is not None:
        return data
    url = _get(entry, "url")
    if not isinstance(url, str):
        return None
    if url.startswith(_DATA):
        return _bytes(url)
    return url if may_fetch(url, base_url) else None


def _bytes(text: Any) -> bytes | None:
    """The bytes in base64, also of an address that holds them itself, and in lines; None if there are none."""
    if not isinstance(text, str) or not text or len(text) > 2 * MOST_BYTES:
        return None
    if text.startswith(_DATA):
        text = text.partition(",")[2]
    if "\n" in text:
        text = "".join(text.split())
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _get(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else getattr(found, name, None)
