"""Files among inputs and outputs: which bytes are which format, and what forms they may have."""

import base64
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image

from client import Media
from client.inputs import to_wire
from client.media import media_type

GIF = b"GIF89a and so on"
GIF_URL = "data:image/gif;base64," + base64.b64encode(GIF).decode()


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


def test_files_may_be_bytes_paths_or_open_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(GIF)
    with path.open("rb") as file:
        sent = to_wire({"files": [GIF, bytearray(GIF), memoryview(GIF), path, file, BytesIO(GIF)]})
    assert sent == {"files": [GIF_URL] * 6}


def test_a_file_that_gives_text_is_refused() -> None:
    with pytest.raises(ValueError, match="open"):
        to_wire(StringIO("text"))


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        to_wire(tmp_path / "nothing.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "HSV"])
def test_images_of_pillow_go_as_png_and_come_back(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    media = Media(to_wire(image))
    assert media.type == "image/png"
    with media.image() as back:
        assert (back.size, back.format) == ((3, 2), "PNG")


def test_pillow_is_not_imported_unless_it_is_given() -> None:
    code = "import sys, client.inputs; client.inputs.to_wire([b'GIF8', 1]); print('PIL' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_outputs_are_decoded_and_saved(tmp_path: Path) -> None:
    media = Media(GIF_URL)
    assert (media.type, media.data) == ("image/gif", GIF)
    assert media.save(tmp_path / "a.gif").read_bytes() == GIF
    assert "R0lG" not in repr(media)


@pytest.mark.parametrize(
    "text", ["", "hello", "https://x/y.png", "data:image/png,abc", "data:image/png;base64,a"]
)
def test_what_is_no_data_url_is_no_file(text: str) -> None:
    with pytest.raises(ValueError, match="data URL"):
        Media(text)
