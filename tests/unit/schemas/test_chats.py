"""Conversations, with and without images."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas import Endpoint, InputError, MediaLimits, load_endpoints
from tests.data.hostile import picture

Make = Callable[..., Endpoint]
URL = "data:image/png;base64," + base64.b64encode(picture("PNG")).decode()
RULES = (
    'support = ["text", "image"], param = { image = { size = { maximum = [16, 16], auto_convert = true } } }'
)


@pytest.fixture
def endpoint(tmp_path: Path) -> Make:
    """Gives a function that makes an endpoint with a chat of these rules and a text context."""

    def make(rules: str = "required = false", **limits: Any) -> Endpoint:
        head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n[INPUTS]\n'
        head += 'text = { type = "text_context", max_length = 9 }\n'
        (tmp_path / "it.toml").write_text(head + f'chat = {{ type = "chat_context", {rules} }}')
        return load_endpoints([tmp_path], MediaLimits(**limits))["it"]

    return make


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def refusal(endpoint: Endpoint, chat: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        endpoint.load_inputs({"chat": chat})
    assert list(caught.value.errors) == ["chat"]
    return caught.value.messages


@pytest.mark.parametrize("form", [json.dumps, lambda chat: chat], ids=["as text", "as it is"])
def test_a_conversation_comes_as_json_text_or_as_it_is(endpoint: Make, form: Any) -> None:
    chat = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"text": "Hello"}, {"type": "text", "text": "you"}]},
        {"role": "assistant", "content": "Hi", "refusal": None},
    ]
    assert endpoint().load_inputs({"chat": form(chat)}) == {"chat": chat}
    assert endpoint().load_inputs({"chat": form([])}) == {"chat": []}


def test_images_in_it_are_converted_several_in_one_request(endpoint: Make) -> None:
    chat = [
        user({"text": "What is this?"}, {"image": URL}, {"image": URL}),
        user({"image": URL}, {"text": "And this?"}),
    ]
    found = endpoint(RULES).load_inputs({"chat": chat})["chat"]
    urls = [item["image"] for message in found for item in message["content"] if "image" in item]
    assert [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls] == [
        (16, 16)
    ] * 3
    assert found[1]["content"][1] == {"text": "And this?"}
    assert chat[0]["content"][1] == {"image": URL}, "the request is left as it was"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_is_told_as_it_came(endpoint: Make, text: str) -> None:
    assert refusal(endpoint(), text) == [
        f"Invalid argument chat={text!r}. Expected: chat_context (a list of messages), but it is empty!"
    ]


def test_media_need_to_be_supported(endpoint: Make) -> None:
    assert refusal(endpoint(), [user({"image": URL})]) == [
        "Parameter chat[0].content[0]: image is not supported on this endpoint: only text!"
    ]
    assert refusal(endpoint(RULES), [user({"audio": "data:,"})]) == [
        "Parameter chat[0].content[0]: audio is not supported on this endpoint: only text, image!"
    ]


def test_each_problem_is_named_by_its_place(endpoint: Make) -> None:
    chat = [
        "hello",
        {"role": "tool", "content": None},
        user({"image": URL, "text": "x"}),
        user(3),
        user({"text": 3}),
        user({}),
    ]
    assert refusal(endpoint(RULES), chat) == [
        "Parameter chat[0]: must be an object with role and content, not string!",
        "Parameter chat[1]: role 'tool' is unknown: only system, user, assistant!",
        "Parameter chat[1]: content must be a string or a list of items, not null!",
        "Parameter chat[2].content[0]: must have just one of text, image!",
        "Parameter chat[3].content[0]: must be an object, not integer!",
        "Parameter chat[4].content[0]: text must be a string, not integer!",
        "Parameter chat[5].content[0]: must have just one of text, image!",
    ]


def test_what_is_wrong_with_a_file_is_named_by_its_place(endpoint: Make) -> None:
    assert refusal(
        endpoint(RULES), [user({"text": "x"}), user({"text": "x"}, {"image": "data:image/png;base64,AAAA"})]
    ) == [
        "Parameter chat[1].content[1].image: is no image of a known format: "
        "send jpeg, png, webp, gif, bmp, tiff!"
    ]


def test_files_are_counted_over_the_whole_conversation(endpoint: Make) -> None:
    chat = [user({"image": URL}), user({"image": URL}, {"image": URL})]
    assert refusal(endpoint(RULES + ", max_items = 2"), chat) == [
        "Parameter chat: holds 3 files: at most 2 allowed!"
    ]
    assert refusal(endpoint(RULES, max_items=1), chat) == [
        "Parameter chat: holds 3 files: at most 1 allowed!"
    ]


def test_an_error_stays_small(endpoint: Make) -> None:
    assert len(refusal(endpoint(), [{"role": "x" * 10_000, "content": 3}] * 5000)) == 20
    assert max(map(len, refusal(endpoint(), [{"role": "x" * 10_000, "content": 3}]))) < 200


@pytest.mark.parametrize(
    "chat",
    [
        "hello",
        "",
        '{"role": "user"}',
        {"role": "user", "content": "x"},
        "[" * 1000 + "]" * 1000,
        nested(1000),
        3,
        "[NaN]",
    ],
    ids=lambda chat: type(chat).__name__,
)
def test_what_is_no_conversation_is_refused(endpoint: Make, chat: Any) -> None:
    assert refusal(endpoint(), chat)


def test_json_nested_1000_deep_is_refused_by_name(tmp_path: Path) -> None:
    head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n[INPUTS]\n'
    (tmp_path / "it.toml").write_text(head + 'x = { type = "json" }\n')
    it = load_endpoints([tmp_path])["it"]
    for value in ("[" * 1000 + "]" * 1000, '{"a":' * 1000 + "1" + "}" * 1000, nested(1000)):
        with pytest.raises(InputError, match=r"x.*at most 100 levels"):
            it.load_inputs({"x": value})


def test_a_text_context_is_text_and_stands_alone(endpoint: Make) -> None:
    it = endpoint()
    assert it.load_inputs({"text": "Hello"}) == {"text": "Hello"}
    assert it.load_inputs({"text": "Hello", "chat": None}) == {"text": "Hello"}
    with pytest.raises(InputError) as caught:
        it.load_inputs({"text": "Hello", "chat": []})
    assert caught.value.errors == {"text": ["Parameter text: a chat is given, too: send one of them!"]}
    with pytest.raises(InputError) as caught:
        it.load_inputs({"text": "Hello all", "chat": [3], "more": 1})
    assert list(caught.value.errors) == ["more", "chat", "text"]
    with pytest.raises(InputError, match="maximum length"):
        it.load_inputs({"text": "Hello world"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([URL, "user", "data:,"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "image", "audio", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chat=JSON | st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "x", []]), "content": JSON}))
)
def test_any_value_is_a_conversation_or_an_input_error(endpoint: Make, chat: Any) -> None:
    it = endpoint(RULES)
    try:
        found = it.load_inputs({"chat": chat})
    except InputError as error:
        assert list(error.errors) == ["chat"]
        return
    for message in found.get("chat", []):
        assert message["role"] in ("system", "user", "assistant")
        assert isinstance(message["content"], str | list)
