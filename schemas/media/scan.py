"""Looks at the bytes of an image before Pillow does.

Pillow reads what stands before the pixels in Python, part by part, and joins some parts in quadratic time: a
comment of 50 MB in a GIF, or millions of empty segments in a JPEG, keep it busy for minutes. So the parts are
counted here first. Structures after the specifications: GIF89a, ITU T.81 (JPEG), PNG, TIFF 6.0.
"""

from __future__ import annotations

from typing import Literal

from schemas.media.errors import MediaError

SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
STRIP_OFFSETS, TILE_OFFSETS = 273, 324
"""Tags of a TIFF: where its strips and tiles are."""
BASELINE, START_OF_SCAN = (0xC0, 0xC1), 0xDA
"""Markers of a JPEG. With all components in its first scan, a baseline JPEG has no other."""
MAX_SEGMENTS = 1000
"""Segments of a JPEG before its first scan: metadata, tables."""
MAX_HEADER = 16_000_000
"""Bytes of a JPEG before its first scan."""
MAX_SCANS = 64
"""Scans of a progressive JPEG, each of which costs a pass over all pixels; 10 are usual."""
MAX_CHUNKS = 50_000
"""Chunks of a PNG; usually of 8 KiB or more."""
MAX_BLOCKS = 500_000
"""Blocks of up to 255 bytes of a GIF."""
MAX_PAGES = 1000
"""Pages of a TIFF."""
MAX_STRIPS = 50_000
"""Strips or tiles of a page of a TIFF."""
MAX_EXTENSION = 4000
"""Blocks of one comment or other extension of a GIF."""


def image_format(data: bytes) -> str | None:
    """Tell the format of an image by its first bytes; None: none of those known here."""
    for signature, name in SIGNATURES:
        if data.startswith(signature):
            return name
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def check_parts(data: bytes, format: str) -> None:
    """Refuse a file that is made of too many parts.

    Raises:
        MediaError: with the limit. A file that breaks off in the middle passes: Pillow says so.
    """
    try:
        if format == "jpeg":
            _check_jpeg(data)
        elif format == "png":
            _check_png(data)
        elif format == "gif":
            count_gif_frames(data)
        elif format == "tiff":
            _check_tiff(data)
    except IndexError:
        pass


def count_gif_frames(data: bytes, stop: int = 1 << 30) -> int:
    """Count the frames of a GIF, up to `stop`.

    Raises:
        MediaError: it has too many blocks.
    """
    position, frames, blocks = 13 + _color_table(data[10]), 0, 0
    try:
        while frames < stop and data[position] in b"\x2c\x21":
            is_frame = data[position] == 0x2C
            frames += is_frame
            position += 11 + _color_table(data[position + 9]) if is_frame else 2
            before = blocks
            while length := data[position]:
                position += length + 1
                blocks += 1
            position += 1
            blocks += 1
            if blocks > MAX_BLOCKS or (not is_frame and blocks - before > MAX_EXTENSION):
                raise _too_many("blocks", MAX_BLOCKS if is_frame else MAX_EXTENSION)
    except IndexError:
        pass  # it breaks off: what there was is counted
    return frames


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _check_jpeg(data: bytes) -> None:
    position, segments, components, one_scan = 2, 0, 0, False
    while position < MAX_HEADER and segments < MAX_SEGMENTS:
        start = data.find(b"\xff", position)
        if start < 0:
            return
        marker, length = data[start + 1], int.from_bytes(data[start + 2 : start + 4], "big")
        if marker in BASELINE:
            components = data[start + 9]
        elif marker == START_OF_SCAN:
            one_scan = components == data[start + 4]
            break
        segments += 1
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        position = start + (1 if alone else 2 + length)
    else:
        raise _too_many("segments", MAX_SEGMENTS)
    if not one_scan and data.count(b"\xff\xda") > MAX_SCANS:
        raise _too_many("scans", MAX_SCANS)


def _check_png(data: bytes) -> None:
    position, chunks = 8, 0
    while position < len(data):
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise _too_many("chunks", MAX_CHUNKS)


def _check_tiff(data: bytes) -> None:
    order: Literal["little", "big"] = "little" if data[0] == 0x49 else "big"

    def number(position: int, size: int) -> int:
        return int.from_bytes(data[position : position + size], order)

    page, pages = number(4, 4), 0
    while page:
        pages += 1
        if pages > MAX_PAGES:
            raise _too_many("pages", MAX_PAGES)
        end = page + 2 + 12 * number(page, 2)
        for entry in range(page + 2, min(end, len(data)), 12):
            if number(entry, 2) in (STRIP_OFFSETS, TILE_OFFSETS) and number(entry + 4, 4) > MAX_STRIPS:
                raise _too_many("strips", MAX_STRIPS)
        page = number(end, 4)


def _too_many(parts: str, limit: int) -> MediaError:
    return MediaError(f"is made of too many {parts}: at most {limit} allowed")
