"""Files that lie, are damaged, or want to do harm; made as needed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from tests.unit.schemas.media.av_files import float_wav, picture, riff, sound_file, tone, video_file, wav

SECRET = "/etc/hostname"
STREAMINFO = 8  # where it starts in a FLAC file
REASONS = {
    "empty": "is empty",
    "PNG": "of a known format",
    "playlist": "of a known format",
    "list of files": "of a known format",
    "wav cut off": "is cut off",
    "ogg cut off": "is cut off",
    "mp3 cut off": "of 1.0 s that its header promises 0.4 s are there",
    "mp4 cut off": "is cut off",
    "webm cut off": "is cut off",
    "fragments cut off": "is cut off",
    "wav of hours": "its duration of 268435.5 s is too long: at most 3600 s",
    "wav of 0 Hz": "its sample rate of 0 Hz",
    "wav of 65535 channels": "its number of channels of 65535",
    "wav of 7 bits": "7 bits",
    "wav of NaN": "NaN",
    "flac of 400 hours": "too long: at most 3600 s",
    "flac longer than it says": "longer than its header says",
    "webm of years": "too long: at most 3600 s",
    "webm that packs its frames like a bomb": "compressed once more",
    "wav of many parts": "more than 50000 parts",
    "mp3 behind many tags": "of a known format",
    "m4a of many parts": "more than 50000 parts",
    "m4a of many tables": "more than 50000 parts",
    "webm of many parts": "more than 50000 parts",
    "webm longer than it says": "longer than its header says",
    "m4a that promises samples": "at most 1000000",
    "m4a whose packets overlap": "larger than the file",
    "m4a of many streams": "more than 16 streams",
    "only sound": "no pictures that move",
    "mp4 that promises frames": "at most 1000000",
    "mp4 that promises a few frames": "at most 50000",
    "fragments that promise frames": "at most 1000000",
    "mp4 whose frames overlap": "larger than the file",
    "mp4 of many streams": "more than 16 streams",
    "mp4 of hours": "its duration of 52048.0 s is too long: at most 3600 s",
    "mp4 that hides how large it is": "at most 9437184 pixels",
    "webm that hides 30,000 pixels a side": "more than 9437184 pixels",
    "webm of 30,000 pixels a side": "more than 9437184 pixels",
}
"""What a refusal must say, where a file is made to break one limit."""


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
        if format != "wav":
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
    yield "webm that packs its frames like a bomb", _stripped(webm)
    many = 3_000_000
    yield "wav of many parts", whole["wav"][:12] + b"xxxx\0\0\0\0" * many + whole["wav"][12:]
    yield "mp3 behind many tags", b"ID3\x04\0\0\0\0\0\0" * many + whole["mp3"]
    yield "m4a of many parts", whole["m4a"] + b"\0\0\0\x08free" * many
    yield "m4a of many tables", whole["m4a"] + _box(b"free", (b"stsz" + bytes(12)) * many)
    yield "webm of many parts", webm[:40] + b"\x01" + b"\xff" * 7 + b"\xec\x80" * many + webm[48:]
    yield "webm longer than it says", webm[:at] + struct.pack(">d", 10) + webm[at + 8 :]
    yield "m4a that promises samples", promising(whole["m4a"], 100_000_000)
    yield "m4a that promises some samples", promising(whole["m4a"], 10_000_000)
    yield "m4a whose packets overlap", _overlapping(whole["m4a"], 5000, 10_000)
    yield "m4a of many streams", many_tracks(whole["m4a"], 40)


def bad_videos() -> Iterator[tuple[str, bytes]]:
    frames = [picture(n) for n in range(20)]
    sound = tone(1000, 2000, rate=48_000, seconds=2)
    whole = {
        "mp4": video_file(frames, sound=sound, movflags="faststart"),
        "fragments": video_file(frames, sound=sound, movflags="frag_keyframe+empty_moov"),
        "webm": video_file(frames, "webm", "libvpx-vp9", sound=sound),
        "vp8": video_file(frames, "webm", "libvpx", sound=sound),
        "mkv": video_file(frames, "matroska", "libx264", sound=sound),
    }
    yield from nothing_known()
    for format, data in whole.items():
        yield f"{format} cut off", data[: len(data) * 2 // 5]
        yield f"{format} of nothing but its beginning", data[:100]
        yield f"{format} with a body of noise", data[:200] + random.Random(2).randbytes(len(data) - 200)
    yield "only sound", sound_file(tone(1000, rate=48_000), 48_000, "ipod", "aac")
    yield "mp4 that promises frames", promising(whole["mp4"], 100_000_000)
    yield "mp4 that promises some frames", promising(whole["mp4"], 10_000_000)
    yield "mp4 that promises a few frames", promising(whole["mp4"], 400_000)
    yield (
        "fragments that promise frames",
        _patched(whole["fragments"], b"trun", 4, b"\0\0\0\0\x7f\xff\xff\xff"),
    )
    yield "mp4 whose frames overlap", _overlapping(whole["mp4"], 5000, 10_000)
    yield "mp4 of many streams", many_tracks(whole["mp4"], 40)
    in_seconds = (
        (b"edts", 0, b"free"),
        (b"mdhd", 16, struct.pack(">II", 1, 50_000)),
        (b"stts", 12, struct.pack(">II", 20, 2500)),
    )
    yield "mp4 of hours", _patched(whole["mp4"], b"mvhd", 16, struct.pack(">II", 1, 50_000), in_seconds)
    yield "mp4 that names another file", _elsewhere(whole["mp4"])
    yield (
        "mp4 that hides how large it is",
        _patched(video_file([np.zeros((4096, 4096, 3), np.uint8)]), b"avc1", 28, struct.pack(">HH", 64, 64)),
    )
    hidden = _vp9_sized(video_file([picture(1, (1920, 1080))], "webm", "libvpx-vp9"), 30_000)
    yield "webm that hides 30,000 pixels a side", hidden
    wide, high = b"\xb0\x82" + struct.pack(">H", 1920), b"\xba\x82" + struct.pack(">H", 1080)
    side = struct.pack(">H", 30_000)
    yield "webm of 30,000 pixels a side", _patched(hidden, wide, 2, side, [(high, 2, side)])
    webm = whole["webm"]
    at = webm.index(b"\x44\x89\x88") + 3
    yield "webm of years", webm[:at] + struct.pack(">d", 1e14) + webm[at + 8 :]


def _vp9_sized(data: bytes, side: int) -> bytes:
    """A video of VP9 whose first frame says it is larger than it is."""
    at = data.index(b"\x49\x83\x42") + 3
    bits = int.from_bytes(data[at : at + 5])
    bits = bits >> 36 << 36 | (side - 1) << 20 | (side - 1) << 4 | bits & 0xF
    return data[:at] + bits.to_bytes(5) + data[at + 5 :]


def _patched(
    data: bytes, name: bytes, offset: int, patch: bytes, every: Iterable[tuple[bytes, int, bytes]] = ()
) -> bytes:
    """Put bytes behind a name, and behind each occurrence of other names."""
    out = bytearray(data)
    for word, at, new in ((name, offset, patch), *every):
        position = out.find(word)
        while position >= 0:
            out[position + at : position + at + len(new)] = new
            position = out.find(word, position + 4)
    return bytes(out)


def _elsewhere(data: bytes) -> bytes:
    """An MP4 file whose samples are said to lie in another file."""
    entry = _box(b"url ", bytes(4) + f"file://{SECRET}".encode() + b"\0")
    return _replaced(data, b"dref", struct.pack(">II", 0, 1) + entry)


def _overlapping(data: bytes, count: int, size: int) -> bytes:
    """An MP4 file whose first track has packets that all lie at one place."""
    at = data.index(b"mdat") + 4
    data = _replaced(data, b"stts", struct.pack(">IIII", 0, 1, count, 512))
    data = _replaced(data, b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1))
    data = _replaced(data, b"stsz", struct.pack(">III", 0, size, count))
    return _replaced(data, b"stco", struct.pack(">II", 0, count) + struct.pack(">I", at) * count)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def _replaced(data: bytes, name: bytes, content: bytes) -> bytes:
    """An MP4 file, whose header stands first, with another content of the first box of this name."""
    out = bytearray(data)
    start = data.index(name) - 4
    (size,) = struct.unpack_from(">I", data, start)
    box = _box(name, content)
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf" if name == b"dref" else b"stbl"):
        at = data.index(parent) - 4
        out[at : at + 4] = struct.pack(">I", struct.unpack_from(">I", out, at)[0] + len(box) - size)
    out[start : start + size] = box
    return bytes(out)


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


def _stripped(data: bytes) -> bytes:
    """A WEBM file that says that 100 kB were taken off the beginning of each of its frames."""

    def element(name: str, content: bytes) -> bytes:
        return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8) + content

    compression = element("5034", element("4254", b"\x03") + element("4255", bytes(100_000)))
    tracks = data.rindex(b"\x16\x54\xae\x6b")
    entry, end = tracks + 5, tracks + 5 + (data[tracks + 4] & 0x7F)
    track = element("ae", element("6d80", element("6240", compression)) + data[entry + 9 : end])
    segment = data.index(b"\x18\x53\x80\x67") + 4
    head = data[:segment] + b"\x01" + b"\xff" * 7 + element("ec", bytes(tracks - segment - 17))  # of any size
    return head + element("1654ae6b", track) + data[end:]


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
