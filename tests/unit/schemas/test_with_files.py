"""Files that inputs refer to, put in their places."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas import Endpoint, InputError, load_endpoints
from schemas.media.errors import MediaError
from schemas.media.source import Source
from tests.data.hostile import picture

PNG, JPEG = picture("PNG"), picture("JPEG")
ONE, TWO = "upload:1", "upload:2"
INPUTS = """
text = { type = "string" }
image = { type = "image", max_bytes = 100000 }
images = { type = "image_list", max_items = 2 }
[INPUTS.chat]
type = "chat_context"
support = ["text", "image"]
max_items = 1
param = { image = { max_bytes = 50000 } }
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    (tmp_path / "it.toml").write_text(f'[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n[INPUTS]\n{INPUTS}')
    return load_endpoints([tmp_path])["it"]


def load(endpoint: Endpoint, raw: Any, files: Mapping[str, Source], from_query: bool = False) -> Any:
    with_files = endpoint.with_files(raw, lambda text, _: files.get(text, text))
    return endpoint.load_inputs(with_files, from_query=from_query)


def asked(endpoint: Endpoint, raw: Any) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def read(text: str, max_bytes: int) -> Source:
        found.append((text, max_bytes))
        return text

    endpoint.with_files(raw, read)
    return found


def said(*images: str) -> list[Any]:
    return [{"role": "user", "content": [{"text": "?"}, *({"image": image} for image in images)]}]


def url(data: bytes, format: str) -> str:
    return f"data:image/{format};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("as_text", [False, True])
def test_each_place_for_a_file_takes_a_reference(endpoint: Endpoint, as_text: bool) -> None:
    chat: Any = said(TWO)
    raw = {
        "image": ONE,
        "images": [TWO, ONE],
        "chat": json.dumps(chat) if as_text else chat,
        "text": "upload:9",
    }
    found = load(endpoint, raw, {ONE: PNG, TWO: JPEG, "upload:9": PNG}, as_text)
    png, jpeg = url(PNG, "png"), url(JPEG, "jpeg")
    assert (found["image"], found["images"], found["text"]) == (png, [jpeg, png], "upload:9")
    assert found["chat"] == said(jpeg)
    assert raw["images"] == [TWO, ONE] and chat == said(TWO)  # what the client sent stays as it is


def test_the_largest_size_that_a_place_allows_is_told(endpoint: Endpoint) -> None:
    raw = {"image": ONE, "images": TWO, "chat": said(ONE)}
    assert asked(endpoint, raw) == [(ONE, 100_000), (TWO, 50_000_000), (ONE, 50_000)]


def test_rules_are_those_of_a_file_that_is_sent(endpoint: Endpoint) -> None:
    with pytest.raises(InputError) as inline:
        endpoint.load_inputs({"image": b"GIF89a" + bytes(200_000), "images": b"no image"})
    with pytest.raises(InputError) as referred:
        files = {ONE: b"GIF89a" + bytes(200_000), TWO: b"no image"}
        load(endpoint, {"image": ONE, "images": TWO}, files)
    assert referred.value.errors == inline.value.errors


def test_a_reference_to_nothing_names_each_of_its_places(endpoint: Endpoint) -> None:
    with pytest.raises(InputError) as refused:
        raw = {"image": ONE, "images": [TWO, ONE], "chat": said(ONE)}
        load(endpoint, raw, {ONE: MediaError("is gone"), TWO: PNG})
    assert refused.value.errors == {
        "image": ["Parameter image: is gone!"],
        "images": ["Parameter images[1]: is gone!"],
        "chat": ["Parameter chat[0].content[1].image: is gone!"],
    }


def test_what_will_be_refused_is_not_asked_for(endpoint: Endpoint) -> None:
    many = [f"upload:{n}" for n in range(3)]
    assert asked(endpoint, {"images": many, "chat": said(*many), "text": ONE, "other": ONE}) == []
    assert asked(endpoint, {"image": [ONE], "images": {"x": ONE}, "chat": "[upload:1"}) == []
    assert asked(endpoint, {"image": None, "images": [None, 1], "chat": [1, {"content": [2]}]}) == []
