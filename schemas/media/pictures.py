"""Frames of a video on their way: decoded, paced, turned, cropped, scaled, encoded.

Everything runs in one thread for each video: others are converted beside it, and libvpx with four threads on
a busy machine was 25 times slower than with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

from av import FFmpegError
from av.container import InputContainer
from av.filter import Graph
from av.video import VideoFrame, VideoStream

from schemas.media.attributes import Pair, crop_box
from schemas.media.avio import Writer, pixel_limit
from schemas.media.errors import MediaError

BROKEN_ALLOWED = 10
"""One frame of so many may be broken; FFmpeg paints over it."""
_BT709, _BT601 = 1, 6  # FFmpeg's numbers of matrices
_MATRICES = {_BT709: "bt709", 4: "fcc", 5: "bt601", _BT601: "bt601", 7: "smpte240m", 9: "bt2020"}
_LIMITED_RANGE = 1
_VPX = {"deadline": "realtime", "cpu-used": "8"}


@dataclass(frozen=True)
class PictureCodec:
    """How a codec is written.

    Attributes:
        encoder: FFmpeg's name of it.
        options: of the encoder.
        quality: of the encoder, where nobody asks for a bit rate.
    """

    encoder: str
    options: dict[str, str]
    quality: dict[str, str]


CODECS = {
    "h264": PictureCodec("libx264", {"preset": "veryfast"}, {"crf": "20"}),
    "vp9": PictureCodec("libvpx-vp9", _VPX, {"crf": "32", "b": "0"}),
    "vp8": PictureCodec("libvpx", _VPX, {"crf": "10", "b": "8M"}),
}
"""Codecs that are written."""


@dataclass(frozen=True)
class PictureForm:
    """What pictures are to become.

    Attributes:
        codec: of `CODECS`.
        size: width and height in pixels, both even.
        rate: frames in a second.
        bit_rate: in bit/s; None: what a good quality takes.
        seconds: what is longer is cut off; None: nothing is.
        crop: whether what does not fit the new ratio is cut off, and not squeezed.
        colors: matrix, primaries and transfer curve, by FFmpeg's numbers.
    """

    codec: str
    size: Pair
    rate: Fraction
    bit_rate: int | None = None
    seconds: float | None = None
    crop: bool = False
    colors: tuple[int, int, int] = (_BT709, _BT709, _BT709)


def decoded(container: InputContainer, stream: VideoStream, max_pixels: int) -> Iterator[VideoFrame]:
    """Decode a stream.

    Args:
        container: the open file.
        stream: of this file.
        max_pixels: of one picture.

    Raises:
        MediaError: too many of its frames are broken, or one is too large.
        av.FFmpegError: it cannot be read on.
    """
    stream.thread_count = 1
    stream.codec_context.options = pixel_limit(max_pixels)
    packets = broken = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except FFmpegError as error:
            broken += 1
            if broken > 1 + packets // BROKEN_ALLOWED:
                raise MediaError(
                    f"is damaged: too many of its frames cannot be read: {error.strerror}"
                ) from None
            continue
        for frame in frames:
            if frame.width * frame.height > max_pixels:
                raise MediaError(
                    f"has pictures of {frame.width} x {frame.height} pixels: at most {max_pixels} in all"
                )
            yield frame


def paced(
    frames: Iterable[VideoFrame], rate: Fraction, form: PictureForm, start: float, most: int
) -> Iterator[VideoFrame]:
    """Give the frames that are seen at regular times: some are left out, some come again.

    Args:
        frames: with their times.
        rate: of these frames, about, in 1/s.
        form: has the rate to come, and the time at which to end.
        start: time of the first picture to come, in s.
        most: frames that may come.

    Raises:
        MediaError: more would come.
    """
    slack = 0.5 / float(max(rate, form.rate))  # times in files are rounded
    last = most + 1 if form.seconds is None else max(1, round(form.seconds * form.rate))
    shown: VideoFrame | None = None
    number, time, gap = 0, 0.0, float(1 / rate)
    for frame in chain(frames, (None,)):
        before = time
        time = before + gap if frame is None or frame.time is None else frame.time - start
        if shown is not None and time > before:
            gap = time - before  # the last picture is seen as long as the one before it
        shown = shown or frame
        while (
            shown is not None
            and number < last
            and (number / form.rate + slack <= time or (frame is None and not number))
        ):
            if number == most:
                raise MediaError(f"has too many frames: at most {most} are allowed")
            shown.pts, shown.time_base = number, 1 / form.rate
            yield shown
            number += 1
        if number >= last:
            return
        shown = frame


def shaped(frames: Iterable[VideoFrame], form: PictureForm) -> Iterator[VideoFrame]:
    """Turn, crop and scale frames."""
    graph, made_for = Graph(), None
    for frame in frames:
        # A video from a browser's call changes its size midway.
        kind = (frame.width, frame.height, frame.format.name, frame.rotation)
        if kind != made_for:
            graph, made_for = _shaping(frame, form), kind
        graph.vpush(frame)
        yield graph.vpull()


def turned(frame: VideoFrame) -> Pair:
    """Give width and height of a frame that stands upright."""
    size = frame.width, frame.height
    return size[::-1] if frame.rotation % 180 else size


def in_colors_of(frame: VideoFrame, form: PictureForm) -> PictureForm:
    """Give the form in which frames like this one keep their colors."""
    matrix, primaries, curve = form.colors
    if not frame.format.is_rgb:
        matrix, primaries, curve = frame.colorspace, frame.color_primaries, frame.color_trc
    # VP8 knows one matrix only.
    return replace(form, colors=(_BT601 if form.codec == "vp8" else matrix, primaries, curve))


def add_pictures(writer: Writer, form: PictureForm) -> VideoStream:
    """Add a stream to a file that is written."""
    codec = CODECS[form.codec]
    b = form.bit_rate
    options = codec.options | (
        {"b": f"{b}", "maxrate": f"{b}", "bufsize": f"{2 * b}"} if b else codec.quality
    )
    stream = writer.container.add_stream(codec.encoder, rate=form.rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = form.size
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    stream.colorspace, stream.color_primaries, stream.color_trc = form.colors
    stream.color_range = _LIMITED_RANGE
    return stream


def _shaping(frame: VideoFrame, form: PictureForm) -> Graph:
    graph = Graph()
    graph.threads = 1
    nodes = [graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )]  # fmt: skip
    turns = {90: ("cclock",), 270: ("clock",), 180: ("clock", "clock")}
    nodes += [graph.add("transpose", turn) for turn in turns.get(frame.rotation % 360, ())]
    if form.crop:
        left, top, right, bottom = crop_box(turned(frame), form.size)
        nodes.append(graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1"))
    width, height = form.size
    matrix = _MATRICES.get(form.colors[0])
    nodes += [
        graph.add(
            "scale", f"{width}:{height}:out_range=tv" + (f":out_color_matrix={matrix}" if matrix else "")
        ),
        graph.add("setsar", "1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
