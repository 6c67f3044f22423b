"""Images among the inputs of a request."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schemas import Endpoint, EndpointFileError, InputError, MediaLimits, load_endpoints
from tests.data.hostile import picture

Make = Callable[..., Endpoint]
PNG, JPEG = picture("PNG"), picture("JPEG")
SHRINK = "size = { maximum = [16, 16], auto_convert = true }"


def text(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def opened(url: str) -> Image.Image:
    head, _, body = url.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    image.load()
    assert head == f"data:image/{str(image.format).lower()};base64"
    return image


@pytest.fixture
def endpoint(tmp_path: Path) -> Make:
    """Gives a function that makes an endpoint of lines of its INPUTS table."""

    def make(inputs: str, **limits: Any) -> Endpoint:
        head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n[INPUTS]\n'
        (tmp_path / "it.toml").write_text(head + inputs)
        return load_endpoints([tmp_path], MediaLimits(**limits))["it"]

    return make


def load(endpoint: Endpoint, value: Any, **how: Any) -> Any:
    return endpoint.load_inputs({"x": value}, **how)["x"]


def refusal(endpoint: Endpoint, value: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        endpoint.load_inputs({"x": value})
    assert list(caught.value.errors) == ["x"]
    return caught.value.messages


@pytest.mark.parametrize("value", [text(PNG), text(PNG, "image/JPEG"), base64.b64encode(PNG).decode(), PNG])
def test_the_model_gets_a_data_url_whatever_the_client_sends(endpoint: Make, value: Any) -> None:
    assert load(endpoint('x = { type = "image" }'), value) == text(PNG)


def test_a_data_url_that_fits_is_not_even_copied(endpoint: Make) -> None:
    url = text(PNG)
    assert load(endpoint('x = { type = "image" }'), url) is url


def test_an_image_is_converted_as_the_file_says(endpoint: Make) -> None:
    it = endpoint(
        f'x = {{ type = "image", {SHRINK}, format = {{ supported = ["webp"], auto_convert = true }} }}'
    )
    made = opened(load(it, text(JPEG)))
    assert (made.format, made.size) == ("WEBP", (16, 16))


def test_a_default_image_is_checked_when_the_file_is_read(endpoint: Make) -> None:
    it = endpoint(f'x = {{ type = "image", default = "{text(PNG)}" }}')
    assert it.load_inputs({}) == {"x": text(PNG)}
    with pytest.raises(EndpointFileError, match="its width of 64 pixels"):
        endpoint(f'x = {{ type = "image", default = "{text(PNG)}", size = {{ maximum = [16, 48] }} }}')


@pytest.mark.parametrize("value", [3, True, {"data": "x"}, ["x"], 1.5])
def test_a_value_that_is_no_file_is_refused(endpoint: Make, value: Any) -> None:
    (message,) = refusal(endpoint('x = { type = "image" }'), value)
    assert "Expected: image" in message


def test_each_sentence_names_the_parameter_and_the_limit(endpoint: Make) -> None:
    it = endpoint('x = { type = "image", size = { maximum = [16, 16] }, format = { supported = ["jpeg"] } }')
    assert refusal(it, text(PNG)) == [
        "Parameter x: format png is not supported: only jpeg!",
        "Parameter x: its width of 64 pixels is too high: at most 16 allowed!",
        "Parameter x: its height of 48 pixels is too high: at most 16 allowed!",
    ]


def test_a_damaged_image_is_one_of_several_problems(endpoint: Make) -> None:
    it = endpoint(
        'x = { type = "image" }\ny = { type = "integer", max = 3 }\nz = { type = "image", required = true }'
    )
    with pytest.raises(InputError) as caught:
        it.load_inputs({"x": text(PNG[:100]), "y": 4, "w": 1})
    assert list(caught.value.errors) == ["w", "x", "y", "z"]


def test_limits_of_the_server_hold_and_files_may_tighten_them(endpoint: Make) -> None:
    it = endpoint('x = { type = "image" }', max_bytes=600, image_formats=("png",), max_pixels=64 * 48)
    assert load(it, PNG) == text(PNG)
    assert (
        refusal(it, picture("GIF", (9, 9)))[0]
        == "Parameter x: format gif is not allowed on this server: only png!"
    )
    assert "too large: at most" in refusal(it, PNG + bytes(600))[0]
    it = endpoint('x = { type = "image", max_bytes = 10, max_pixels = 9 }')
    assert "at most 10 allowed" in refusal(it, PNG)[0]
    it = endpoint('x = { type = "image", max_pixels = 9 }')
    assert "at most 9 allowed" in refusal(it, PNG)[0]


def test_a_list_takes_up_to_its_number_of_images(endpoint: Make) -> None:
    it = endpoint(f'x = {{ type = "image_list", max_items = 2, {SHRINK} }}')
    assert [opened(url).size for url in load(it, [text(PNG), JPEG])] == [(16, 16)] * 2
    assert load(it, []) == []
    assert refusal(it, [PNG] * 3) == ["Parameter x: holds 3 files: at most 2 allowed!"]
    assert "at most 1 allowed" in refusal(endpoint('x = { type = "image_list" }', max_items=1), [PNG] * 2)[0]


def test_a_single_image_is_a_list_of_one(endpoint: Make) -> None:
    assert load(endpoint('x = { type = "image_list" }'), text(PNG)) == [text(PNG)]


def test_what_is_wrong_in_a_list_is_named_by_its_place(endpoint: Make) -> None:
    it = endpoint('x = { type = "image_list", size = { maximum = 50 } }')
    assert refusal(it, [text(picture("PNG", (9, 9))), text(PNG), "hello"]) == [
        "Parameter x[1]: its width of 64 pixels is too high: at most 50 allowed!",
        "Parameter x[2]: is not valid base64: only A-Z, a-z, 0-9, + and /, "
        "padded with =, without spaces and line breaks!",
    ]
    assert refusal(it, [text(PNG), None, 3]) == [
        "Parameter x[0]: its width of 64 pixels is too high: at most 50 allowed!",
        "Parameter x[1]: must be a data URL or base64, not null!",
        "Parameter x[2]: must be a data URL or base64, not integer!",
    ]
    assert "Expected: list of images" in refusal(it, 3)[0]


def test_only_endpoints_with_media_say_that_they_read_some(endpoint: Make) -> None:
    assert not endpoint('x = { type = "string" }\ny = { type = "chat_context" }').reads_media
    assert endpoint('x = { type = "image_list" }').reads_media
    assert endpoint('x = { type = "chat_context", support = ["image"] }').reads_media


@pytest.mark.parametrize(
    ("inputs", "table", "key"),
    [
        ('x = { type = "image", size = { maxinum = 3 } }', "INPUTS.x.size", "maxinum"),
        ('x = { type = "image", max_length = 3 }', "INPUTS.x", "max_length"),
        ('x = { type = "image", max_items = 3 }', "INPUTS.x", "max_items"),
        ('x = { type = "image", default = "hello" }', "INPUTS.x", "default"),
        ('x = { type = "chat_context", support = ["images"] }', "INPUTS.x", "support"),
        ('x = { type = "chat_context", support = "image" }', "INPUTS.x", "support"),
        (
            'x = { type = "chat_context", support = ["text"], param = { image = {} } }',
            "INPUTS.x.param",
            "image",
        ),
        (
            'x = { type = "chat_context", support = ["image"], param = { image = { sise = 1 } } }',
            "INPUTS.x.param.image",
            "sise",
        ),
        ('x = { type = "chat_context", param = { pictures = {} } }', "INPUTS.x.param", "pictures"),
    ],
)
def test_a_mistake_in_a_file_stops_the_start(endpoint: Make, inputs: str, table: str, key: str) -> None:
    with pytest.raises(EndpointFileError) as caught:
        endpoint(inputs)
    assert [(problem.table, problem.key) for problem in caught.value.problems] == [(table, key)]


def test_importing_schemas_imports_no_library_of_media() -> None:
    import subprocess
    import sys

    code = "import schemas, sys; print([name for name in ('PIL', 'av', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
