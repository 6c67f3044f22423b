"""What an endpoint file says of an output: how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.media.attributes import Pair, read_pair, read_word
from schemas.media.rules import COLOR_WORDS, STORABLE
from schemas.tables import Table

IMAGE_FORMATS = {"jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp", "gif": "gif"}
"""Formats of outputs, by their words in endpoint files."""


@dataclass(frozen=True)
class ImageForm:
    """How an image is written.

    Attributes:
        format: of the values of `IMAGE_FORMATS`; None: that of the file which the model gives, else PNG.
        color_space: of the values of `COLOR_WORDS`; None: the image's own, if the format can store it.
        size: width and height, in pixels, that a larger image is shrunk into; None: it is left as it is.
        quality: of JPEG and lossy WEBP, 1 to 100.
        metadata: keys of a Pillow image's `info` that are written into the file.
    """

    format: str | None = None
    color_space: str | None = None
    size: Pair | None = None
    quality: int = 90
    metadata: tuple[str, ...] = ()

    @classmethod
    def read(cls, table: Table) -> ImageForm:
        """Read an output's table; the common keys are left to the caller."""
        form = cls(
            format=_read_word(table, "format", IMAGE_FORMATS),
            color_space=_read_word(table, "color_space", COLOR_WORDS),
            size=read_pair(table, "size", table.take("size")),
            quality=table.integer("quality", default=cls.quality, at_least=1) or cls.quality,
            metadata=_read_names(table),
        )
        if form.quality > 100:
            table.report("quality", "is too high: at most 100")
        if form.format and form.color_space and form.color_space not in STORABLE[form.format]:
            table.report("color_space", f"cannot be stored as {form.format}")
        return form


def _read_word(table: Table, key: str, known: Mapping[str, str]) -> str | None:
    word = table.take(key)
    return None if word is None else read_word(table, key, word, known)


def _read_names(table: Table) -> tuple[str, ...]:
    names = table.take("metadata") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        table.report("metadata", "must be a list of names")
        return ()
    return tuple(names)
