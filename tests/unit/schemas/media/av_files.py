"""Files of sound and video, and what is in files: by PyAV and numpy, not by the code under test."""

from __future__ import annotations

import io
import struct
import tempfile
import wave
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np


def tone(*hertz: float, rate: int = 44_100, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    """Sine waves, one for each channel, as floats of shape (channels, n)."""
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([level * np.sin(2 * np.pi * h * time) for h in hertz]).astype(np.float32)


def wav(samples: np.ndarray, rate: int = 44_100, bits: int = 16) -> bytes:
    """A WAV file of floats of shape (channels, n)."""
    scaled = np.round(samples.T * (2 ** (bits - 1) - 1))
    pcm = (scaled + 128).astype(np.uint8) if bits == 8 else scaled.astype(f"<i{bits // 8}")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return out.getvalue()


def float_wav(samples: np.ndarray, rate: int = 44_100) -> bytes:
    """A WAV file of 32-bit floats of shape (channels, n)."""
    return riff(3, samples.shape[0], rate, 32, samples.T.astype("<f4").tobytes())


def riff(tag: int, channels: int, rate: int, bits: int, data: bytes, promised: int | None = None) -> bytes:
    """A WAV file that may lie."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, min(rate * block, 2**32 - 1), block % 65536, bits)
    size = len(data) if promised is None else promised
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + data


def sound_file(samples: np.ndarray, rate: int, muxer: str, codec: str, **options: str) -> bytes:
    """An encoded file of floats of shape (channels, n)."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[0]]
    with (
        tempfile.NamedTemporaryFile() as out,
        av.open(out.name, "w", muxer, container_options=options) as container,
    ):
        stream: Any = container.add_stream(codec, rate=rate, layout=layout, options=options)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.close()
        return out.read()


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """What is in a file of sound: floats of shape (channels, n), and the sample rate."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        frames += [frame for frame in resampler.resample(None) if frame is not None]
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1), stream.rate


def loudness(samples: np.ndarray) -> float:
    """Root mean square, without the first and the last tenth."""
    edge = samples.shape[-1] // 10
    return float(np.sqrt(np.mean(np.square(samples[..., edge:-edge], dtype=np.float64))))


def peak(samples: np.ndarray, rate: int) -> float:
    """The loudest frequency of one channel, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def picture(number: int, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    """A frame of HxWx3: red and blue halves, and a gray corner that tells its number (0 to 25)."""
    width, height = size
    out = np.zeros((height, width, 3), np.uint8)
    out[:, : width // 2], out[:, width // 2 :] = (200, 40, 40), (40, 60, 200)
    out[: height // 4, : width // 4] = number * 10
    return out


def number_of(frame: np.ndarray) -> int:
    """The number that `picture` has put into a frame."""
    height, width = frame.shape[:2]
    return round(frame[: height // 5, : width // 5].mean() / 10)


def video_file(
    frames: Iterable[np.ndarray],
    muxer: str = "mp4",
    codec: str = "libx264",
    rate: float = 10,
    times: Iterable[float] | None = None,
    rotation: float = 0,
    sound: np.ndarray | None = None,
    sound_at: float = 0,
    **options: str,
) -> bytes:
    """A video of frames of HxWx3, at regular or at given times in s; the sound is stereo at 48 kHz."""
    frames, options = list(frames), {"deadline": "realtime", "cpu-used": "8", **options}
    with (
        tempfile.NamedTemporaryFile() as out,
        av.open(out.name, "w", muxer, container_options=options) as container,
    ):
        stream: Any = container.add_stream(codec, Fraction(rate).limit_denominator(1001), options)
        stream.height, stream.width = frames[0].shape[:2]
        if rotation:
            stream.set_display_rotation(rotation)
        track: Any = None
        if sound is not None:
            track = container.add_stream(
                "libopus" if muxer == "webm" else "aac", rate=48_000, layout="stereo"
            )
        for time, frame in zip(times or (n / rate for n in range(len(frames))), frames, strict=False):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.time_base = Fraction(1, 1000)
            picture.pts = round(time * 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if track is not None:
            block = av.AudioFrame.from_ndarray(sound, "fltp", "stereo")
            block.sample_rate, block.time_base, block.pts = (
                48_000,
                Fraction(1, 48_000),
                round(sound_at * 48_000),
            )
            container.mux(track.encode(block))
            container.mux(track.encode(None))
        container.close()
        return out.read()


def frames_of(data: bytes) -> tuple[list[np.ndarray], list[float]]:
    """The frames of a video, and their times in s."""
    with av.open(io.BytesIO(data), "r") as container:
        decoded = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in decoded], [frame.time for frame in decoded]
