"""Images that a model gives: written as the endpoint file declares them."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from schemas import Endpoint, EndpointFileError, OutputError, load_endpoints
from tests.data.hostile import picture

Make = Callable[[str], Endpoint]
RGB = Image.open(io.BytesIO(picture("PNG", (60, 40)))).convert("RGB")
ARRAY = numpy.asarray(RGB)


@pytest.fixture
def endpoint(tmp_path: Path) -> Make:
    """Gives a function that makes an endpoint of the rules of its output and partial output `x`."""

    def make(rules: str) -> Endpoint:
        head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n'
        tables = f"[OUTPUTS]\nx = {{ {rules} }}\n[PROGRESS.OUTPUTS]\nx = {{ {rules} }}\n"
        (tmp_path / "it.toml").write_text(head + tables)
        return load_endpoints([tmp_path])["it"]

    return make


def opened(url: str) -> Any:
    head, _, body = url.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    image.load()
    assert head == f"data:image/{str(image.format).lower()};base64"
    return image


def dumped(endpoint: Endpoint, value: Any) -> Any:
    found = endpoint.dump_outputs({"x": value})["x"]
    assert json.loads(json.dumps(found)) == found
    return opened(found) if isinstance(found, str) else [opened(url) for url in found]


def difference(a: Image.Image, b: Image.Image) -> float:
    x, y = (numpy.asarray(image.convert("RGB"), "float32") for image in (a, b))
    return float(numpy.abs(x - y).mean())


def file(position: int = 0) -> io.BytesIO:
    stream = io.BytesIO(picture("PNG", (60, 40)))
    stream.seek(position)
    return stream


VALUES = {
    "Pillow": RGB,
    "Pillow, RGBA": RGB.convert("RGBA"),
    "Pillow, not yet decoded": Image.open(file()),
    "uint8": ARRAY,
    "uint8, RGBA": numpy.asarray(RGB.convert("RGBA")),
    "uint8, not contiguous": ARRAY[::-1][::-1],
    "float32": ARRAY.astype("float32") / 255,
    "float64": ARRAY / 255,
    "float16": (ARRAY / 255).astype("float16"),
    "bytes": file().getvalue(),
    "bytearray": bytearray(file().getvalue()),
    "memoryview": memoryview(file().getvalue()),
    "open file": file(),
    "file that was just written": file(position=10_000),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(("format", "error"), [("JPEG", 2), ("png", 0.3), ("WEBP", 2), ("GIF", 8)])
def test_whatever_a_model_gives_becomes_the_declared_format(
    endpoint: Make, value: Any, format: str, error: float
) -> None:
    made = dumped(endpoint(f'type = "image", format = "{format}"'), value)
    assert (made.format, made.size) == (format.upper(), (60, 40))
    assert difference(made, RGB) <= error


@pytest.mark.parametrize(
    ("format", "space", "mode"),
    [
        ("JPEG", "RGB", "RGB"),
        ("JPEG", "gray", "L"),
        ("PNG", "RGBA", "RGBA"),
        ("PNG", "monochrome", "1"),
        ("WEBP", "rgb", "RGB"),
        ("GIF", "palette", "P"),
    ],
)
def test_the_declared_color_space_is_kept(endpoint: Make, format: str, space: str, mode: str) -> None:
    it = endpoint(f'type = "image", format = "{format}", color_space = "{space}"')
    for value in (
        RGB,
        RGB.convert("RGBA"),
        RGB.convert("L"),
        RGB.convert("P"),
        ARRAY,
        ARRAY[:, :, 0],
        file(),
    ):
        assert dumped(it, value).mode == mode


def test_without_a_format_arrays_become_png_and_files_stay_as_they_are(endpoint: Make) -> None:
    it = endpoint('type = "image"')
    assert numpy.array_equal(numpy.asarray(dumped(it, ARRAY)), ARRAY)
    assert numpy.asarray(dumped(it, ARRAY[:, :, :1])).shape == (40, 60)
    webp = picture("WEBP")
    assert it.dump_outputs({"x": webp})["x"] == "data:image/webp;base64," + base64.b64encode(webp).decode()


def test_a_file_of_the_declared_format_is_passed_through_byte_for_byte(endpoint: Make) -> None:
    jpeg = picture("JPEG")
    it = endpoint('type = "image", format = "jpeg", size = [64, 64]')
    assert it.dump_outputs({"x": jpeg})["x"] == "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def test_transparency_is_kept_where_it_can_be_and_white_elsewhere(endpoint: Make) -> None:
    clear = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    assert dumped(endpoint('type = "image", format = "PNG"'), clear).getpixel((0, 0))[3] == 0
    assert dumped(endpoint('type = "image", format = "WEBP"'), clear).getpixel((0, 0))[3] == 0
    assert dumped(endpoint('type = "image", format = "JPEG"'), clear).getpixel((0, 0)) == (255, 255, 255)


def test_floats_beyond_0_and_1_are_clipped_and_rounded(endpoint: Make) -> None:
    made = dumped(endpoint('type = "image", format = "PNG"'), numpy.array([[-1.0, 0.0, 0.5, 1.0, 7.0]]))
    assert numpy.asarray(made).tolist() == [[0, 0, 128, 255, 255]]


def test_quality_decides_how_large_a_file_is(endpoint: Make) -> None:
    noise = numpy.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")
    for format in ("JPEG", "WEBP"):
        sizes = [
            len(
                endpoint(f'type = "image", format = "{format}", quality = {quality}').dump_outputs(
                    {"x": noise}
                )["x"]
            )
            for quality in (10, 50, 90)
        ]
        assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


@pytest.mark.parametrize("value", [RGB, ARRAY, file()], ids=["Pillow", "array", "file"])
def test_larger_images_are_shrunk_into_the_declared_size(endpoint: Make, value: Any) -> None:
    it = endpoint('type = "image", format = "JPEG", size = [30, 30]')
    made = opened(it.dump_progress_outputs({"x": value})["x"])
    assert made.size == (30, 20)
    assert difference(made, RGB.resize((30, 20))) < 3
    assert opened(endpoint('type = "image", size = [100, 100]').dump_outputs({"x": value})["x"]).size == (
        60,
        40,
    )


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_declared_metadata_is_written_and_nothing_else(endpoint: Make, format: str) -> None:
    it = endpoint(f'type = "image", format = "{format}", metadata = ["prompt", "seed", "missing"]')
    image = RGB.copy()
    image.info |= {
        "prompt": 'a "lighthouse" in Zürich 🌊',
        "seed": 42,
        "secret": "s3cret",
        "icc_profile": b"x",
        "comment": b"y",
    }
    before = dict(image.info)
    made = dumped(it, image)
    if format == "PNG":
        assert made.text == {"prompt": before["prompt"], "seed": "42"}
    else:
        text = made.info["comment"] if format == "GIF" else made.getexif()[0x010E]
        assert json.loads(text) == {"prompt": before["prompt"], "seed": 42}
    assert "icc_profile" not in made.info
    assert image.info == before, "the model's image is left as it was"
    plain = dumped(endpoint(f'type = "image", format = "{format}"'), image)
    assert not getattr(plain, "text", None) and not plain.getexif() and "comment" not in plain.info


def test_lists_take_lists_and_one_array_of_all(endpoint: Make) -> None:
    it = endpoint('type = "image_list", format = "JPEG", color_space = "RGB"')
    url = "data:image/png;base64,AAAA"
    found = it.dump_outputs({"x": [RGB, ARRAY, url, file().getvalue(), None]})["x"]
    assert [opened(found[number]).size for number in (0, 1, 3)] == [(60, 40)] * 3
    assert found[2:] == [url, found[3], None]
    assert [image.size for image in dumped(it, numpy.stack([ARRAY] * 3))] == [(60, 40)] * 3
    assert it.dump_outputs({"x": ()})["x"] == []
    assert it.dump_outputs({"x": None})["x"] is None


BAD = {
    "number": (3, "must be an image"),
    "object": ({"image": 3}, "must be an image"),
    "nothing known": (object(), "must be an image"),
    "vector": (numpy.zeros(9, "uint8"), "shape"),
    "five channels": (numpy.zeros((4, 4, 5), "uint8"), "shape"),
    "channels first": (numpy.zeros((3, 40, 60), "uint8"), "shape"),
    "no pixels": (numpy.zeros((0, 4, 3), "uint8"), "shape"),
    "16 bits": (numpy.zeros((4, 4), "uint16"), "uint16"),
    "bool": (numpy.zeros((4, 4), "bool"), "bool"),
    "NaN": (numpy.full((4, 4), numpy.nan), "NaN"),
    "infinity": (numpy.full((4, 4), numpy.inf), "NaN or infinity"),
    "no image": (b"hello", "no image"),
    "empty file": (io.BytesIO(), "no image"),
    "damaged": (picture("PNG")[:100], "damaged"),
    "too wide for the format": (numpy.zeros((1, 20000), "uint8"), "cannot be written as webp"),
    "pixels of another kind": (Image.new("F", (4, 4)), "pixels of kind F"),
}


@pytest.mark.parametrize(("value", "word"), BAD.values(), ids=BAD)
def test_what_is_no_image_is_refused_by_name(endpoint: Make, value: Any, word: str) -> None:
    for rules, wrapped, name in (
        ('type = "image", format = "WEBP"', value, "x"),
        ('type = "image_list", format = "WEBP"', [ARRAY, value], "x[1]"),
    ):
        with pytest.raises(OutputError) as caught:
            endpoint(rules).dump_outputs({"x": wrapped})
        assert caught.value.field == name
        assert word in caught.value.reason


def test_a_file_that_cannot_be_read_is_refused_by_name(endpoint: Make) -> None:
    it = endpoint('type = "image", format = "PNG"')
    with tempfile.TemporaryFile() as closed:
        pass
    lost = Image.open(io.BytesIO(picture("PNG")[:100]))
    for value in (closed, lost):
        with pytest.raises(OutputError, match='Output "x": cannot be read'):
            it.dump_outputs({"x": value})


def test_too_much_metadata_is_refused_by_name(endpoint: Make) -> None:
    image = RGB.copy()
    image.info["prompt"] = "x" * 70_000
    with pytest.raises(OutputError, match="at most 60000 allowed"):
        endpoint('type = "image", format = "JPEG", metadata = ["prompt"]').dump_outputs({"x": image})


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ('type = "image", format = "JPGG"', "format"),
        ('type = "image", format = "BMP"', "format"),
        ('type = "image", format = 3', "format"),
        ('type = "image", color_space = "hsv"', "color_space"),
        ('type = "image_list", format = "JPEG", color_space = "rgba"', "color_space"),
        ('type = "image", format = "GIF", color_space = "gray"', "color_space"),
        ('type = "image", quality = 0', "quality"),
        ('type = "image", quality = 101', "quality"),
        ('type = "image", size = [0, 1]', "size"),
        ('type = "image", metadata = "prompt"', "metadata"),
        ('type = "image", formt = "PNG"', "formt"),
    ],
)
def test_a_mistake_in_a_file_stops_the_start(endpoint: Make, rules: str, key: str) -> None:
    with pytest.raises(EndpointFileError) as caught:
        endpoint(rules)
    assert {problem.key for problem in caught.value.problems} == {key}
