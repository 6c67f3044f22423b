"""PyAV on files in memory: nothing else can be opened by what a client sends, and nothing reaches the disk.

Files lie in memory under a descriptor, so that FFmpeg reads and writes them by itself. Through Python's
files it would need the interpreter's lock for every packet, and threads would stand in each other's way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from schemas.media.containers import MediaFile
from schemas.media.errors import MediaError

MOST_STREAMS = 16
LONGEST_OPENING = 5.0
"""Seconds that FFmpeg may take to read a header."""
LARGEST_RESULT = 250_000_000
"""Bytes of a file that is written; samples take far more room than the MP3 file that they come from."""
WAV_CODECS = (
    "pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw",
)  # fmt: skip
SOUND_CODECS = ("mp3", "aac", "opus", "vorbis", "flac")
MP4_SOUND_CODECS = ("aac", "opus", "flac")  # not MP3: FFmpeg looks for its frames in packets of any size
PICTURE_CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4")
"""Codecs that are read, by FFmpeg's names."""
_SLACK = 1_000_000  # bytes
_SOUND_DECODERS = (*WAV_CODECS, *SOUND_CODECS, "mp3float", "libopus")
_PICTURE_DECODERS = (*PICTURE_CODECS, "libvpx", "libvpx-vp9", "libdav1d")


@contextmanager
def damage_found() -> Iterator[None]:
    """Turn what FFmpeg finds wrong with a file into a MediaError."""
    try:
        yield
    except MediaError:
        raise
    except av.error.MemoryError:
        raise MediaError(f"takes too much memory, or holds more than {MOST_STREAMS} streams") from None
    except (av.FFmpegError, ValueError, ArithmeticError, LookupError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"is damaged and cannot be read: {reason}") from error


@contextmanager
def in_memory(file: MediaFile) -> Iterator[int]:
    """Lay a file where FFmpeg can read it; gives its descriptor."""
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC)
    try:
        rest = memoryview(file.data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def input_options(file: MediaFile, descriptor: int, pictures: bool = False) -> Iterator[dict[str, str]]:
    """Give FFmpeg's options for opening a file within the block.

    Args:
        file: the file.
        descriptor: where it lies.
        pictures: whether pictures may be decoded, too.
    """
    # FFmpeg makes a copy of the descriptor; this one has a position of its own.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    options = {
        "fd": str(own),
        "protocol_whitelist": "fd",
        "codec_whitelist": ",".join(_SOUND_DECODERS + (_PICTURE_DECODERS if pictures else ())),
        "max_streams": str(MOST_STREAMS),
    }
    if file.format == "wav":
        # By default all samples would be read to guess what the header says.
        options["probesize"] = "4096"
    try:
        yield options
    finally:
        os.close(own)


def pixel_limit(max_pixels: int) -> dict[str, str]:
    """Give the option of decoders that limits pictures; they count the blocks around a picture, too."""
    return {"max_pixels": str(max_pixels * 5 // 4 + 100_000)}


@contextmanager
def reading(file: MediaFile, descriptor: int, max_pixels: int = 0) -> Iterator[InputContainer]:
    """Open a file for its header and its packets.

    Args:
        file: the file.
        descriptor: where it lies.
        max_pixels: the largest picture that is decoded; 0: none is.

    Raises:
        MediaError: it is damaged; also for all that FFmpeg finds wrong within the block.
    """
    with damage_found():
        with input_options(file, descriptor, pictures=max_pixels > 0) as options:
            if max_pixels:
                options |= pixel_limit(max_pixels)
            container = av.open(
                "fd:", "r", file.demuxer, options, metadata_errors="replace", timeout=LONGEST_OPENING
            )
        with container:
            yield container


def packets(container: InputContainer, streams: Sequence[Stream], file: MediaFile) -> Iterator[Packet[Any]]:
    """Give the packets of some streams, in the order of the file.

    Raises:
        MediaError: together they are larger than the file: it says that they overlap.
    """
    size = 0
    for packet in container.demux(*streams):
        size += packet.size
        _check_size(size, file)
        yield packet


def check_packets(container: InputContainer, stream: Stream, file: MediaFile) -> None:
    """Check what `packets` checks, where packets may lie anywhere, at the least cost."""
    if file.lists_packets:
        _check_size(sum(entry.size for entry in stream.index_entries), file)
    elif file.demuxer == "mov":
        for _ in packets(container, [stream], file):
            pass


def _check_size(size: int, file: MediaFile) -> None:
    if size > 2 * len(file.data) + _SLACK:
        raise MediaError(
            f"is damaged: its packets are larger than the file, which has {len(file.data)} bytes"
        )


class Writer:
    """A file that is being written.

    Attributes:
        container: for adding streams.
        content: the file, when it is complete.
    """

    container: OutputContainer
    content: bytes = b""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """Bytes that are written so far."""
        return os.fstat(self._descriptor).st_size

    def mux(self, packets: Iterable[Packet]) -> None:
        """Write packets of any of its streams.

        Raises:
            MediaError: the file gets too large.
        """
        for packet in packets:
            self.container.mux_one(packet)
        self.check_size()

    def check_size(self) -> None:
        """Refuse a file that gets too large; see `mux`."""
        if self.size > LARGEST_RESULT:
            raise MediaError(f"is too long: converted it takes more than {LARGEST_RESULT} bytes")


@contextmanager
def writing(muxer: str) -> Iterator[Writer]:
    """Write a file that does not tell when and with which version it was written.

    Args:
        muxer: FFmpeg's name of the format.
    """
    options = {"fflags": "+bitexact"}
    if muxer in ("mp4", "ipod"):
        options["movflags"] = "+faststart"  # the header first, so that players can begin at once
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC)
    try:
        writer = Writer(descriptor)
        path = f"/proc/self/fd/{descriptor}"  # opened twice: its beginning moves to make room for the header
        with av.open(path, "w", muxer, container_options=options) as writer.container:
            yield writer
        writer.check_size()
        writer.content = os.pread(descriptor, writer.size, 0)
    finally:
        os.close(descriptor)
