"""The kinds of media, and the one way of a file through the rules of its parameter."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from schemas.media.rules import AudioRules, ImageRules, VideoRules
from schemas.media.source import Source, data_url, read_source

Rules = ImageRules | AudioRules | VideoRules
RULES: Mapping[str, type[Rules]] = {"image": ImageRules, "audio": AudioRules, "video": VideoRules}
"""Kind -> its rules; the module `schemas.media.<kind>` has its `convert` and `format_of`."""


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
