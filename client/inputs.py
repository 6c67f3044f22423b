"""Inputs as the wire carries them: files in whatever form become data URLs."""

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from .media import media_type

_MODES_OF_PNG = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


def to_wire(value: Any) -> Any:
    """Give a value with every file in it, also inside lists and mappings, replaced by a data URL.

    Files are `bytes`, paths (pathlib.Path), objects with `read()` that gives bytes, and images of Pillow,
    which are sent as PNG. A file object is read from where it stands, and stays open.

    Raises:
        ValueError: a file of an unknown format.
        OSError: a file that cannot be read.
    """
    data = _file_bytes(value)
    if data is not None:
        return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"
    if isinstance(value, Mapping):
        return {name: to_wire(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    return value


def _file_bytes(value: Any) -> bytes | None:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Path):
        return value.read_bytes()
    if _is_pillow_image(value):
        return _png(value)
    if hasattr(value, "read"):
        data = value.read()
        if not isinstance(data, bytes):
            raise ValueError("a file must be opened for reading bytes: open(path, 'rb')")
        return data
    return None


def _is_pillow_image(value: Any) -> bool:
    """Tell an image of Pillow without importing Pillow."""
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__)


def _png(image: Any) -> bytes:
    buffer = BytesIO()
    (image if image.mode in _MODES_OF_PNG else image.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()
