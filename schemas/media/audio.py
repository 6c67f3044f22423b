"""Sound: what a file is, how it becomes what a model takes, how what a model gives becomes a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import av
from av.audio import AudioFrame, AudioStream
from av.container import InputContainer
from av.stream import Disposition

from schemas.media.avio import check_packets, damage_found, in_memory, reading
from schemas.media.containers import CUT_OFF, MediaFile, inspect, sniff
from schemas.media.errors import MediaError
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules, check_format
from schemas.media.sound import (
    SoundForm,
    SoundInfo,
    sound_info,
    sound_of_file,
    thousands,
    written,
)
from schemas.media.soundplan import plan_seconds, plan_sound

WRITTEN = {
    "wav": ("pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    "mp3": ("mp3",),
    "ogg": ("opus",),
    "flac": ("flac",),
    "m4a": ("aac",),
    "webm": ("opus",),
}
"""Formats that are read and written -> codecs that are written, the usual one first."""
MUXERS = {format: {"m4a": "ipod"}.get(format, format) for format in WRITTEN}
"""FFmpeg's names of the formats."""
MOST_SAMPLES = 400_000_000
"""Samples of all channels together in one file: an hour in stereo at 48 kHz, and some."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file of sound is.

    Attributes:
        format: of `WRITTEN`.
        sound: codec, sample rate, channels, bits of a sample, bit rate.
        duration: in seconds.
    """

    format: str
    sound: SoundInfo
    duration: float


def probe(data: bytes, limits: MediaLimits | None = None) -> AudioInfo:
    """Tell what a file of sound is, by its header; only where that tells no duration, it is decoded.

    Raises:
        MediaError: it is no sound, damaged, or breaks a limit.
    """
    with _opened(data, limits or MediaLimits()) as source:
        return source.info


def format_of(data: bytes) -> str | None:
    """Tell the format of a sound by its first bytes; None: it is of none that is known here."""
    found = sniff(data)
    return "m4a" if found in ("mp4", "mov") else found


def convert(data: bytes, rules: AudioRules) -> bytes:
    """Give a file of sound as the model takes it.

    Args:
        data: a WAV, MP3, OGG, FLAC, M4A or WEBM file.
        rules: what the model takes.

    Returns:
        The same bytes if they keep the rules.

    Raises:
        MediaError: it is no sound, damaged, breaks a limit, or breaks the rules and may not be converted.
    """
    with _opened(data, rules.limits) as source:
        have = source.info
        problems: list[str] = []
        format = rules.format.fit(have.format, "format", problems)
        seconds = plan_seconds(have.duration, rules.duration, problems)
        keep = format == have.format and seconds is None
        form = plan_sound(have.sound, WRITTEN[format], rules, problems, keep)
        MediaError.raise_if(problems)
        if form is not None:
            form = replace(form, seconds=seconds)
            return written(MUXERS[format], form, _checked(source, form))
        if have.format != "wav":  # whose samples have been counted
            for _ in _checked(source):
                pass
        return data


@dataclass(frozen=True)
class _Source:
    """A file of sound that was opened and checked."""

    file: MediaFile
    descriptor: int
    stream: int  # its index
    info: AudioInfo
    longest: float  # seconds


@contextmanager
def _opened(data: bytes, limits: MediaLimits) -> Iterator[_Source]:
    """Check the header of a file; what FFmpeg finds wrong within the block is a MediaError."""
    file = inspect(data)
    format, problems = str(format_of(data)), list[str]()
    check_format(format, limits.audio_formats, problems)
    MediaError.raise_if(problems)
    with in_memory(file) as descriptor, damage_found():
        with reading(file, descriptor) as container:
            stream = _only_sound(container)
            index, seconds = stream.index, _promised(file, container, stream)
            sound = sound_info(stream, file)
            check_packets(container, stream, file)
        longest = min(limits.max_seconds, MOST_SAMPLES / (sound.sample_rate * sound.channels))
        source = _Source(file, descriptor, index, AudioInfo(format, sound, seconds), longest)
        if not seconds:
            seconds = sum(frame.samples for frame in _checked(source)) / sound.sample_rate
        if seconds > longest:
            raise _too_long(seconds, longest)
        if not file.is_whole:
            raise MediaError(CUT_OFF)
        bit_rate = sound.bit_rate or thousands(len(data) * 8 / seconds)
        yield replace(source, info=AudioInfo(format, replace(sound, bit_rate=bit_rate), seconds))


def _only_sound(container: InputContainer) -> AudioStream:
    """Give the sound of a file in which is nothing else but pictures of its cover."""
    if any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video):
        raise MediaError("is a video: only sound is taken")
    if not container.streams.audio:
        raise MediaError("holds no sound")
    return container.streams.audio[0]


def _promised(file: MediaFile, container: InputContainer, stream: AudioStream) -> float:
    """Give the duration by the header, in seconds; 0: it tells none."""
    if file.seconds is not None:
        return file.seconds
    if not file.tells_length:
        return 0.0
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0, container.duration or 0) / av.time_base


def _checked(source: _Source, form: SoundForm | None = None) -> Iterator[AudioFrame]:
    """Decode a file.

    Raises:
        MediaError: it is damaged, or not as long as its header promises.
    """
    samples = 0
    rate = form.sample_rate if form else source.info.sound.sample_rate
    promised = source.info.duration
    slack = 0.5 + promised / 100
    for frame in sound_of_file(source.file, source.descriptor, source.stream, form):
        samples += frame.samples
        if promised and samples > (promised + slack) * rate:
            raise MediaError("is damaged: it is longer than its header says")
        if samples > source.longest * rate:
            raise _too_long(samples / rate, source.longest)
        yield frame
    is_cut = form is not None and form.seconds is not None
    if not samples or (not is_cut and samples < (promised - slack) * rate):
        raise MediaError(
            f"is cut off: of {promised:.1f} s that its header promises {samples / rate:.1f} s are there"
        )


def _too_long(seconds: float, longest: float) -> MediaError:
    return MediaError(f"its duration of {seconds:.1f} s is too long: at most {longest:g} s allowed")
