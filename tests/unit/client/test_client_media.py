"""Which bytes are which format."""

import pytest

from client.media import media_type, to_wire


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"ID3\x04", "audio/mp3"),
        (b"\xff\xfb\x90", "audio/mp3"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"\0\0\0\x1cftypM4A ", "audio/m4a"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
    ],
)
def test_formats_are_told_by_their_first_bytes(data: bytes, name: str) -> None:
    assert media_type(data) == name


@pytest.mark.parametrize("data", [b"", b"RIFF", b"text", b"RIFF\0\0\0\0JUNK"])
def test_unknown_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="data URL"):
        media_type(data)


def test_other_values_are_left_as_they_are() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": "d"}}
    assert to_wire(value) == value
