"""Media among the outputs: data URLs, as bytes, as files, as images of Pillow."""

import base64
import binascii
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

# Leading bytes by format, from the formats' own specifications.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"ID3", "audio/mp3"),
    (b"\xff\xfb", "audio/mp3"),
    (b"\xff\xf3", "audio/mp3"),
    (b"\xff\xf2", "audio/mp3"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF_KINDS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_HEAD = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,")


class Media:
    """A file among the outputs of a job: `Media(result["image"]).save("image.png")`.

    Attributes:
        type: as the data URL names it, such as "image/png".
        data: the bytes of the file.
    """

    def __init__(self, url: str) -> None:
        """Take a data URL apart.

        Raises:
            ValueError: no data URL in base64.
        """
        head = _HEAD.match(url)
        if head is None:
            raise ValueError("not a file: expected a data URL, 'data:<type>/<format>;base64,...'")
        self.type = head[1]
        try:
            self.data = base64.b64decode(url[head.end() :], validate=True)
        except binascii.Error as error:
            raise ValueError("not a file: the data URL holds no base64") from error

    def __repr__(self) -> str:
        return f"Media({self.type}, {len(self.data)} bytes)"

    def save(self, path: str | Path) -> Path:
        """Write the file as it came, and give its path; the name decides nothing about its format."""
        path = Path(path)
        path.write_bytes(self.data)
        return path

    def image(self) -> "Image":
        """Give an image as one of Pillow.

        Raises:
            ImportError: Pillow is not installed.
            PIL.UnidentifiedImageError: it is no image that Pillow reads.
        """
        from PIL import Image  # an option of the caller's, not needed for anything else

        return Image.open(BytesIO(self.data))


def media_type(data: bytes) -> str:
    """Tell the format of an image, an audio or a video file by its first bytes.

    Returns:
        such as "image/png"; m4a files, which share their signature with mp4, are told by their brand.

    Raises:
        ValueError: none of the formats known here.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] in _RIFF_KINDS:
        return _RIFF_KINDS[data[8:12]]
    if data[4:8] == b"ftyp":
        return "audio/m4a" if data[8:11] == b"M4A" else "video/mp4"
    raise ValueError("bytes of an unknown media format; pass a data URL: 'data:<type>/<format>;base64,...'")
