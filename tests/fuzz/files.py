"""Whole files of every format, and damage to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

from tests.data.hostile import full_gif, gif, gray_tiff, picture
from tests.unit.schemas.media.av_files import float_wav, sound_file, tone, video_file, wav
from tests.unit.schemas.media.av_files import picture as frame

RATE = 48_000
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
WIDE_EDGES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MOST_CHANGES = 12


def _images() -> dict[str, bytes]:
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    return {format.lower(): picture(format) for format in formats} | {
        "jpeg, progressive": picture("JPEG", progressive=True),
        "jpeg, cmyk": picture("JPEG", mode="CMYK"),
        "jpeg, with exif": picture(
            "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
        ),
        "png, palette": picture("PNG", mode="P"),
        "png, alpha": picture("PNG", mode="RGBA"),
        "webp, lossless": picture("WEBP", lossless=True),
        "webp, alpha": picture("WEBP", mode="RGBA"),
        "tiff, lzw": picture("TIFF", compression="tiff_lzw"),
        "tiff, jpeg": picture("TIFF", compression="jpeg"),
        "tiff, strips": gray_tiff(40, 40, 10, 4),
        "gif, frames": gif(20, 20, 6),
        "gif, full frames": full_gif(30, 30, 5),
    }


def _sounds() -> dict[str, bytes]:
    sound = tone(1000, 2000, rate=RATE, seconds=0.3)
    return {
        "wav": wav(sound, RATE),
        "wav, float": float_wav(sound, RATE),
        "mp3": sound_file(sound, RATE, "mp3", "libmp3lame"),
        "ogg": sound_file(sound, RATE, "ogg", "libopus"),
        "flac": sound_file(sound, RATE, "flac", "flac"),
        "m4a": sound_file(sound, RATE, "ipod", "aac", movflags="faststart"),
        "webm": sound_file(sound, RATE, "webm", "libopus"),
    }


def _videos() -> dict[str, bytes]:
    frames = [frame(number, (64, 48)) for number in range(4)]
    sound = tone(1000, 2000, rate=RATE, seconds=0.4)
    return {
        "mp4": video_file(frames, sound=sound, movflags="faststart"),
        "mp4, fragments": video_file(frames, sound=sound, movflags="frag_keyframe+empty_moov"),
        "mov, hevc": video_file(frames, "mov", "libx265"),
        "webm, vp8": video_file(frames, "webm", "libvpx", sound=sound),
        "webm, vp9": video_file(frames, "webm", "libvpx-vp9", sound=sound),
        "mkv": video_file(frames, "matroska", "libx264", sound=sound),
    }


@cache
def whole(kind: str) -> Mapping[str, bytes]:
    """Give small files of all formats of "image", "audio" or "video", by name."""
    make: Mapping[str, Callable[[], dict[str, bytes]]] = {
        "image": _images,
        "audio": _sounds,
        "video": _videos,
    }
    return make[kind]()


def damaged(data: bytes, others: Mapping[str, bytes], random: Random) -> bytes:
    """Give a file with some changes, most of them near its beginning, where it can lie.

    Args:
        data: the file.
        others: files from which parts may come.
        random: decides.
    """
    out = bytearray(data)
    for _ in range(random.randint(1, MOST_CHANGES)):
        at = int(random.random() ** random.choice((1, 3)) * len(out))
        how = random.randrange(8)
        if how == 0:
            out[at : at + 1] = bytes([random.randrange(256)])
        elif how == 1:
            out[at : at + 1] = bytes([random.choice(EDGES)])
        elif how == 2:
            out[at : at + 4] = random.choice(WIDE_EDGES).to_bytes(4, random.choice(("little", "big")))
        elif how == 3:
            out[at : at + 2] = random.randrange(65536).to_bytes(2)
        elif how == 4:
            del out[at : at + random.randint(1, 64)]
        elif how == 5:
            out[at:at] = out[at : at + random.randint(1, 256)] * random.randint(1, 4)
        elif how == 6:
            other = random.choice(list(others.values()))
            start = random.randrange(len(other))
            out[at : at + random.randrange(64)] = other[start : start + random.randint(1, 256)]
        elif random.random() < 0.2:
            del out[at:]
    return bytes(out)
