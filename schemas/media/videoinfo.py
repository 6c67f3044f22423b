"""What a video is: told by its header, checked against its packets and its first frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

import av
from av.audio import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video import VideoFrame, VideoStream

from schemas.media.attributes import Pair
from schemas.media.avio import PICTURE_CODECS, damage_found, in_memory, packets, reading
from schemas.media.containers import MediaFile, inspect
from schemas.media.errors import MediaError
from schemas.media.limits import VIDEO_FORMATS, MediaLimits
from schemas.media.pictures import decoded, turned
from schemas.media.rules import check_format
from schemas.media.sound import SoundInfo, sound_info, thousands

LARGEST_PICTURE = 4096 * 2304
"""Pixels of a frame: a decoder keeps up to 17 of them."""
_USUAL_RATE = Fraction(25)
_FASTEST = 240  # frames in a second
_SLACK = 0.5  # s


@dataclass(frozen=True)
class VideoInfo:
    """What a video is.

    Attributes:
        format: mp4, mov, webm or mkv.
        codec: FFmpeg's name: "h264", "vp9".
        size: width and height in pixels, upright.
        frame_rate: frames in a second.
        frames: their number.
        duration: in seconds, of pictures and sound together.
        bit_rate: of the pictures, in bit/s, rounded to thousands.
        sound: None: it has none.
    """

    format: str
    codec: str
    size: Pair
    frame_rate: Fraction
    frames: int
    duration: float
    bit_rate: int
    sound: SoundInfo | None


@dataclass(frozen=True)
class VideoSource:
    """A video that was opened and checked.

    Attributes:
        file: the file.
        descriptor: where it lies.
        pictures: which of its streams of pictures it is.
        sound: index of the stream of sound; -1: there is none.
        start: time at which it begins, in s.
        max_pixels: the largest picture that may be decoded.
        first: its first frame.
        info: what it is.
    """

    file: MediaFile
    descriptor: int
    pictures: int
    sound: int
    start: float
    max_pixels: int
    first: VideoFrame
    info: VideoInfo


def largest(limits: MediaLimits) -> int:
    """Give how many pixels a frame may have."""
    return min(limits.max_pixels, LARGEST_PICTURE)


@contextmanager
def opened(data: bytes, limits: MediaLimits) -> Iterator[VideoSource]:
    """Check a video; what FFmpeg finds wrong with it within the block is a MediaError.

    Raises:
        MediaError: it is no video, damaged, or breaks a limit.
    """
    file = inspect(data)
    problems: list[str] = []
    if file.format not in VIDEO_FORMATS:
        raise MediaError(f"is a sound ({file.format}): only videos are taken, as {', '.join(VIDEO_FORMATS)}")
    check_format(file.format, limits.video_formats, problems)
    MediaError.raise_if(problems)
    max_pixels = largest(limits)
    with in_memory(file) as descriptor, damage_found():
        with reading(file, descriptor, max_pixels) as container:
            stream, track = _streams(container)
            _check_header(container, stream, limits)
            sound = sound_info(track, file) if track else None
            seen = _look_through(container, stream, track, file, limits)
            codec = stream.codec_context.codec.canonical_name
            number, heard = container.streams.video.index(stream), track.index if track else -1
        with reading(file, descriptor, max_pixels) as container:
            stream = container.streams.video[number]
            frame = next(decoded(container, stream, max_pixels), None)
        if frame is None:
            raise MediaError(
                f"is damaged, or has pictures of more than {max_pixels} pixels: none can be read"
            )
        MediaError.raise_if(_size_problems(turned(frame), limits))
        seconds = seen.end - seen.start
        if sound and not sound.bit_rate:
            sound = replace(sound, bit_rate=thousands(seen.sound_bytes * 8 / seconds))
        info = VideoInfo(
            format=file.format,
            codec=codec,
            size=turned(frame),
            frame_rate=seen.rate,
            frames=seen.frames,
            duration=seconds,
            bit_rate=thousands(seen.bytes * 8 / seconds),
            sound=sound,
        )
        yield VideoSource(file, descriptor, number, heard, seen.start, max_pixels, frame, info)


@dataclass(frozen=True)
class _Seen:
    """What the packets of a video tell."""

    frames: int
    bytes: int  # of its pictures
    sound_bytes: int
    rate: Fraction
    start: float  # s
    end: float


def _streams(container: InputContainer) -> tuple[VideoStream, AudioStream | None]:
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        raise MediaError("holds no pictures that move")
    return pictures[0], container.streams.audio[0] if container.streams.audio else None


def _check_header(container: InputContainer, stream: VideoStream, limits: MediaLimits) -> None:
    context = stream.codec_context
    codec = context.codec.canonical_name if context else "unknown"
    if codec not in PICTURE_CODECS:
        raise MediaError(f"holds pictures of codec {codec}: only {', '.join(PICTURE_CODECS)} are taken")
    problems = _size_problems((context.width, context.height), limits)
    if stream.frames > limits.max_frames:
        problems.append(f"has {stream.frames} frames: at most {limits.max_frames} are allowed")
    seconds = (container.duration or 0) / av.time_base
    if seconds > limits.max_seconds:
        problems.append(_too_long(seconds, limits))
    MediaError.raise_if(problems)


def _size_problems(size: Pair, limits: MediaLimits) -> list[str]:
    width, height = size
    most = largest(limits)
    problems = []
    if max(size) > limits.max_side:
        problems.append(
            f"its size of {width} x {height} pixels is too large: at most {limits.max_side} a side"
        )
    if width * height > most:
        problems.append(f"its size of {width} x {height} pixels is too large: at most {most} pixels in all")
    return problems


def _too_long(seconds: float, limits: MediaLimits) -> str:
    return f"its duration of {seconds:.1f} s is too long: at most {limits.max_seconds:g} s allowed"


def _look_through(
    container: InputContainer,
    stream: VideoStream,
    track: AudioStream | None,
    file: MediaFile,
    limits: MediaLimits,
) -> _Seen:
    """Count what is there: headers may lie.

    Raises:
        MediaError: it breaks a limit, or is cut off.
    """
    promised = (container.duration or 0) / av.time_base
    frames = size = heard = 0
    start, end, first, last = (inf, -inf) * 2
    for packet in packets(container, [stream, track] if track else [stream], file):
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is None or not packet.size or packet.is_discard:
            continue
        time = float(ticks * packet.time_base)
        start, end = min(start, time), max(end, time + float((packet.duration or 0) * packet.time_base))
        if packet.stream_index == stream.index:
            frames, size = frames + 1, size + packet.size
            first, last = min(first, time), max(last, time)
        else:
            heard += packet.size
        if frames > limits.max_frames:
            raise MediaError(f"has too many frames: at most {limits.max_frames} are allowed")
        if end - start > limits.max_seconds:
            raise MediaError(_too_long(end - start, limits))
    if not frames:
        raise MediaError("is damaged: it holds no pictures")
    rate = _rate(stream.average_rate or Fraction(0), frames, last - first)
    end = max(end, last + float(1 / rate))
    if end - start < promised * 0.95 - _SLACK:
        raise MediaError(
            f"is cut off: of {promised:.1f} s that its header promises {end - start:.1f} s are there"
        )
    return _Seen(frames, size, heard, rate, start, end)


def _rate(told: Fraction, frames: int, seconds: float) -> Fraction:
    """Give the frame rate: the header's, if it is true."""
    if frames < 2 or seconds <= 0:
        return told if 0 < told <= _FASTEST else _USUAL_RATE
    seen = (frames - 1) / seconds
    if abs(seen - told) <= 0.02 * seen:
        return told
    return max(Fraction(seen).limit_denominator(1001), Fraction(1, 1001))
