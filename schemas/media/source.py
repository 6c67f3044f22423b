"""How a file stands in a request or a job: a data URL, plain base64, or bytes.

A text may also refer to a file that is elsewhere: whoever reads a request puts the file itself in its place
first, see `Endpoint.with_files`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from schemas.media.errors import MediaError

Source = str | bytes | MediaError
"""A file as it came: text, bytes, or why what the text refers to cannot be had."""
Reader = Callable[[str, int], Source]
"""Takes the text in a file's place, and the most bytes the file may have; gives what shall stand there."""

_REFERENCE = re.compile("https?://", re.IGNORECASE)
_TOKEN = "[A-Za-z0-9!#$&^_.+-]+"
_HEAD = re.compile(f"data:(?:{_TOKEN}/{_TOKEN})?(?:;{_TOKEN}=[^;,]*)*;base64,", re.IGNORECASE)
_LONGEST_HEAD = 300  # characters; media types are short


def read_source(value: Source, max_bytes: int) -> bytes:
    """Take a file out of a data URL ("data:image/png;base64,iVBO..."), plain base64 text, or bytes.

    What a data URL calls the file is not looked at: some clients call everything a JPEG.

    Args:
        value: as it came.
        max_bytes: the largest file that is taken; checked before anything is decoded.

    Raises:
        MediaError: it is empty, too large, its base64 is not strictly right, or it came as such an error.
    """
    if isinstance(value, MediaError):
        raise value
    if isinstance(value, str) and _REFERENCE.match(value):
        raise MediaError(
            "is a URL, and this endpoint takes none: send the file itself, as data URL, base64 or in a form"
        )
    start = 0
    if isinstance(value, str) and value[:5].lower() == "data:":
        head = _HEAD.match(value, 0, _LONGEST_HEAD)
        if head is None:
            raise MediaError('is no data URL of the form "data:<type>/<format>;base64,..."')
        start = head.end()
    size = len(value) if isinstance(value, bytes) else (len(value) - start) * 3 // 4 - value[-2:].count("=")
    if size > max_bytes:
        raise MediaError(f"its size of {size} bytes is too large: at most {max_bytes} allowed")
    data = value if isinstance(value, bytes) else _decode(value[start:] if start else value)
    if not data:
        raise MediaError("is empty")
    return data


def data_url(data: bytes, media_type: str) -> str:
    """Give a file as a data URL.

    Args:
        data: its bytes.
        media_type: such as "image/png".
    """
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _decode(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, or characters beyond ASCII
        raise MediaError(
            "is not valid base64: only A-Z, a-z, 0-9, + and /, padded with =, without spaces and line breaks"
        ) from None


def read_file(value: Any) -> bytes | None:
    """Give the bytes of a model's value that is a file; None: it is none.

    Raises:
        MediaError: it cannot be read.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not callable(getattr(value, "read", None)):
        return None
    try:
        if value.seekable():
            value.seek(0)  # what has just been written stands at its end
        return bytes(value.read())
    except Exception as error:  # foreign code: whatever it raises means the same here
        raise MediaError(f"cannot be read: {error}") from error
