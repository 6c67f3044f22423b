"""What a file of sound or video is, read from its bytes before FFmpeg sees them.

FFmpeg believes headers: it needs gigabytes to open an MP4 file of 20 kB that promises enough samples, a tag
in front of an MP3 file may be a bomb, and a playlist names other files. Here the format is told by the first
bytes, from a short list, and what must not be believed is counted, refused or cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from schemas.media.errors import MediaError
from schemas.media.limits import AUDIO_FORMATS, VIDEO_FORMATS

LARGEST_INDEX = 1_000_000
"""Samples (frames, packets) that an MP4 file may list: FFmpeg needs about 36 bytes for each to open it."""
MOST_PARTS = 50_000
"""Chunks, boxes, tables or elements that a file may have before its media, or between them."""
MOST_TAGS = 8
"""ID3 tags that may stand in front of a file."""
MOST_CHANNELS = 8
FASTEST_SAMPLING = 384_000
"""Hz."""
CUT_OFF = "is cut off: a part of what its header promises is missing"

_DEMUXERS = {"webm": "matroska", "mkv": "matroska", "mp4": "mov"}
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # of a file that was written as a stream
_SEGMENT, _CLUSTER, _TRACKS = 0x18538067, 0x1F43B675, 0x1654AE6B  # elements of Matroska
_COMPRESSION = (0xAE, 0x6D80, 0x6240, 0x5034)  # the way from the tracks to it
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WAV_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64), _ALAW: (8,), _MULAW: (8,)}


@dataclass(frozen=True)
class MediaFile:
    """A file that FFmpeg may open.

    Attributes:
        format: one that `sniff` knows.
        data: what FFmpeg gets: the file, or as much of it as it needs.
        bits: of a sample; None: it was not read here.
        seconds: what its header promises; None: it was not read here.
        is_whole: whether all that its header promises is there, as far as that can be told here.
        tells_length: whether its header tells how long it is.
        lists_packets: whether its header lists all packets, wherever in the file they lie.
    """

    format: str
    data: bytes | memoryview
    bits: int | None = None
    seconds: float | None = None
    is_whole: bool = True
    tells_length: bool = True
    lists_packets: bool = False

    @property
    def demuxer(self) -> str:
        """FFmpeg's name of the reader of this format."""
        return _DEMUXERS.get(self.format, self.format)


def sniff(data: bytes) -> str | None:
    """Tell what a file is by its first bytes.

    Returns:
        wav, mp3, ogg, flac, webm, mkv, mp4 (M4A, too) or mov; None: nothing that is read here.
    """
    head = data[:64]
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm" if b"\x42\x82\x84webm" in head else "mkv" if b"\x42\x82\x88matroska" in head else None
    if head[4:8] == b"ftyp":
        return "mov" if head[8:12] == b"qt  " else "mp4"
    start = _after_tags(data)
    head = data[start : start + 4]
    if head == b"fLaC":
        return "flac"
    is_layer_3 = len(head) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return "mp3" if is_layer_3 else None


def inspect(data: bytes) -> MediaFile:
    """Give what FFmpeg may read of a file.

    Raises:
        MediaError: it is empty, of no format that is known here, or its header cannot be true.
    """
    if not data:
        raise MediaError("is empty")
    found = sniff(data)
    if found is None:
        formats = ", ".join(dict.fromkeys((*AUDIO_FORMATS, *VIDEO_FORMATS)))
        raise MediaError(f"is no sound and no video of a known format: send {formats}")
    read = _READERS.get(found)
    return read(data) if read else MediaFile(found, data)


def _read_wav(data: bytes) -> MediaFile:
    """Check the header and give a file of nothing but format and samples."""
    chunks = _wav_chunks(data)
    form = next((data[start : start + size] for name, start, size in chunks if name == b"fmt "), b"")
    if len(form) < 16:
        raise MediaError("is damaged: a WAV file without a format")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)
    problems = []
    if not 1 <= channels <= MOST_CHANNELS:
        problems.append(f"its number of channels of {channels} is not between 1 and {MOST_CHANNELS}")
    if not 1 <= rate <= FASTEST_SAMPLING:
        problems.append(f"its sample rate of {rate} Hz is not between 1 and {FASTEST_SAMPLING} Hz")
    if bits not in _WAV_BITS.get(tag, ()):
        problems.append(f"holds samples of kind {tag} with {bits} bits: expected PCM of 8, 16, 24 or 32 bits")
    elif block != channels * bits // 8:
        problems.append("is damaged: its header contradicts itself")
    MediaError.raise_if(problems)
    start, promised = next(((start, size) for name, start, size in chunks if name == b"data"), (len(data), 0))
    there = len(data) - start
    size = min(there, there if promised in _UNKNOWN_SIZES else promised) // block * block
    if not size:
        raise MediaError("is damaged: it holds no samples")
    if (
        tag == _FLOAT
        and not np.isfinite(np.frombuffer(data, f"<f{bits // 8}", size * 8 // bits, start)).all()
    ):
        raise MediaError("holds samples that are no numbers (NaN) or infinite")
    header = struct.pack("<4sI4s4sI", b"RIFF", 20 + len(form) + size, b"WAVE", b"fmt ", len(form)) + form
    header += struct.pack("<4sI", b"data", size)
    return MediaFile(
        "wav",
        header + data[start : start + size],
        bits=bits,
        seconds=(size if promised in _UNKNOWN_SIZES else promised) / (block * rate),
        is_whole=promised in _UNKNOWN_SIZES or promised - promised % block <= size,
    )


def _wav_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Give name, start and promised size of the chunks up to the samples."""
    chunks: list[tuple[bytes, int, int]] = []
    position = 12
    while position + 8 <= len(data) and (not chunks or chunks[-1][0] != b"data"):
        _count(len(chunks))
        name, size = struct.unpack_from("<4sI", data, position)
        chunks.append((name, position + 8, size))
        position += 8 + size + size % 2
    return chunks


def _read_mp3(data: bytes) -> MediaFile:
    # Tags are left out: their frames may be compressed, a thousandfold.
    music = memoryview(data)[_after_tags(data) :]
    first_frame = bytes(music[:256])
    return MediaFile("mp3", music, tells_length=b"Xing" in first_frame or b"Info" in first_frame)


def _read_flac(data: bytes) -> MediaFile:
    start = _after_tags(data)
    bits = (int.from_bytes(data[start + 20 : start + 22]) >> 4 & 0x1F) + 1
    return MediaFile("flac", memoryview(data)[start:], bits=bits)


def _after_tags(data: bytes) -> int:
    """Give where a file begins behind its ID3 tags."""
    start = tags = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10 and tags < MOST_TAGS:
        tags += 1
        flags, *size = data[start + 5 : start + 10]
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
        start += 10 if flags & 0x10 else 0  # a footer
    return start


def _read_ogg(data: bytes) -> MediaFile:
    """Find out whether the last page is whole; where the end is missing, an Ogg file only seems shorter."""
    page = data.rfind(b"OggS")
    table = data[page + 27 : page + 27 + data[page + 26]] if page + 27 <= len(data) else None
    is_whole = table is not None and page + 27 + len(table) + sum(table) <= len(data)
    return MediaFile("ogg", data, is_whole=is_whole)


def _read_mp4(data: bytes) -> MediaFile:
    """Count the samples that all tables together promise, wherever in the header they hide."""
    samples = tables = 0
    in_fragments = False
    for start, end in _mp4_headers(data):
        if data.find(b"cmov", start, end) >= 0:
            raise MediaError("holds a compressed header, which is not taken")
        names = {b"stsz": 12, b"stz2": 12}
        if data.find(b"tfhd", start, end) >= 0:
            in_fragments, names[b"trun"] = True, 8
        for name, offset in names.items():
            for position in _positions(data, name, start, end):
                samples += int.from_bytes(data[position + offset : position + offset + 4])
                tables += 1
                _count(tables)
    if samples > LARGEST_INDEX:
        raise MediaError(f"lists {samples} frames and packets: at most {LARGEST_INDEX} are allowed")
    return MediaFile(sniff(data) or "mp4", data, lists_packets=not in_fragments)


def _read_matroska(data: bytes) -> MediaFile:
    """Refuse frames that are compressed once more: a bomb, or a prefix of megabytes for each of them."""
    segments = (part for name, *part in _elements(data, 0, len(data)) if name == _SEGMENT)
    for name, start, end in _elements(data, *next(segments, (0, 0))):
        if name == _CLUSTER:
            break
        if name == _TRACKS:
            parts = [(start, end)]
            for wanted in _COMPRESSION:
                parts = [
                    (start, end)
                    for part in parts
                    for name, start, end in _elements(data, *part)
                    if name == wanted
                ]
            if parts:
                raise MediaError("holds frames that are compressed once more, which is not taken")
            return MediaFile(sniff(data) or "webm", data)
    raise MediaError("is damaged: it does not tell its tracks before its frames")


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give name, start and end of the elements of Matroska in a part of a file."""
    count = 0
    while start < end:
        count += 1
        _count(count)
        name, start = _number(data, start, 4)
        size, body = _number(data, start, 8)
        bits = 7 * (body - start)
        size -= 1 << bits  # the bit that tells the length
        is_open = size == (1 << bits) - 1  # written as a stream
        start = end if is_open else body + size
        if start > len(data):
            raise MediaError(CUT_OFF)
        if start > end:
            raise MediaError("is damaged: an element is longer than what it stands in")
        yield name, body, start


def _number(data: bytes, start: int, longest: int) -> tuple[int, int]:
    """Give a number of Matroska, with the bit that tells its length, and where it ends."""
    length = 9 - (data[start] if start < len(data) else 0).bit_length()
    if length > longest or start + length > len(data):
        raise MediaError("is damaged: an element has no name or no size")
    return int.from_bytes(data[start : start + length]), start + length


def _mp4_headers(data: bytes) -> Iterator[tuple[int, int]]:
    """Give start and end of everything but the media data.

    Raises:
        MediaError: header or media data end early. FFmpeg would give what is there.
    """
    position = boxes = 0
    while position + 8 <= len(data):
        boxes += 1
        _count(boxes)
        size, name = struct.unpack_from(">I4s", data, position)
        if size == 1 and position + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, position + 8)
        end = position + size if size >= 8 else len(data)
        if end > len(data) and name in (b"moov", b"moof", b"mdat"):
            raise MediaError(CUT_OFF)
        if name != b"mdat":
            yield position, end
        position = end


def _count(parts: int) -> None:
    if parts > MOST_PARTS:
        raise MediaError(f"is damaged: it has more than {MOST_PARTS} parts")


def _positions(data: bytes, word: bytes, start: int, end: int) -> Iterator[int]:
    position = data.find(word, start, end)
    while position >= 0:
        yield position
        position = data.find(word, position + 1, end)


_READERS: dict[str, Callable[[bytes], MediaFile]] = {
    "wav": _read_wav,
    "mp3": _read_mp3,
    "flac": _read_flac,
    "ogg": _read_ogg,
    "webm": _read_matroska,
    "mkv": _read_matroska,
    "mp4": _read_mp4,
    "mov": _read_mp4,
}
