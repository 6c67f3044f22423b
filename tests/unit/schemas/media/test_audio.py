"""Sound: formats in and out, judged by what is heard; bad files, judged by what they cost."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.media import audio, audioout
from schemas.media.attributes import Choice, Range
from schemas.media.errors import MediaError
from schemas.media.forms import AudioForm
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules
from tests.services import ROOT
from tests.unit.schemas.media.av_files import (
    float_wav,
    loudness,
    peak,
    riff,
    samples_of,
    sound_file,
    tone,
    wav,
)

FORMATS = tuple(audio.WRITTEN)
HALF = 0.5 / np.sqrt(2)  # loudness of a sine wave of level 0.5


def to(format: str | None = None, **numbers: int) -> AudioRules:
    """Rules that convert whatever comes to one form."""
    ranges: Any = {name: Range(supported=(number,), auto_convert=True) for name, number in numbers.items()}
    return AudioRules(format=Choice((format,), auto_convert=True) if format else Choice(), **ranges)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """One second and a half of 1 kHz on the left and 2 kHz on the right, in every format."""
    source = wav(tone(1000, 2000, rate=48_000, seconds=1.5), 48_000)
    return {format: audio.convert(source, to(format)) for format in FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written_as_it_was(format: str, files: dict[str, bytes]) -> None:
    samples, rate = samples_of(files[format])
    assert rate == 48_000
    assert samples.shape[0] == 2
    assert samples.shape[1] / rate == pytest.approx(1.5, abs=0.05)
    assert [round(peak(channel, rate)) for channel in samples] == [1000, 2000]
    assert loudness(samples) == pytest.approx(HALF, rel=0.05)


@pytest.mark.parametrize("format", ["mp3", "ogg", "m4a", "webm"])
def test_what_is_louder_than_1_is_clipped_where_it_is_compressed_with_loss(format: str) -> None:
    loud = float_wav(tone(1000, rate=16_000, level=3))
    assert audio.convert(loud, AudioRules()) == loud
    samples, _ = samples_of(audio.convert(loud, to(format)))
    assert 0.9 < np.abs(samples).max() < 1.3


def test_far_too_loud_a_file_ends_no_process(tmp_path: Path) -> None:
    (tmp_path / "loud").write_bytes(float_wav(tone(1000, rate=16_000, level=1e30)))
    command = [sys.executable, "-m", "tests.unit.schemas.media.cost", "audio", str(tmp_path)]  # to MP3
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["problems"] is None


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_told_and_read(format: str, files: dict[str, bytes]) -> None:
    info = audio.probe(files[format])
    assert (info.format, info.sound.sample_rate, info.sound.channels) == (format, 48_000, 2)
    assert info.duration == pytest.approx(1.5, abs=0.03)
    plain = audio.convert(files[format], to("wav"))
    samples, rate = samples_of(plain)
    assert samples.shape == pytest.approx((2, 72_000), abs=1500)
    assert [round(peak(channel, rate)) for channel in samples] == [1000, 2000]
    assert loudness(samples) == pytest.approx(HALF, rel=0.05)


def test_codecs_depths_and_bit_rates_are_told(files: dict[str, bytes]) -> None:
    told = {format: audio.probe(data).sound for format, data in files.items()}
    assert {format: (sound.codec, sound.bits) for format, sound in told.items()} == {
        "wav": ("pcm_s16le", 16),
        "mp3": ("mp3", None),
        "ogg": ("opus", None),
        "flac": ("flac", 16),
        "m4a": ("aac", None),
        "webm": ("opus", None),
    }
    assert told["wav"].bit_rate == 48_000 * 2 * 16
    assert told["mp3"].bit_rate == 128_000


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_fits_comes_back_byte_for_byte(format: str, files: dict[str, bytes]) -> None:
    fits = replace(
        to(format, sample_rate=48_000, channels=2),
        audio_bit_rate=Range(maximum=400_000, auto_convert=True),
        duration=Range(minimum=1, maximum=2, auto_convert=True),
    )
    assert audio.convert(files[format], fits) == files[format]
    assert audio.convert(files[format], AudioRules()) == files[format]


def test_1_khz_stays_and_15_khz_is_gone_at_16_khz() -> None:
    # Without a filter before it, resampling would turn 15 kHz into 1 kHz.
    kept, rate = samples_of(audio.convert(wav(tone(1000)), to("wav", sample_rate=16_000)))
    gone, _ = samples_of(audio.convert(wav(tone(15_000)), to("wav", sample_rate=16_000)))
    assert rate == 16_000
    assert kept.shape == gone.shape == (1, 16_000)
    assert round(peak(kept[0], rate)) == 1000
    assert loudness(kept) == pytest.approx(HALF, rel=0.01)
    assert loudness(gone) < 0.001 * HALF


@pytest.mark.parametrize("format", FORMATS)
def test_15_khz_is_gone_at_16_khz_in_every_format(format: str) -> None:
    both = tone(2000, rate=48_000) + tone(15_000, rate=48_000, level=0.3)
    source = audio.convert(wav(both, 48_000), to(format))
    samples, rate = samples_of(audio.convert(source, to(format, sample_rate=16_000)))
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1])))
    hertz = np.fft.rfftfreq(samples.shape[1], 1 / rate)

    def level(low: int, high: int) -> float:
        return float(spectrum[(hertz > low) & (hertz < high)].max())

    assert round(peak(samples[0], rate), -1) == 2000
    assert level(900, 1100) < 0.01 * level(1900, 2100)  # where 15 kHz would fold to
    assert rate == 16_000 or level(8500, rate // 2) < 0.01 * level(1900, 2100)


def test_two_channels_become_their_mean() -> None:
    samples, _ = samples_of(audio.convert(wav(tone(1000, 2000)), to("wav", channels=1)))
    assert samples.shape[0] == 1
    left, right = tone(1000, 2000)
    assert np.abs(samples[0] - (left + right) / 2).max() < 0.001


@pytest.mark.parametrize("format", ["wav", "mp3", "flac"])
def test_two_loud_channels_become_one_that_is_no_louder(format: str) -> None:
    samples, _ = samples_of(audio.convert(wav(tone(1000, 1000, level=0.95)), to(format, channels=1)))
    assert loudness(samples) == pytest.approx(0.95 / np.sqrt(2), rel=0.06)  # LAME takes off 5 %


def test_one_channel_becomes_two_alike() -> None:
    samples, rate = samples_of(audio.convert(wav(tone(1000)), to("wav", channels=2)))
    assert samples.shape[0] == 2
    assert np.array_equal(samples[0], samples[1])
    assert round(peak(samples[0], rate)) == 1000


def test_six_channels_become_one() -> None:
    samples, rate = samples_of(audio.convert(wav(tone(*[500] * 6)), to("wav", channels=1)))
    assert samples.shape[0] == 1
    assert round(peak(samples[0], rate)) == 500


@pytest.mark.parametrize(("bits", "error"), [(8, 0.01), (16, 1e-4), (24, 1e-6), (32, 1e-6), (64, 1e-6)])
def test_wav_has_samples_of_any_depth(bits: int, error: float) -> None:
    original = tone(1000)
    deep = audio.convert(float_wav(original), to("wav", sample_bit_depth=bits))
    assert audio.probe(deep).sound.bits == bits
    samples, _ = samples_of(deep)
    assert np.abs(samples - original).max() < error
    again = audio.convert(deep, to("wav", sample_bit_depth=16))
    assert audio.probe(again).sound.codec == "pcm_s16le"


@pytest.mark.parametrize(("bits", "kept"), [(8, 16), (16, 16), (24, 24), (32, 24)])
def test_flac_keeps_16_or_24_bits(bits: int, kept: int) -> None:
    original = tone(1000)
    packed = audio.convert(wav(original, bits=bits) if bits != 24 else audio.convert(
        float_wav(original), to("wav", sample_bit_depth=24)), to("flac"))  # fmt: skip
    assert audio.probe(packed).sound.bits == kept
    samples, _ = samples_of(packed)
    assert np.abs(samples - original).max() < (0.01 if bits == 8 else 1e-4)


def test_bit_rates_are_kept_low() -> None:
    source = wav(tone(1000, 2000, seconds=3))
    small = audio.convert(source, replace(to("mp3"), audio_bit_rate=Range(maximum=64_000, auto_convert=True)))
    assert audio.probe(small).sound.bit_rate == 64_000
    large = audio.convert(source, to("mp3", audio_bit_rate=192_000))
    assert audio.probe(large).sound.bit_rate == 192_000
    smaller = audio.convert(
        large, replace(to("mp3"), audio_bit_rate=Range(maximum=96_000, auto_convert=True))
    )
    assert audio.probe(smaller).sound.bit_rate == 96_000


def test_opus_takes_the_next_of_its_sample_rates() -> None:
    packed = audio.convert(wav(tone(1000, rate=22_050), 22_050), to("ogg"))
    samples, rate = samples_of(packed)
    assert samples.shape[1] / rate == pytest.approx(1, abs=0.05)
    assert round(peak(samples[0], rate)) == 1000


def test_a_rate_that_the_format_does_not_have_is_an_error_not_a_surprise() -> None:
    with pytest.raises(MediaError, match="its sample rate as opus of 48000 Hz is not supported: only 44100"):
        audio.convert(wav(tone(1000)), to("ogg", sample_rate=44_100))


def test_what_is_too_long_is_cut_off_or_refused(files: dict[str, bytes]) -> None:
    for data in files.values():
        cut = audio.convert(data, replace(to("wav"), duration=Range(maximum=1, auto_convert=True)))
        samples, rate = samples_of(cut)
        assert samples.shape[1] == rate
        assert round(peak(samples[0], rate)) == 1000
        with pytest.raises(MediaError, match=r"duration of 1\.5.* s is too long: at most 1 s allowed"):
            audio.convert(data, AudioRules(duration=Range(maximum=1)))
    with pytest.raises(MediaError, match=r"duration of 1\.5 s is too short: at least 2 s needed"):
        audio.convert(files["wav"], AudioRules(duration=Range(minimum=2, auto_convert=True)))


def test_padding_by_a_codec_does_not_make_a_file_too_long() -> None:
    ten = sound_file(tone(1000, seconds=10), 44_100, "mp3", "libmp3lame", write_xing="0")
    assert audio.probe(ten).duration > 10
    assert audio.convert(ten, AudioRules(duration=Range(maximum=10))) == ten


def test_all_that_is_wrong_is_told_at_once(files: dict[str, bytes]) -> None:
    strict = AudioRules(
        format=Choice(("wav",)),
        sample_rate=Range(supported=(16_000,)),
        channels=Range(maximum=1),
        duration=Range(maximum=1),
    )
    with pytest.raises(MediaError) as caught:
        audio.convert(files["mp3"], strict)
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    for word in ("mp3", "48000 Hz", "number of channels of 2", "1.5"):
        assert word in text


def test_mu_law_and_vorbis_are_read() -> None:
    quiet = np.full(8000, 0xFF, np.uint8)  # silence
    samples, rate = samples_of(
        audio.convert(riff(7, 1, 8000, 8, quiet.tobytes()), to("wav", sample_rate=16_000))
    )
    assert (samples.shape, rate) == ((1, 16_000), 16_000)
    assert np.abs(samples).max() < 0.001
    packed = sound_file(tone(1000, 1000), 44_100, "webm", "vorbis", strict="experimental", live="1")
    assert audio.probe(packed).sound.codec == "vorbis"
    samples, rate = samples_of(audio.convert(packed, to("wav", channels=1)))
    assert round(peak(samples[0], rate)) == 1000


def test_sound_written_as_a_stream_has_the_length_that_it_has() -> None:
    data = wav(tone(1000))
    for size in (0, 0xFFFFFFFF):
        streamed = data[:40] + size.to_bytes(4, "little") + data[44:]
        assert audio.probe(streamed).duration == pytest.approx(1)
        assert samples_of(audio.convert(streamed, to("flac")))[0].shape == (1, 44_100)
    live = sound_file(tone(1000, rate=48_000), 48_000, "webm", "libopus", live="1")
    assert audio.probe(live).duration == pytest.approx(1, abs=0.05)
    assert audio.probe(live).sound.bit_rate == pytest.approx(len(live) * 8, rel=0.1)
    bare = sound_file(tone(1000), 44_100, "mp3", "libmp3lame", write_xing="0")
    assert audio.probe(bare).duration == pytest.approx(1, abs=0.1)


def test_tags_and_covers_are_no_matter(files: dict[str, bytes]) -> None:
    tagged = b"ID3\x04\0\0\0\0\x0f\x76" + bytes(2038) + files["mp3"]
    assert audio.convert(tagged, AudioRules()) == tagged
    assert audio.probe(tagged) == audio.probe(files["mp3"])


def test_conversions_side_by_side_give_the_same() -> None:
    source = wav(tone(1000, 2000, seconds=2))
    wanted = [to(format, channels=channels) for format in FORMATS for channels in (1, 2)]
    alone = [audio.convert(source, rules) for rules in wanted]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda rules: audio.convert(source, rules), wanted)) == alone


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "int32"])
@pytest.mark.parametrize("shape", ["(n,)", "(channels, n)", "(n, channels)"])
def test_arrays_of_models_are_written(dtype: str, shape: str) -> None:
    sound = tone(1000) if shape == "(n,)" else tone(1000, 2000)
    scaled = sound.astype(dtype) if dtype[0] == "f" else (sound * np.iinfo(dtype).max).astype(dtype)
    array = {"(n,)": scaled[0], "(channels, n)": scaled, "(n, channels)": scaled.T}[shape]
    samples, rate = samples_of(audioout.encode(array, AudioForm(sample_rate=44_100)))
    assert rate == 44_100
    assert samples.shape == sound.shape
    assert np.abs(samples - sound).max() < 0.001


@pytest.mark.parametrize("format", FORMATS)
def test_models_sounds_are_written_as_declared(format: str) -> None:
    data = audioout.encode(
        (tone(1000, rate=24_000), 24_000), AudioForm(format, sample_rate=16_000, channels=2)
    )
    info = audio.probe(data)
    assert (info.format, info.sound.channels) == (format, 2)
    assert info.sound.sample_rate == (48_000 if info.sound.codec == "opus" else 16_000)
    samples, rate = samples_of(data)
    assert round(peak(samples[0], rate)) == 1000


def test_15_khz_of_a_model_is_gone_at_16_khz() -> None:
    samples, rate = samples_of(audioout.encode((tone(15_000), 44_100), AudioForm("wav", sample_rate=16_000)))
    assert rate == 16_000
    assert loudness(samples) < 0.001 * HALF


def test_models_may_give_files(files: dict[str, bytes]) -> None:
    assert audioout.encode(files["wav"], AudioForm("wav")) == files["wav"]
    assert audioout.encode(io.BytesIO(files["wav"]), AudioForm()) == files["wav"]
    info = audio.probe(audioout.encode(files["wav"], AudioForm("mp3", channels=1)))
    assert (info.format, info.sound.channels) == ("mp3", 1)


@pytest.mark.parametrize(
    ("sound", "rate", "text"),
    [
        (np.zeros(100), None, "no sample rate"),
        (np.zeros(100), 0, "sample rate of 0 Hz"),
        (np.zeros(100), 10**9, "sample rate of 1000000000 Hz"),
        (np.array([0, np.nan, 0]), 16_000, "samples of nan"),
        (np.array([0, np.inf]), 16_000, "samples of inf"),
        (np.array([0.0, 300.0]), 16_000, "samples of 300"),
        (np.zeros(0), 16_000, "holds no samples"),
        (np.zeros((2, 3, 4)), 16_000, "shape"),
        (np.zeros((9, 9)), 16_000, "9 channels"),
        (np.zeros(10, bool), 16_000, "array of bool"),
        (["a"], 16_000, "must be an array, .*, not list"),
        (b"", None, "is empty"),
        (b"garbage", None, "no sound"),
    ],
)
def test_models_nonsense_is_told(sound: object, rate: int | None, text: str) -> None:
    with pytest.raises(MediaError, match=text):
        audioout.encode(sound, AudioForm(sample_rate=rate))


def test_limits_of_the_server_hold(files: dict[str, bytes]) -> None:
    with pytest.raises(MediaError, match=r"too long: at most 1 s"):
        audio.convert(files["ogg"], AudioRules(limits=MediaLimits(max_seconds=1)))
    with pytest.raises(MediaError, match="format ogg is not allowed on this server: only wav"):
        audio.convert(files["ogg"], AudioRules(limits=MediaLimits(audio_formats=("wav",))))
