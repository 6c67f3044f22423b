"""How a file stands in a request or a job: a data URL, plain base64, or bytes.

A text may also refer to a file that is elsewhere: whoever reads a request puts the file itself in its place
first, see `Endpoint.with_files`.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable
from typing import Any

from schemas.media.errors import MediaError

Source = str | bytes | MediaError
"""A file as it came: text, bytes, or why what the text refers to cannot be had."""
Reader = Callable[[str, int], Source]
"""Takes the text in a file's place, and the most bytes the file may have; gives what shall stand there."""

_URL = re.compile("https?://", re.IGNORECASE)
_TOKEN = "[A-Za-z0-9!#$&^_.+-]+"
_HEAD = re.compile(f"data:(?:{_TOKEN}/{_TOKEN})?(?:;{_TOKEN}=[^;,]*)*;base64,", re.IGNORECASE)
_LONGEST_HEAD = 300  # characters; media types are short
PIECE = 3 << 18  # bytes that are decoded at a time; a multiple of 3


def head_length(text: str) -> int | None:
    """Give the characters of a data URL before its base64; None: it is no data URL of base64.

    Args:
        text: the data URL, or its beginning.
    """
    head = _HEAD.match(text, 0, _LONGEST_HEAD)
    return None if head is None else head.end()


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
    if isinstance(value, str) and _URL.match(value):
        raise MediaError(
            "is a URL, and this endpoint takes none: send the file itself, as data URL, base64 or in a form"
        )
    start = 0
    if isinstance(value, str) and value[:5].lower() == "data:":
        head = head_length(value)
        if head is None:
            raise MediaError('is no data URL of the form "data:<type>/<format>;base64,..."')
        start = head
    size = len(value) if isinstance(value, bytes) else (len(value) - start) * 3 // 4 - value[-2:].count("=")
    if size > max_bytes:
        raise MediaError(f"its size of {size} bytes is too large: at most {max_bytes} allowed")
    data = value if isinstance(value, bytes) else _decode(value, start)
    if not data:
        raise MediaError("is empty")
    return data


def data_url(data: bytes, media_type: str) -> str:
    """Give a file as a data URL.

    Args:
        data: its bytes.
        media_type: such as "image/png".
    """
    text = f"data:{media_type};base64,"
    for place in range(0, len(data), PIECE):  # Python lets the text grow in its place: it is there only once
        text += binascii.b2a_base64(data[place : place + PIECE], newline=False).decode()
    return text


def _decode(text: str, start: int) -> bytes:
    """Decode what follows after `start`, piece by piece, so that the text is not copied."""
    step = PIECE // 3 * 4
    data = io.BytesIO()  # which grows in its place, where pieces would be there twice
    try:
        if (len(text) - start) % 4:
            raise ValueError("not filled up")  # Python takes "AAAA="
        for place in range(start, len(text), step):
            piece = text[place : place + step]
            if piece.endswith("=") and place + step < len(text):
                raise ValueError("padding before the end")
            data.write(binascii.a2b_base64(piece, strict_mode=True))
        return data.getvalue()
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
