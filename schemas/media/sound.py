"""Samples in, encoded sound out: what audio files and the sound of videos share.

A chain of FFmpeg's filters decodes, resamples and mixes. Python sees blocks of a second and more only, so
that threads that convert run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from av.audio import AudioFrame, AudioStream
from av.error import BlockingIOError, EOFError
from av.filter import Graph
from av.filter.context import FilterContext

from schemas.media.avio import MP4_SOUND_CODECS, SOUND_CODECS, WAV_CODECS, Writer, input_options, writing
from schemas.media.containers import FASTEST_SAMPLING, MOST_CHANNELS, MediaFile
from schemas.media.errors import MediaError

LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's names of the usual layouts of 1 to 8 channels."""
_BLOCK = 65_536  # samples
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


@dataclass(frozen=True)
class SoundCodec:
    """How a codec is written.

    Attributes:
        encoder: FFmpeg's name of it.
        sample_format: FFmpeg's name of the samples that it takes.
        bits: of a sample; None: it compresses with loss, and has none.
        rates: the only sample rates that it has, in Hz, ascending; empty: any.
        most_channels: that it has.
        bit_rate: in bit/s for each channel, where nobody asks for one; 0: it has none to choose.
        options: of the encoder.
    """

    encoder: str
    sample_format: str
    bits: int | None = None
    rates: tuple[int, ...] = ()
    most_channels: int = 8
    bit_rate: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def rate_near(self, rate: int) -> int:
        """Give the lowest rate of this codec that loses nothing of a rate, or else its highest."""
        return next((own for own in self.rates if own >= rate), self.rates[-1]) if self.rates else rate


CODECS = {
    "pcm_u8": SoundCodec("pcm_u8", "u8", 8),
    "pcm_s16le": SoundCodec("pcm_s16le", "s16", 16),
    "pcm_s24le": SoundCodec("pcm_s24le", "s32", 24),
    "pcm_s32le": SoundCodec("pcm_s32le", "s32", 32),
    "pcm_f32le": SoundCodec("pcm_f32le", "flt", 32),
    "pcm_f64le": SoundCodec("pcm_f64le", "dbl", 64),
    "flac": SoundCodec("flac", "s16", 16),
    # LAME at its usual level takes twice as long, and is no nearer to the original.
    "mp3": SoundCodec("libmp3lame", "fltp", None, _MP3_RATES, 2, 64_000, {"compression_level": "7"}),
    "opus": SoundCodec("libopus", "flt", None, _OPUS_RATES, 8, 48_000),
    "aac": SoundCodec("aac", "fltp", None, (*_MP3_RATES, 64000, 88200, 96000), 8, 64_000),
}
"""Codecs that are written. Not Vorbis: FFmpeg as PyAV brings it has only an experimental encoder of it."""


@dataclass(frozen=True)
class SoundInfo:
    """What the sound of a file is.

    Attributes:
        codec: FFmpeg's name: "pcm_s16le", "mp3", "opus".
        sample_rate: in Hz.
        channels: their number.
        bits: of a sample; None: it is compressed with loss, and has none.
        bit_rate: in bit/s, rounded to thousands.
    """

    codec: str
    sample_rate: int
    channels: int
    bits: int | None
    bit_rate: int


@dataclass(frozen=True)
class SoundForm:
    """What sound is to become.

    Attributes:
        codec: of `CODECS`.
        sample_rate: in Hz, one that the codec has.
        channels: their number.
        bits: of a sample; None: what the codec has.
        bit_rate: in bit/s; None: the codec's own.
        seconds: what is longer is cut off; None: nothing is.
    """

    codec: str
    sample_rate: int
    channels: int
    bits: int | None = None
    bit_rate: int | None = None
    seconds: float | None = None

    @property
    def sample_format(self) -> str:
        """FFmpeg's name of the samples that the encoder gets."""
        fine = self.codec == "flac" and (self.bits or 0) > 16
        return "s32" if fine else CODECS[self.codec].sample_format


def sound_info(stream: AudioStream, file: MediaFile) -> SoundInfo:
    """Tell what a stream of sound is; its bit rate is 0 where the header does not tell it.

    Args:
        stream: of an open file.
        file: the file.

    Raises:
        MediaError: it is of a codec or a form that is not taken.
    """
    context = stream.codec_context
    if context is None:
        raise MediaError("holds sound of an unknown codec")
    codec, rate, channels = context.codec.canonical_name, context.sample_rate, context.channels
    problems = []
    if codec not in {"wav": WAV_CODECS, "mov": MP4_SOUND_CODECS}.get(file.demuxer, SOUND_CODECS):
        problems.append(f"holds sound of codec {codec}, which is not taken")
    if not 1 <= rate <= FASTEST_SAMPLING:
        problems.append(f"its sample rate of {rate} Hz is not between 1 and {FASTEST_SAMPLING} Hz")
    if not 1 <= channels <= MOST_CHANNELS:
        problems.append(f"its number of channels of {channels} is not between 1 and {MOST_CHANNELS}")
    MediaError.raise_if(problems)
    bits = file.bits if codec in CODECS and CODECS[codec].bits else None
    return SoundInfo(codec, rate, channels, bits, thousands(stream.bit_rate or 0))


def thousands(bit_rate: float) -> int:
    """Give a bit rate as people say it: nobody means one bit/s more."""
    return round(bit_rate / 1000) * 1000


def sound_of_file(
    file: MediaFile,
    descriptor: int,
    stream: int,
    form: SoundForm | None = None,
    start: float | None = None,
) -> Iterator[AudioFrame]:
    """Decode one stream of a file.

    Args:
        file: the file.
        descriptor: where it lies.
        stream: index of the stream.
        form: what the samples become; None: they stay what they are.
        start: time in the file, in s, at which the sound shall begin: it stays with its pictures, and gaps
            are filled with silence. None: it begins with its first sample.
    """
    graph = Graph()
    graph.threads = 1
    with input_options(file, descriptor) as options:
        source = graph.add(
            "amovie",
            filename="fd:",
            format_name=file.demuxer,
            stream_index=str(stream),
            dec_threads="1",
            format_opts=":".join(f"{key}={value}" for key, value in options.items()),
        )
    _complete(graph, source, form, start)
    while True:
        try:
            yield graph.pull()  # type: ignore[misc]
        except EOFError:
            return


def sound_of_array(samples: np.ndarray[Any, Any], rate: int, form: SoundForm) -> Iterator[AudioFrame]:
    """Give samples in another form.

    Args:
        samples: of shape (channels, samples); float32 between -1 and 1, int16 or int32.
        rate: of the samples, in Hz.
        form: what they become.
    """
    sample_format = {"float32": "fltp", "int16": "s16p", "int32": "s32p"}[samples.dtype.name]
    layout = LAYOUTS[samples.shape[0] - 1]
    graph = Graph()
    graph.threads = 1
    _complete(graph, graph.add_abuffer(sample_rate=rate, format=sample_format, layout=layout), form)
    for start in range(0, samples.shape[1], _BLOCK):
        block = np.ascontiguousarray(samples[:, start : start + _BLOCK])
        frame = AudioFrame.from_ndarray(block, sample_format, layout)
        frame.sample_rate = rate
        frame.pts = start
        yield from _pushed(graph, frame)
    yield from _pushed(graph, None)


def write_sound(stream: AudioStream, frames: Iterator[AudioFrame], writer: Writer) -> None:
    """Encode sound to its end."""
    for frame in frames:
        writer.mux(stream.encode(frame))
    writer.mux(stream.encode(None))


def add_sound(writer: Writer, form: SoundForm) -> AudioStream:
    """Add a stream to a file that is written."""
    codec = CODECS[form.codec]
    stream = writer.container.add_stream(
        codec.encoder, form.sample_rate, dict(codec.options), layout=LAYOUTS[form.channels - 1]
    )
    assert isinstance(stream, AudioStream)
    stream.codec_context.format = form.sample_format
    if codec.bit_rate:
        stream.bit_rate = form.bit_rate or codec.bit_rate * form.channels
    return stream


def written(muxer: str, form: SoundForm, frames: Iterator[AudioFrame]) -> bytes:
    """Give a file that holds nothing but sound.

    Args:
        muxer: FFmpeg's name of the format.
        form: what its samples have become.
        frames: of this form.
    """
    with writing(muxer) as writer:
        write_sound(add_sound(writer, form), frames, writer)
    return writer.content


def _complete(
    graph: Graph, source: FilterContext, form: SoundForm | None, start: float | None = None
) -> None:
    nodes = [source]
    if form is not None:
        # By default samples that become floats may get louder than they were, up to clipping.
        resampling = {"rematrix_maxval": "1.0"}
        if start is not None:
            nodes.append(graph.add("asetpts", f"PTS-{start:.6f}/TB"))
            resampling |= {"async": "1", "first_pts": "0"}
        nodes.append(graph.add("aresample", **resampling))
        if CODECS[form.codec].bits is None:  # LAME ends the whole process at samples far above 1
            nodes.append(graph.add("asoftclip", type="hard"))
        nodes += [
            graph.add(
                "aformat",
                sample_fmts=form.sample_format,
                sample_rates=str(form.sample_rate),
                channel_layouts=LAYOUTS[form.channels - 1],
            ),
            graph.add("asetpts", "N/SR/TB"),
        ]
        if form.seconds is not None:
            nodes.append(graph.add("atrim", end_sample=str(round(form.seconds * form.sample_rate))))
    nodes += [graph.add("asetnsamples", n=str(_BLOCK), p="0"), graph.add("abuffersink")]
    graph.link_nodes(*nodes).configure()


def _pushed(graph: Graph, frame: AudioFrame | None) -> Iterator[AudioFrame]:
    graph.push(frame)
    while True:
        try:
            yield graph.pull()  # type: ignore[misc]
        except (BlockingIOError, EOFError):
            return
