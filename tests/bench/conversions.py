"""Conversions of images and sounds: as the API does them, and by one ffmpeg process for each file."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from schemas.media import audio, image
from schemas.media.attributes import Choice, Range, Size
from schemas.media.audioout import encode
from schemas.media.forms import AudioForm
from schemas.media.rules import AudioRules, ImageRules
from tests.bench.load import Measured
from tests.bench.media import measured, photograph

SECONDS = 10
RATE = 44_100  # Hz


@dataclass(frozen=True)
class Conversion:
    """One thing to do, in two ways.

    Attributes:
        ours: does it once in this process.
        ffmpeg: does it once in a process of its own.
    """

    ours: Callable[[], bytes]
    ffmpeg: Callable[[], bytes]


def of_images() -> Mapping[str, Conversion]:
    """Give what is measured: a photograph of 4000 x 3000 pixels, made 1024 pixels wide."""
    data = photograph()
    size = Size(maximum=(1024, 1024), keep_aspect_ratio=True, auto_convert=True)
    rules = ImageRules(format=Choice(("jpeg",), auto_convert=True), size=size)
    scaled = ("-vf", "scale=1024:-1", "-q:v", "2", "-f", "mjpeg")
    return {
        "JPEG to 1024 pixels": Conversion(lambda: image.convert(data, rules), lambda: _ffmpeg(data, *scaled))
    }


def of_sounds() -> Mapping[str, Conversion]:
    """Give what is measured: files of ten seconds in stereo, at 44.1 kHz."""
    time_ = np.arange(RATE * SECONDS) / RATE
    noise = np.random.default_rng(1).normal(0, 0.05, (2, len(time_)))
    sound = (0.3 * np.sin(2 * np.pi * 440 * time_) + noise, RATE)
    wav, mp3 = (encode(sound, AudioForm(format)) for format in ("wav", "mp3"))
    to_wav, to_mp3 = (AudioRules(format=Choice((format,), auto_convert=True)) for format in ("wav", "mp3"))
    rate, channels = (Range(supported=(number,), auto_convert=True) for number in (16_000, 1))
    speech = AudioRules(format=to_wav.format, sample_rate=rate, channels=channels)
    return {
        "WAV to 16 kHz mono": Conversion(
            lambda: audio.convert(wav, speech), lambda: _ffmpeg(wav, "-ar", "16000", "-ac", "1", "-f", "wav")
        ),
        "MP3 to WAV": Conversion(lambda: audio.convert(mp3, to_wav), lambda: _ffmpeg(mp3, "-f", "wav")),
        "WAV to MP3": Conversion(lambda: audio.convert(wav, to_mp3), lambda: _ffmpeg(wav, "-f", "mp3")),
    }


def repeat(do: Callable[[], bytes], threads: int, seconds: float) -> Measured:
    """Do something again and again, in several threads."""
    durations: list[float] = []
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            do()
            durations.append(time.perf_counter() - began)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return measured(durations, time.perf_counter() - began)


def has_ffmpeg() -> bool:
    """Tell whether there is something to compare with."""
    return shutil.which("ffmpeg") is not None


def _ffmpeg(data: bytes, *output: str) -> bytes:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-i", "pipe:0", *output, "pipe:1"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout
