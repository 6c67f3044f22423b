"""Sound: what a file is, how it becomes what a model takes, how what a model gives becomes a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from av.audio import AudioFrame, AudioStream
from av.container import InputContainer
from av.stream import Disposition

from schemas.media.attributes import Choice, Range
from schemas.media.avio import damage_found, in_memory, reading, writing
from schemas.media.containers import FASTEST_SAMPLING, MOST_CHANNELS, MediaFile, inspect
from schemas.media.errors import MediaError
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules, check_format
from schemas.media.sound import (
    SoundForm,
    SoundInfo,
    add_sound,
    sound_info,
    sound_of_array,
    sound_of_file,
    thousands,
    write_sound,
)
from schemas.media.soundplan import plan_seconds, plan_sound

MEDIA_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "webm": "audio/webm",
}
"""Formats that are read and written -> what browsers call them."""
MOST_SAMPLES = 400_000_000
"""Samples of all channels together in one file: an hour in stereo at 48 kHz, and some."""
_WRITTEN = {
    "wav": ("pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    "mp3": ("mp3",),
    "ogg": ("opus",),
    "flac": ("flac",),
    "m4a": ("aac",),
    "webm": ("opus",),
}  # the usual codec first
_MUXERS = {"m4a": "ipod"}
_OWN_LIMITS = MediaLimits(max_bytes=10**9, max_seconds=10 * 3600.0)  # of what models make
_LOUDEST = 2.0  # of floats: what is a little over 1 is clipped, far more is a mistake


@dataclass(frozen=True)
class AudioInfo:
    """What a file of sound is.

    Attributes:
        format: of `MEDIA_TYPES`.
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
        form = plan_sound(have.sound, _WRITTEN[format], rules, problems, keep)
        MediaError.raise_if(problems)
        if form is not None:
            form = replace(form, seconds=seconds)
            return _written(format, form, _checked(source, form))
        if have.format != "wav":  # whose samples have been counted
            for _ in _checked(source):
                pass
        return data


def encode(
    sound: Any,
    *,
    format: str = "wav",
    sample_rate: int | None = None,
    channels: int | None = None,
    sample_bit_depth: int | None = None,
    audio_codec: str | None = None,
    audio_bit_rate: int | None = None,
) -> bytes:
    """Give the sound that a model made as a file.

    Args:
        sound: samples as an array, floats between -1 and 1 or integers of 16 or 32 bits, of shape (n,),
            (channels, n) or (n, channels): the shorter axis are the channels; or `(array, rate)`; or a
            `pydub.AudioSegment`; or a file of sound, as bytes or with a method `read`.
        format: of `MEDIA_TYPES`.
        sample_rate: of the file, in Hz; of the array, too, if it comes without; None: that of the sound.
        channels: of the file; None: those of the sound.
        sample_bit_depth: of the file, where the format has one; None: 16.
        audio_codec: of the file; None: the usual one of the format.
        audio_bit_rate: of the file, in bit/s, where it compresses with loss; None: the codec's own.

    Raises:
        MediaError: there are no samples or no rate, they are no numbers, or the format cannot hold them.
    """
    rules = AudioRules(
        format=_choice(format),
        audio_codec=_choice(audio_codec),
        sample_rate=_range(sample_rate),
        channels=_range(channels),
        sample_bit_depth=_range(sample_bit_depth),
        audio_bit_rate=_range(audio_bit_rate),
        limits=_OWN_LIMITS,
    )
    if hasattr(sound, "read"):
        sound = sound.read()
    if isinstance(sound, (bytes, bytearray, memoryview)):
        return convert(bytes(sound), rules)
    samples, rate = _samples(sound, sample_rate)
    have = SoundInfo("", rate, samples.shape[0], None, 0)
    problems: list[str] = []
    form = plan_sound(have, _WRITTEN[format], rules, problems, keep=False)
    MediaError.raise_if(problems)
    assert form is not None
    with damage_found():
        return _written(format, form, sound_of_array(samples, rate, form))


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
    format = {"mp4": "m4a", "mov": "m4a"}.get(file.format, file.format)
    problems: list[str] = []
    check_format(format, limits.audio_formats, problems)
    MediaError.raise_if(problems)
    with in_memory(file) as descriptor, damage_found():
        with reading(file, descriptor) as container:
            stream = _only_sound(container)
            index, seconds = stream.index, _promised(file, container, stream)
            sound = sound_info(stream, file)
        longest = min(limits.max_seconds, MOST_SAMPLES / (sound.sample_rate * sound.channels))
        source = _Source(file, descriptor, index, AudioInfo(format, sound, seconds), longest)
        if not seconds:
            seconds = sum(frame.samples for frame in _checked(source)) / sound.sample_rate
        if seconds > longest:
            raise _too_long(seconds, longest)
        if not file.is_whole:
            raise MediaError("is cut off: a part of what its header promises is missing")
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
    return MediaError(f"its duration of {seconds:.1f} s is too long: at most {longest:.1f} s are allowed")


def _written(format: str, form: SoundForm, frames: Iterator[AudioFrame]) -> bytes:
    with writing(_MUXERS.get(format, format)) as writer:
        write_sound(add_sound(writer, form), frames, writer)
    return writer.content


def _samples(sound: Any, sample_rate: int | None) -> tuple[np.ndarray[Any, Any], int]:
    """Give samples as float32, int16 or int32 of shape (channels, n), and their rate in Hz."""
    if hasattr(sound, "get_array_of_samples"):  # pydub's, whose samples are integers of 8, 16 or 32 bits
        samples = np.array(sound.get_array_of_samples()).reshape(-1, sound.channels)
        sound, sample_rate = (
            (samples.astype(np.int16) << 8 if samples.itemsize == 1 else samples),
            sound.frame_rate,
        )
    elif isinstance(sound, tuple):
        sound, sample_rate = sound
    if sample_rate is None:
        raise MediaError("has no sample rate: declare one for the output, or give (samples, rate)")
    if not 1 <= sample_rate <= FASTEST_SAMPLING:
        raise MediaError(f"its sample rate of {sample_rate} Hz is not between 1 and {FASTEST_SAMPLING} Hz")
    if hasattr(sound, "detach"):  # torch's, from any device and of any type
        sound = sound.detach().cpu()
        sound = (sound.float() if sound.is_floating_point() else sound).numpy()
    samples = np.atleast_2d(np.asarray(sound))
    if samples.ndim != 2 or not samples.size:
        raise MediaError(f"is an array of shape {samples.shape}: expected samples, or channels and samples")
    samples = samples.T if samples.shape[0] > samples.shape[1] else samples
    if samples.shape[0] > MOST_CHANNELS:
        raise MediaError(
            f"its number of channels of {samples.shape[0]} is too high: at most {MOST_CHANNELS} allowed"
        )
    if samples.dtype.name in ("int16", "int32"):
        return samples, int(sample_rate)
    if samples.dtype.kind != "f":
        raise MediaError(f"is an array of {samples.dtype}: expected floats between -1 and 1, int16 or int32")
    samples = samples.astype(np.float32)
    loudest = float(np.abs(samples).max())
    if not loudest <= _LOUDEST:  # NaN is not, either
        raise MediaError(f"holds samples of {loudest:g}: expected floats between -1 and 1")
    return samples, int(sample_rate)


def _choice(word: str | None) -> Choice:
    return Choice(supported=(word,), auto_convert=True) if word else Choice()


def _range(number: int | None) -> Range:
    return Range(supported=(number,), auto_convert=True) if number is not None else Range()
