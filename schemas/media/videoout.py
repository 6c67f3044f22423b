"""Video that a model gives, as its endpoint file wants it sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from av.audio import AudioFrame
from av.video import VideoFrame

from schemas.media.arrays import as_pixels
from schemas.media.attributes import Choice, Range, Size
from schemas.media.audioout import as_samples
from schemas.media.avio import damage_found
from schemas.media.errors import MediaError
from schemas.media.forms import VideoForm
from schemas.media.limits import MediaLimits
from schemas.media.pictures import in_colors_of, paced, shaped, turned
from schemas.media.rules import VideoRules
from schemas.media.sound import SoundInfo, sound_of_array
from schemas.media.soundplan import plan_sound
from schemas.media.source import data_url, read_file
from schemas.media.video import SOUNDS, VideoPlan, convert, format_of, plan_pictures, written
from schemas.media.videoinfo import VideoInfo
from schemas.values import shown, type_name

FORMAT = "mp4"
"""Of frames, when the endpoint file names none."""
FASTEST = 240
"""Frames in a second."""
_KEYS = ("frames", "frame_rate", "sound", "sample_rate")
_NO_LIMITS = MediaLimits(
    max_bytes=sys.maxsize,
    max_pixels=sys.maxsize,
    max_side=sys.maxsize,
    max_frames=sys.maxsize,
    max_seconds=sys.maxsize,
)


def url(value: Any, form: VideoForm) -> str:
    """Give a video as a data URL; see `encode`."""
    data = encode(value, form)
    return data_url(data, f"video/{format_of(data)}")


def encode(value: Any, form: VideoForm) -> bytes:
    """Give a video as a file.

    Args:
        value: frames, in any iterable or as one array: images of Pillow, or arrays of HxW, HxWx3 or HxWx4
            uint8, or floats from 0 to 1. Or an object of `frames` and, if need be, `frame_rate`, `sound` and
            `sample_rate`; the sound is one that `audioout.encode` takes, but no file. Or a file, as bytes or
            open, which passes as it is if it is as wanted.
        form: what the endpoint file says of this output. Frames without a rate have that of the form.

    Raises:
        MediaError: it is nothing of these, there is no rate, or the format cannot hold it.
    """
    file = read_file(value)
    if file is not None:
        return convert(file, _rules(form))
    parts = value if isinstance(value, Mapping) else {"frames": value}
    if unknown := [key for key in parts if key not in _KEYS]:
        raise MediaError(f"has {', '.join(map(str, unknown))}: only {', '.join(_KEYS)} may stand there")
    rate = _rate(parts.get("frame_rate", form.frame_rate))
    frames = _frames(parts.get("frames"), rate)
    first = next(frames, None)
    if first is None:
        raise MediaError("holds no frames")
    rules, problems = _rules(form), list[str]()
    format, size = form.format or FORMAT, rules.size.fit(turned(first), [])
    wanted = VideoInfo(format, "", size, _rate(form.frame_rate or rate), 0, 0.0, 0, None)
    pictures = in_colors_of(first, plan_pictures(wanted, rules, problems))
    sound: Iterator[AudioFrame] = iter(())
    heard = None
    if parts.get("sound") is not None:
        samples, hertz = as_samples(parts["sound"], parts.get("sample_rate", form.sample_rate))
        have = SoundInfo("", hertz, samples.shape[0], None, 0)
        heard = plan_sound(have, SOUNDS[format], rules, problems, keep=False)
        sound = sound_of_array(samples, hertz, heard) if heard else sound
    MediaError.raise_if(problems)
    plan = VideoPlan(format, pictures, heard)
    with damage_found():
        seen = paced(chain((first,), frames), rate, pictures, 0.0, sys.maxsize)
        return written(plan, shaped(seen, pictures), sound)


def _rate(value: Any) -> Fraction:
    if value is None:
        wanted = '{"frames": ..., "frame_rate": ...}'
        raise MediaError(f"has no frame rate: declare one for this output, or give {wanted}")
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction) or not 0 < value <= FASTEST:
        raise MediaError(f"has a frame rate of {shown(value)}: it must be above 0, and {FASTEST} at most")
    return Fraction(value).limit_denominator(1001)


def _frames(values: Any, rate: Fraction) -> Iterator[VideoFrame]:
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise MediaError(f"must be frames, bytes, a file or a string (a data URL), not {type_name(values)}")
    for number, value in enumerate(values):
        pixels = np.asarray(value.convert("RGB")) if hasattr(value, "convert") else as_pixels(value)
        pixels = pixels[:, :, :3] if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        yield frame


def _rules(form: VideoForm) -> VideoRules:
    def word(wanted: str | None) -> Choice:
        return Choice((wanted,) if wanted else (), auto_convert=True)

    def number(wanted: float | None) -> Range:
        return Range((wanted,) if wanted else (), auto_convert=True)

    return VideoRules(
        format=word(form.format),
        video_codec=word(form.video_codec),
        size=Size(maximum=form.size, keep_aspect_ratio=True, auto_convert=True),
        frame_rate=number(form.frame_rate),
        video_bit_rate=number(form.video_bit_rate),
        limits=_NO_LIMITS,
    )
