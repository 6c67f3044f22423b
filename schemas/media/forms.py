"""What an endpoint file says of an output: how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.media.attributes import Pair, read_pair, read_word
from schemas.media.rules import (
    AUDIO_CODEC_WORDS,
    AUDIO_FORMAT_WORDS,
    COLOR_WORDS,
    STORABLE,
    VIDEO_CODEC_WORDS,
    VIDEO_FORMAT_WORDS,
)
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


@dataclass(frozen=True)
class AudioForm:
    """How a sound is written.

    Attributes:
        format: of the values of `AUDIO_FORMAT_WORDS`; None: that of the file which the model gives, else WAV.
        audio_codec: of the values of `AUDIO_CODEC_WORDS`; None: the usual one of the format.
        sample_rate: in Hz, also of samples that come without a rate; None: that of the sound.
        channels: their number; None: those of the sound.
        sample_bit_depth: bits of a sample, where the codec has any; None: 16, or what a file has.
        audio_bit_rate: in bit/s, where the codec compresses with loss; None: the codec's own.
    """

    format: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    sample_bit_depth: int | None = None
    audio_bit_rate: int | None = None

    @classmethod
    def read(cls, table: Table) -> AudioForm:
        """Read an output's table; the common keys are left to the caller."""
        return cls(
            format=_read_word(table, "format", AUDIO_FORMAT_WORDS),
            audio_codec=_read_word(table, "audio_codec", AUDIO_CODEC_WORDS),
            sample_rate=table.integer("sample_rate", at_least=1),
            channels=table.integer("channels", at_least=1),
            sample_bit_depth=table.integer("sample_bit_depth", at_least=1),
            audio_bit_rate=table.integer("audio_bit_rate", at_least=1),
        )


@dataclass(frozen=True)
class VideoForm:
    """How a video is written; its sound as `AudioForm` says.

    Attributes:
        format: of the values of `VIDEO_FORMAT_WORDS`; None: that of the file which the model gives, else MP4.
        video_codec: of the values of `VIDEO_CODEC_WORDS`; None: the usual one of the format.
        size: width and height, in pixels, that larger frames are shrunk into; None: they are left alone.
        frame_rate: frames in a second, also of frames that come without a rate; None: that of the video.
        video_bit_rate: in bit/s; None: what a good quality takes.
        sample_rate: of samples that come without a rate, in Hz.
    """

    format: str | None = None
    video_codec: str | None = None
    size: Pair | None = None
    frame_rate: float | None = None
    video_bit_rate: int | None = None
    sample_rate: int | None = None

    @classmethod
    def read(cls, table: Table) -> VideoForm:
        """Read an output's table; the common keys are left to the caller."""
        return cls(
            format=_read_word(table, "format", VIDEO_FORMAT_WORDS),
            video_codec=_read_word(table, "video_codec", VIDEO_CODEC_WORDS),
            size=read_pair(table, "size", table.take("size")),
            frame_rate=table.number("frame_rate", above=0),
            video_bit_rate=table.integer("video_bit_rate", at_least=1),
            sample_rate=table.integer("sample_rate", at_least=1),
        )


Form = ImageForm | AudioForm | VideoForm
FORMS: Mapping[str, type[Form]] = {"image": ImageForm, "audio": AudioForm, "video": VideoForm}
"""Kind -> its form; the module `schemas.media.<kind>out` has its `url`."""


def _read_word(table: Table, key: str, known: Mapping[str, str]) -> str | None:
    word = table.take(key)
    return None if word is None else read_word(table, key, word, known)


def _read_names(table: Table) -> tuple[str, ...]:
    names = table.take("metadata") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        table.report("metadata", "must be a list of names")
        return ()
    return tuple(names)
