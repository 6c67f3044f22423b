"""Image files that are made to hurt whoever opens them, each with a word that its refusal must hold."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

MIB = 1 << 20


def picture(
    format: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **how: object
) -> bytes:
    """A smooth picture in which every row and column differs."""
    file = io.BytesIO()
    channels = [Image.linear_gradient("L").rotate(angle).resize(size) for angle in (0, 90, 180)]
    Image.merge("RGB", channels).convert(mode).save(file, format, **how)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, before: bytes = b"", rows: int | None = None, depth: int = 8) -> bytes:
    """A black gray PNG; with `rows` its pixels end early."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    packer, row = zlib.compressobj(9), bytes(1 + -(-width * depth // 8))
    pixels = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush(
        zlib.Z_FINISH if rows is None else zlib.Z_SYNC_FLUSH
    )
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def gif(width: int, height: int, frames: int, before: bytes = b"") -> bytes:
    """A GIF whose frames are one black pixel each, on a canvas of this size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + before + frame * frames + b"\x3b"


def full_gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of black frames that fill the canvas: LZW makes almost nothing of them."""
    file = io.BytesIO()
    Image.new("P", (width, height)).save(file, "GIF")
    data = file.getvalue()
    start = data.index(b"\x2c")
    return data[:start] + data[start:-1] * frames + b"\x3b"


def jpeg_of_many_scans(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = picture("JPEG", (640, 480), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def tiff(entries: list[tuple[int, int, int, int]], more: bytes = b"") -> bytes:
    """A TIFF of these entries (tag, type, count, value or offset), followed by `more` at offset 8192."""
    folder = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (b"II*\0" + struct.pack("<I", 8) + folder + bytes(4)).ljust(8192, b"\0") + more


def gray_tiff(width: int, height: int, strips: int, rows: int) -> bytes:
    """An uncompressed gray TIFF with so many strips, all of which lie at one place."""
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, strips, 8192), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, strips, 8192 + 4 * strips),
    ]  # fmt: skip
    return tiff(entries, struct.pack("<I", 8192) * strips + struct.pack("<I", width * rows) * strips)


def comment(size: int) -> bytes:
    """A comment of a GIF."""
    return b"\x21\xfe" + (b"\xff" + b"x" * 255) * (size // 256) + b"\0"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "garbage": (lambda: bytes(range(256)) * 40, "known format"),
    "text": (lambda: b"hello world", "known format"),
    "a sound called an image": (lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "known format"),
    "signature only, jpeg": (lambda: b"\xff\xd8\xff", "damaged"),
    "signature only, png": (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
    "signature only, gif": (lambda: b"GIF89a", "damaged"),
    "signature only, bmp": (lambda: b"BM", "damaged"),
    "signature only, tiff": (lambda: b"II*\0", "damaged"),
    "signature only, webp": (lambda: b"RIFF\0\0\0\0WEBP", "damaged"),
    **{
        f"truncated, {format}": (lambda format=format: picture(format, (300, 200))[:-60], "damaged")  # type: ignore[misc]
        for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    },
    "a PNG of a gray screen, 100 megapixels in 97 kB": (lambda: png(10000, 10000), "50000000 allowed"),
    "a PNG of one bit, 1000 megapixels": (lambda: png(32000, 32000, rows=0, depth=1), "50000000 allowed"),
    "a PNG that ends early": (lambda: png(7000, 7000, rows=6990), "damaged"),
    "a PNG of 30,000 pixels in a row": (lambda: png(30000, 1), "16384 allowed"),
    "a PNG of 30,000 rows": (lambda: png(1, 30000), "16384 allowed"),
    "a PNG of millions of chunks": (lambda: png(9, 9, chunk(b"prVt", b"") * 1_000_000), "chunks"),
    "a PNG with a text of 128 MB": (
        lambda: png(9, 9, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27), 1))),
        "damaged",
    ),
    "a GIF whose header claims 4 gigapixels": (lambda: gif(65535, 65535, 1), "allowed"),
    "a GIF of 5000 frames": (lambda: gif(100, 100, 5000), "at most 1 allowed"),
    "a GIF of a million frames": (lambda: gif(10, 10, 1_000_000), "too many"),
    "a GIF that is a zip bomb": (lambda: full_gif(5000, 5000, 300), "allowed"),
    "a GIF with a comment of 10 MB": (lambda: gif(9, 9, 1, comment(10 * MIB)), "blocks"),
    "a JPEG of millions of segments": (
        lambda: b"\xff\xd8" + b"\xff\xe1\0\x02" * 2_000_000 + picture()[2:],
        "segments",
    ),
    "a JPEG with 20 MB of metadata": (
        lambda: b"\xff\xd8" + (b"\xff\xe1\xff\xff" + bytes(65533)) * 320 + picture()[2:],
        "segments",
    ),
    "a JPEG of 2000 scans": (lambda: jpeg_of_many_scans(2000), "scans"),
    "a BMP that claims 30,000 x 30,000": (
        lambda: picture("BMP")[:18] + struct.pack("<ii", 30000, 30000) + picture("BMP")[26:],
        "50000000 allowed",
    ),
    "a BMP that claims 7000 x 7000": (
        lambda: picture("BMP")[:18] + struct.pack("<ii", 7000, 7000) + picture("BMP")[26:],
        "damaged",
    ),
    "a TIFF that claims 30,000 x 30,000": (lambda: gray_tiff(30000, 30000, 1, 1), "50000000 allowed"),
    "a TIFF of a million strips": (lambda: gray_tiff(10, 10, 1_000_000, 1), "strips"),
    "a WEBP that claims 16,383 x 16,383": (
        lambda: b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xfe\x3f\0" * 2,
        "50000000 allowed",
    ),
}
"""What it is -> how it is made, and a word of what is said of it."""


def truncations(data: bytes, steps: int = 40) -> Iterator[bytes]:
    """The file, cut off at ever later places; at its very end stands what its pixels do not need."""
    for step in range(steps):
        yield data[: len(data) * step // steps * 9 // 10]
