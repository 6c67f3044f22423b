"""The kinds of media, and the one way of a file through the rules of its parameter."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from schemas.media import scan
from schemas.media.limits import VIDEO_FORMATS
from schemas.media.rules import AudioRules, ImageRules, VideoRules
from schemas.media.source import Source, data_url, read_source

Rules = ImageRules | AudioRules | VideoRules
RULES: Mapping[str, type[Rules]] = {"image": ImageRules, "audio": AudioRules, "video": VideoRules}
"""Kind -> its rules; the module `schemas.media.<kind>` has its `convert` and `format_of`."""

UNKNOWN = "application/octet-stream"
"""Media type of a file that nothing is known of."""
MEDIA_TYPES = {
    ("audio", "mkv"): "audio/matroska",
    ("audio", "mov"): "audio/mp4",
    ("audio", "mp3"): "audio/mpeg",
    ("video", "mkv"): "video/matroska",
    ("video", "mov"): "video/quicktime",
}
"""Media types of formats that are called otherwise here."""


def media_type(data: bytes, kind: str | None = None) -> str | None:
    """Tell the media type of a file, as HTTP knows it, by its first bytes.

    Args:
        data: the file, or 64 kB of its beginning.
        kind: key of `RULES`; default: whatever the bytes tell.

    Returns:
        Such as "image/png"; None: it is no such file as is known here.
    """
    if kind in (None, "image") and (image := scan.image_format(data)):
        return f"image/{image}"
    containers = importlib.import_module("schemas.media.containers")  # now: numpy takes time to import
    found = containers.sniff(data) if kind != "image" else None
    if found is None:
        return None
    sound_only = found not in VIDEO_FORMATS or data[8:12] == b"M4A "
    kind = kind or ("audio" if sound_only else "video")
    return MEDIA_TYPES.get((kind, found), f"{kind}/{found}")


def fitted(value: Source, kind: str, rules: Rules) -> str:
    """Give a file as the rules want it.

    Args:
        value: a data URL, plain base64, bytes, or why there is no file.
        kind: key of `RULES`.
        rules: of this kind.

    Returns:
        A data URL; the very same one, if the file fits as it is and is called by its right name.

    Raises:
        MediaError: with all that is wrong.
    """
    codec = importlib.import_module(f"schemas.media.{kind}")  # now: Pillow and PyAV take time to import
    source = read_source(value, rules.limits.max_bytes)
    data = codec.convert(source, rules)
    media_type = f"{kind}/{codec.format_of(data)}"
    if data is source and isinstance(value, str) and value.startswith(f"data:{media_type};base64,"):
        return value
    return data_url(data, media_type)
