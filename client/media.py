"""Media among the inputs: raw bytes become the data URLs that the wire carries."""

import base64
from collections.abc import Mapping
from typing import Any

# Leading bytes by format, from the formats' own specifications.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"ID3", "audio/mp3"),
    (b"\xff\xfb", "audio/mp3"),
    (b"\xff\xf3", "audio/mp3"),
    (b"\xff\xf2", "audio/mp3"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF_KINDS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}


def media_type(data: bytes) -> str:
    """Tell the format of an image, an audio or a video file by its first bytes.

    Returns:
        such as "image/png"; m4a files, which share their signature with mp4, are told by their brand.

    Raises:
        ValueError: none of the formats known here.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] in _RIFF_KINDS:
        return _RIFF_KINDS[data[8:12]]
    if data[4:8] == b"ftyp":
        return "audio/m4a" if data[8:11] == b"M4A" else "video/mp4"
    raise ValueError("bytes of an unknown media format; pass a data URL: 'data:<type>/<format>;base64,...'")


def to_wire(value: Any) -> Any:
    """Give a value with every `bytes` in it, also inside lists and mappings, replaced by a data URL.

    Raises:
        ValueError: bytes of an unknown media format.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"
    if isinstance(value, Mapping):
        return {name: to_wire(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    return value
