"""Files of sound and video, made as needed, and what is in files: by PyAV and numpy, not by the code under test."""

from __future__ import annotations

import io
import struct
import tempfile
import wave

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
        stream = container.add_stream(codec, rate=rate, layout=layout, options=options)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.close()
        return out.read()


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """What is in a file of sound: floats of shape (channels, n), and the sample rate."""
    with av.open(io.BytesIO(data)) as container:
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
