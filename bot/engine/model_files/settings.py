"""The JSON files of a model's folder, and which classes the installed diffusers knows, without importing it."""

from __future__ import annotations

import ast
import importlib.util
import json
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bot.engine.model_files.header import DOWNLOAD_AGAIN, GIT_POINTERS, git_pointer, web_page
from bot.errors import UnusableFiles

_LARGEST = 64 * 2**20
"""Bytes of a JSON file that is read; tokenizers have up to about 30 MB."""


def read_settings(path: Path, shown: str) -> dict[str, Any]:
    """A JSON object. Raises UnusableFiles, which calls the file `shown`, if it is something else or missing."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise UnusableFiles(f"{shown} is missing.", "Download the whole model again.") from error
    except OSError as error:
        raise UnusableFiles(
            f"{shown} cannot be read ({error.strerror}).", "Make it readable for the user that runs Atelier."
        ) from error
    if data.startswith(GIT_POINTERS):
        raise git_pointer(shown)
    if data.lstrip().startswith(b"<"):
        raise web_page(shown)
    try:
        settings = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnusableFiles(f"{shown} is damaged: it is not valid JSON.", DOWNLOAD_AGAIN) from error
    if not isinstance(settings, dict):
        raise UnusableFiles(f"{shown} is damaged: it holds no settings.", DOWNLOAD_AGAIN)
    return settings


@cache
def diffusers_names() -> frozenset[str]:
    """The names of all classes that the installed diffusers can give; empty if they cannot be found out.

    Importing diffusers would import torch, so the strings of its `__init__.py` are read: it loads every class by name.
    """
    try:
        spec = importlib.util.find_spec("diffusers")
        if spec is None or spec.origin is None:
            return frozenset()
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def is_in_diffusers(name: str) -> bool:
    """Whether the installed diffusers has a class of this name; True if that cannot be found out."""
    return not diffusers_names() or name in diffusers_names()


@cache
def is_in_transformers(name: str) -> bool:
    """Whether the installed transformers defines a model class of this name; True if that cannot be found out.

    Importing transformers would import torch, so its source is searched, first where the name says it is.
    """
    try:
        spec = importlib.util.find_spec("transformers")
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return True
    files = sorted(Path(spec.origin).parent.glob("models/*/modeling_*.py"))
    # Those of a folder whose name is in the class's: Qwen2_5_VLModel is in qwen2_5_vl.
    files.sort(key=lambda file: file.parent.name.replace("_", "") not in name.replace("_", "").lower())
    wanted = (f"class {name}(".encode(), f"\n{name} = ".encode())
    with suppress(OSError):
        return not files or any(word in file.read_bytes() for file in files for word in wanted)
    return True


def version_of(library: str) -> str:
    """The version of an installed library, such as 0.42.1."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"
