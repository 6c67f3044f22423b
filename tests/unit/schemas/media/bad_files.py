"""Files that lie, are damaged, or want to do harm; made as needed.

    python -m tests.unit.schemas.media.bad_files audio

gives each to the code in a process of its own, and prints what came of it and what it cost.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Iterator

import numpy as np

from schemas.media import audio
from schemas.media.errors import MediaError
from schemas.media.rules import AudioRules
from tests.unit.schemas.media.av_files import float_wav, riff, sound_file, tone, wav

SECRET = "/etc/hostname"
STREAMINFO = 8  # where it starts in a FLAC file


def playlists() -> Iterator[tuple[str, bytes]]:
    """Files that name other files."""
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{SECRET}\n#EXT-X-ENDLIST\n".encode()
    yield "playlist", hls
    yield "playlist behind a tag", b"ID3\x04\0\0\0\0\0\0" + hls
    yield "list of files", f"ffconcat version 1.0\nfile {SECRET}\n".encode()
    yield (
        "session description",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 1 RTP/AVP 0\na=control:{SECRET}".encode(),
    )
    yield "DASH", f'<?xml version="1.0"?><MPD><BaseURL>file://{SECRET}</BaseURL></MPD>'.encode()


def nothing_known() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "garbage", random.Random(1).randbytes(10_000)
    yield "text", b"hello" * 100
    yield "PNG", b"\x89PNG\r\n\x1a\n" + bytes(100)
    yield from playlists()


def bad_sounds() -> Iterator[tuple[str, bytes]]:
    second = tone(1000, 2000, rate=48_000)
    whole = {
        "wav": wav(second, 48_000),
        "mp3": sound_file(second, 48_000, "mp3", "libmp3lame"),
        "ogg": sound_file(tone(1000, rate=48_000, seconds=3), 48_000, "ogg", "libopus"),
        "flac": sound_file(tone(1000, rate=48_000, seconds=3), 48_000, "flac", "flac"),
        "m4a": sound_file(tone(1000, rate=48_000, seconds=3), 48_000, "ipod", "aac", movflags="faststart"),
        "webm": sound_file(tone(1000, rate=48_000, seconds=3), 48_000, "webm", "libopus"),
    }
    yield from nothing_known()
    for format, data in whole.items():
        yield f"{format} cut off", data[: len(data) * 2 // 5]
        yield f"{format} of nothing but its beginning", data[:40]
        yield f"{format} with a body of noise", data[:300] + random.Random(2).randbytes(len(data) - 300)
    yield "wav of hours", riff(1, 1, 8000, 8, bytes(1000), promised=0x7FFFFFF0)
    yield "wav of 0 Hz", riff(1, 1, 0, 16, bytes(1000))
    yield "wav of 4 GHz", riff(1, 1, 4_000_000_000, 16, bytes(1000))
    yield "wav of 0 channels", riff(1, 0, 8000, 16, bytes(1000))
    yield "wav of 65535 channels", riff(1, 65535, 8000, 16, bytes(1000))
    yield "wav of 7 bits", riff(1, 1, 8000, 7, bytes(1000))
    yield "wav of an unknown codec", riff(0x0161, 1, 8000, 16, bytes(1000))
    yield "wav of nothing", riff(1, 1, 8000, 16, b"")
    yield "wav without samples", riff(1, 1, 8000, 16, b"")[:36]
    yield "wav of NaN", float_wav(np.array([[0, np.nan, 0.5]]))
    yield "wav of infinity", float_wav(np.array([[0, np.inf, 0.5]]))
    flac = bytearray(whole["flac"])
    yield "flac of 400 hours", _flac_length(flac, 2**36 - 1)
    yield "flac longer than it says", _flac_length(bytearray(sound_file(
        np.zeros((1, 48_000 * 60), np.float32), 48_000, "flac", "flac")), 48_000)  # fmt: skip
    yield "mp3 with a bomb in its tag", _tag_bomb() + whole["mp3"][: len(whole["mp3"]) // 4]
    webm = whole["webm"]
    at = webm.index(b"\x44\x89\x88") + 3
    yield "webm of years", webm[:at] + struct.pack(">d", 1e14) + webm[at + 8 :]
    yield "webm longer than it says", webm[:at] + struct.pack(">d", 10) + webm[at + 8 :]
    yield "m4a that promises samples", promising(whole["m4a"], 100_000_000)
    yield "m4a that promises some samples", promising(whole["m4a"], 10_000_000)
    yield "m4a of many streams", many_tracks(whole["m4a"], 40)


def promising(data: bytes, count: int) -> bytes:
    """An MP4 file whose header, which stands first, promises that many samples in each track."""
    out = bytearray(data)
    for name, entry in (
        (b"stsz", struct.pack(">II", 1, count)),
        (b"stts", struct.pack(">III", 1, count, 1)),
        (b"stsc", struct.pack(">IIII", 1, 1, count, 1)),
    ):
        at = out.find(name)
        while at >= 0:
            out[at + 8 : at + 8 + len(entry)] = entry
            at = out.find(name, at + 1)
    return bytes(out)


def many_tracks(data: bytes, count: int) -> bytes:
    """An MP4 file whose header, which stands first, has its first track many times."""
    moov, track = data.index(b"moov") - 4, data.index(b"trak") - 4
    (size,), (length,) = struct.unpack_from(">I", data, moov), struct.unpack_from(">I", data, track)
    more = data[track : track + length] * (count - 1)
    return data[:moov] + struct.pack(">I", size + len(more)) + data[moov + 4 : track] + more + data[track:]


def _flac_length(data: bytearray, samples: int) -> bytes:
    at = STREAMINFO + 13
    data[at] = (data[at] & 0xF0) | samples >> 32
    data[at + 1 : at + 5] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def _tag_bomb() -> bytes:
    size = 250_000_000
    packer = zlib.compressobj()
    packed = packer.compress(b"\0") + b"".join(
        packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)
    )
    packed += packer.flush()
    synchsafe = lambda n: bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0))  # noqa: E731
    frame = b"TXXX" + synchsafe(len(packed) + 4) + b"\0\x09" + synchsafe(size) + packed
    return b"ID3\x04\0\0" + synchsafe(len(frame)) + frame


def main(kind: str) -> None:
    """Print a line of JSON for each file."""
    cases = list({"audio": bad_sounds}[kind]())
    convert = {"audio": lambda data: audio.convert(data, AudioRules())}[kind]
    convert(wav(tone(1000)))  # what is loaded at first use
    for name, data in cases:
        start, problems = time.monotonic(), None
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            convert(data)
        except MediaError as error:
            problems = error.problems
        seconds = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = {"name": name, "problems": problems, "seconds": seconds, "grown_mb": (after - before) / 1024,
                "mb": after / 1024}  # fmt: skip
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
