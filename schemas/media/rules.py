"""What an endpoint file says of an image, a sound or a video: one value for each type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.media.attributes import Choice, Range, Size
from schemas.media.limits import AUDIO_FORMATS, IMAGE_FORMATS, VIDEO_FORMATS, MediaLimits
from schemas.tables import Table

AIMES_TOOLS = ("input_temp_file", "output_temp_file", "check_conversion")
"""AIME's keys about how it calls ffmpeg; nothing here needs them."""
RESIZE_METHODS = ("scale", "crop")


def _words(*words: str, **aliases: str) -> Mapping[str, str]:
    return {**dict(zip(words, words, strict=True)), **aliases}


IMAGE_FORMAT_WORDS = _words(*IMAGE_FORMATS, jpg="jpeg", tif="tiff")
AUDIO_FORMAT_WORDS = _words(*AUDIO_FORMATS, mpeg="mp3", opus="ogg", mp4="m4a", aac="m4a")
VIDEO_FORMAT_WORDS = _words(*VIDEO_FORMATS, matroska="mkv", quicktime="mov")
AUDIO_CODEC_WORDS = _words(
    "pcm_u8",
    "pcm_s16le",
    "pcm_s24le",
    "pcm_s32le",
    "pcm_f32le",
    "pcm_f64le",
    "mp3",
    "aac",
    "opus",
    "vorbis",
    "flac",
)
VIDEO_CODEC_WORDS = _words("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", h265="hevc", avc="h264")
COLOR_WORDS = _words(
    "rgb", "rgba", "gray", "gray_alpha", "monochrome", "palette",
    bgr="rgb", gbr="rgb", yuv="rgb", yuva="rgba", gbr_alpha="rgba", alpha="gray_alpha", grey="gray",
)  # fmt: skip
"""AIME's words -> what they mean here: how a file stores its colors is a matter of its format."""
STORABLE: Mapping[str, tuple[str, ...]] = {
    "jpeg": ("rgb", "gray"),
    "png": ("rgb", "rgba", "gray", "gray_alpha", "palette", "monochrome"),
    "webp": ("rgb", "rgba"),
    "gif": ("palette",),
    "bmp": ("rgb", "gray", "monochrome"),
    "tiff": ("rgb", "rgba", "gray", "gray_alpha", "palette", "monochrome"),
}
"""Color spaces that an image of each format can be given here."""
ANIMATED = ("gif", "png", "webp", "tiff")
"""Formats that can hold several frames."""


@dataclass(frozen=True)
class ImageRules:
    """What an image must be for the model.

    Attributes:
        format: of `IMAGE_FORMATS`.
        color_space: what its pixels are, of the values of `COLOR_WORDS`.
        size: of the upright image.
        resize_method: of `RESIZE_METHODS`, where a new size has another ratio.
        frames: 1 for a still; what is over the maximum is cut off with `auto_convert`.
        limits: of the file as it comes.
    """

    format: Choice = Choice()
    color_space: Choice = Choice()
    size: Size = Size()
    resize_method: str = "scale"
    frames: Range = Range(maximum=1)
    limits: MediaLimits = MediaLimits()

    @classmethod
    def read(cls, table: Table, limits: MediaLimits) -> ImageRules:
        """Read a parameter's table; the common keys of parameters are left to the caller."""
        auto_convert = table.flag("auto_convert")
        format = Choice.read(table.table("format"), IMAGE_FORMAT_WORDS, auto_convert)
        color_space = Choice.read(table.table("color_space"), COLOR_WORDS, auto_convert)
        storable = {space for word in format.supported or IMAGE_FORMATS for space in STORABLE[word]}
        if color_space.supported and storable.isdisjoint(color_space.supported):
            table.report("color_space", "none of these can be stored in any of the supported formats")
        return cls(
            format=format,
            color_space=color_space,
            size=Size.read(table.table("size"), auto_convert),
            resize_method=_read_resize_method(table),
            frames=_read_frames(table, auto_convert),
            limits=_read_limits(table, limits),
        )


@dataclass(frozen=True)
class AudioRules:
    """What a sound must be for the model.

    Attributes:
        format: of `AUDIO_FORMATS`.
        audio_codec: of the values of `AUDIO_CODEC_WORDS`.
        sample_rate: in Hz.
        channels: their number.
        sample_bit_depth: 8, 16, 32 or 64 bits.
        audio_bit_rate: in bit/s.
        duration: in seconds; what is over the maximum is cut off with `auto_convert`.
        limits: of the file as it comes.
    """

    format: Choice = Choice()
    audio_codec: Choice = Choice()
    sample_rate: Range = Range()
    channels: Range = Range()
    sample_bit_depth: Range = Range()
    audio_bit_rate: Range = Range()
    duration: Range = Range()
    limits: MediaLimits = MediaLimits()

    @classmethod
    def read(cls, table: Table, limits: MediaLimits) -> AudioRules:
        """Read a parameter's table; the common keys of parameters are left to the caller."""
        auto_convert = table.flag("auto_convert")
        return cls(
            format=Choice.read(table.table("format"), AUDIO_FORMAT_WORDS, auto_convert),
            audio_codec=Choice.read(table.table("audio_codec"), AUDIO_CODEC_WORDS, auto_convert),
            sample_rate=Range.read(table.table("sample_rate"), auto_convert),
            channels=Range.read(table.table("channels"), auto_convert),
            sample_bit_depth=Range.read(table.table("sample_bit_depth"), auto_convert),
            audio_bit_rate=Range.read(table.table("audio_bit_rate"), auto_convert),
            duration=Range.read(table.table("duration"), auto_convert, whole=False),
            limits=_read_limits(table, limits),
        )


@dataclass(frozen=True)
class VideoRules:
    """What a video must be for the model; its sound has the rules of `AudioRules`.

    Attributes:
        format: of `VIDEO_FORMATS`.
        video_codec: of the values of `VIDEO_CODEC_WORDS`.
        size: of the upright picture.
        resize_method: of `RESIZE_METHODS`, where a new size has another ratio.
        frame_rate: in 1/s.
        video_bit_rate: in bit/s.
        audio_codec: of the values of `AUDIO_CODEC_WORDS`.
        sample_rate: in Hz.
        channels: their number.
        audio_bit_rate: in bit/s.
        duration: in seconds; what is over the maximum is cut off with `auto_convert`.
        limits: of the file as it comes.
    """

    format: Choice = Choice()
    video_codec: Choice = Choice()
    size: Size = Size()
    resize_method: str = "scale"
    frame_rate: Range = Range()
    video_bit_rate: Range = Range()
    audio_codec: Choice = Choice()
    sample_rate: Range = Range()
    channels: Range = Range()
    audio_bit_rate: Range = Range()
    duration: Range = Range()
    limits: MediaLimits = MediaLimits()

    @classmethod
    def read(cls, table: Table, limits: MediaLimits) -> VideoRules:
        """Read a parameter's table; the common keys of parameters are left to the caller."""
        auto_convert = table.flag("auto_convert")
        # AIME's words, about what the codecs of videos have no choice of.
        Choice.read(table.table("color_space"), COLOR_WORDS)
        table.ignore("sample_bit_depth")
        return cls(
            format=Choice.read(table.table("format"), VIDEO_FORMAT_WORDS, auto_convert),
            video_codec=Choice.read(table.table("video_codec"), VIDEO_CODEC_WORDS, auto_convert),
            size=Size.read(table.table("size"), auto_convert),
            resize_method=_read_resize_method(table),
            frame_rate=Range.read(table.table("frame_rate"), auto_convert, whole=False),
            video_bit_rate=Range.read(table.table("video_bit_rate"), auto_convert),
            audio_codec=Choice.read(table.table("audio_codec"), AUDIO_CODEC_WORDS, auto_convert),
            sample_rate=Range.read(table.table("sample_rate"), auto_convert),
            channels=Range.read(table.table("channels"), auto_convert),
            audio_bit_rate=Range.read(table.table("audio_bit_rate"), auto_convert),
            duration=Range.read(table.table("duration"), auto_convert, whole=False),
            limits=_read_limits(table, limits),
        )


def check_format(format: str, allowed: Sequence[str], problems: list[str]) -> None:
    """Add a sentence to `problems` if the server does not take files of this format."""
    if format not in allowed:
        problems.append(f"format {format} is not allowed on this server: only {', '.join(allowed)}")


def _read_frames(table: Table, auto_convert: bool) -> Range:
    frames = Range.read(table.table("frames"), auto_convert and "frames" in table.values)
    return frames if frames.maximum is not None else Range(maximum=1, auto_convert=frames.auto_convert)


def _read_resize_method(table: Table) -> str:
    method = table.text("resize_method") or RESIZE_METHODS[0]
    if method not in RESIZE_METHODS:
        table.report("resize_method", f'"{method}" is unknown: write "scale" or "crop"')
    return method


def _read_limits(table: Table, limits: MediaLimits) -> MediaLimits:
    table.ignore(*AIMES_TOOLS)
    return limits.tightened(table, "max_bytes", "max_pixels")
