"""Sound that a model gives, as its endpoint file wants it sent."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from schemas.media.attributes import Choice, Range
from schemas.media.audio import MUXERS, WRITTEN, convert, format_of
from schemas.media.avio import damage_found
from schemas.media.containers import FASTEST_SAMPLING, MOST_CHANNELS
from schemas.media.errors import MediaError
from schemas.media.forms import AudioForm
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules
from schemas.media.sound import SoundInfo, sound_of_array, written
from schemas.media.soundplan import plan_sound
from schemas.media.source import data_url, read_file
from schemas.values import type_name

FORMAT = "wav"
"""Of samples, when the endpoint file names none."""
LOUDEST = 2.0
"""Of floats: what is a little over 1 is clipped, far more is a mistake."""
Samples = np.ndarray[Any, np.dtype[Any]]
_NO_LIMITS = MediaLimits(max_bytes=sys.maxsize, max_seconds=sys.maxsize)


def url(value: Any, form: AudioForm) -> str:
    """Give a sound as a data URL; see `encode`."""
    data = encode(value, form)
    return data_url(data, f"audio/{format_of(data)}")


def encode(value: Any, form: AudioForm) -> bytes:
    """Give a sound as a file.

    Args:
        value: samples as an array, floats between -1 and 1 or integers of 16 or 32 bits, of shape (n,),
            (channels, n) or (n, channels): the shorter axis are the channels; or `(array, rate)`; or a
            `pydub.AudioSegment`; or a file, as bytes or open, which passes as it is if it is as wanted.
        form: what the endpoint file says of this output. Samples without a rate have that of the form.

    Raises:
        MediaError: it is nothing of these, there is no rate, or the format cannot hold it.
    """
    rules = _rules(form)
    file = read_file(value)
    if file is not None:
        return convert(file, rules)
    samples, rate = as_samples(value, form.sample_rate)
    format = form.format or FORMAT
    problems: list[str] = []
    have = SoundInfo("", rate, samples.shape[0], None, 0)
    wanted = plan_sound(have, WRITTEN[format], rules, problems, keep=False)
    MediaError.raise_if(problems)
    assert wanted is not None
    with damage_found():
        return written(MUXERS[format], wanted, sound_of_array(samples, rate, wanted))


def as_samples(value: Any, rate: int | None) -> tuple[Samples, int]:
    """Give samples as float32, int16 or int32 of shape (channels, n), and their rate in Hz.

    Args:
        value: see `encode`; no file.
        rate: of samples that come without one.

    Raises:
        MediaError: it is nothing of these, or has no rate.
    """
    if hasattr(value, "get_array_of_samples"):  # pydub's, whose integers have 8, 16 or 32 bits
        array = np.array(value.get_array_of_samples()).reshape(-1, value.channels)
        value, rate = (array.astype(np.int16) << 8 if array.itemsize == 1 else array), value.frame_rate
    elif isinstance(value, tuple) and len(value) == 2:
        value, rate = value
    if rate is None:
        raise MediaError("has no sample rate: declare one for this output, or give (samples, rate)")
    if not isinstance(rate, int | np.integer) or not 1 <= rate <= FASTEST_SAMPLING:
        raise MediaError(f"has a sample rate of {rate} Hz: it must be 1 to {FASTEST_SAMPLING} Hz")
    return _checked(value), int(rate)


def _checked(value: Any) -> Samples:
    if not hasattr(value, "__array__"):
        wanted = "an array, (array, rate), bytes, a file or a string (a data URL)"
        raise MediaError(f"must be {wanted}, not {type_name(value)}")
    samples = np.atleast_2d(np.asarray(value))
    if not samples.size:
        raise MediaError("holds no samples")
    if samples.ndim != 2:
        raise MediaError(
            f"is an array of shape {samples.shape}: sound has (n,), (channels, n) or (n, channels)"
        )
    samples = samples.T if samples.shape[0] > samples.shape[1] else samples
    if samples.shape[0] > MOST_CHANNELS:
        raise MediaError(f"has {samples.shape[0]} channels: at most {MOST_CHANNELS} allowed")
    if samples.dtype.name in ("int16", "int32"):
        return samples
    if samples.dtype.kind != "f":
        raise MediaError(f"is an array of {samples.dtype}: it must be floats from -1 to 1, int16 or int32")
    samples = samples.astype(np.float32)
    loudest = float(np.abs(samples).max())
    if not loudest <= LOUDEST:  # NaN is not, either
        raise MediaError(f"holds samples of {loudest:g}: floats must lie between -1 and 1")
    return samples


def _rules(form: AudioForm) -> AudioRules:
    def word(wanted: str | None) -> Choice:
        return Choice((wanted,) if wanted else (), auto_convert=True)

    def number(wanted: int | None) -> Range:
        return Range((wanted,) if wanted else (), auto_convert=True)

    return AudioRules(
        format=word(form.format),
        audio_codec=word(form.audio_codec),
        sample_rate=number(form.sample_rate),
        channels=number(form.channels),
        sample_bit_depth=number(form.sample_bit_depth),
        audio_bit_rate=number(form.audio_bit_rate),
        limits=_NO_LIMITS,
    )
