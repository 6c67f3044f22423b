"""API keys: what they open, and what their ids tell."""

import dataclasses
from pathlib import Path
from typing import Any

from tasks.accounts import KeyRing


@dataclasses.dataclass
class FakeEndpoint:
    name: str
    authorization_keys: dict[str, str]


def ring(demo_key_file: Path | None = None, **keys: dict[str, str]) -> Any:
    endpoints: Any = {name: FakeEndpoint(name, given) for name, given in keys.items()}
    return KeyRing.load("secret", endpoints, demo_key_file)


def test_a_key_opens_the_endpoints_whose_files_name_it() -> None:
    keys = ring(a={"alice": "one"}, b={"alice": "two"})
    assert keys.find("one").opens("a")
    assert not keys.find("one").opens("b")
    assert keys.find("three") is None


def test_one_key_in_two_files_is_one_key() -> None:
    keys = ring(a={"alice": "one"}, b={"bob": "one"})
    key = keys.find("one")
    assert key.name == "alice"
    assert key.endpoints == {"a", "b"}
    assert len(keys) == 1
    assert keys.get(key.id) == key


def test_the_demo_key_opens_everything_even_if_a_file_names_it_too(tmp_path: Path) -> None:
    file = tmp_path / "demo-key"
    file.write_text("one\n")
    keys = ring(file, a={"alice": "one"})
    assert keys.find("one").endpoints is None
    assert keys.find("one").opens("b")
    assert len(keys) == 1


def test_without_a_demo_key_file_there_is_no_demo_key(tmp_path: Path) -> None:
    assert len(ring(tmp_path / "demo-key")) == 0


def test_an_empty_demo_key_file_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "demo-key"
    file.write_text("\n")
    keys = ring(file)
    assert len(keys) == 0
    assert keys.find("") is None


def test_keys_of_one_name_have_different_ids() -> None:
    keys = ring(a={"default": "one"}, b={"default": "two"})
    assert keys.find("one").id != keys.find("two").id


def test_an_id_is_the_same_in_every_process_and_cannot_be_guessed_without_the_secret() -> None:
    assert ring(a={"x": "one"}).find("one").id == ring(a={"x": "one"}).find("one").id
    other: Any = KeyRing("other secret")
    other.add("x", "one", "a")
    assert other.find("one").id != ring(a={"x": "one"}).find("one").id


def test_any_text_may_be_asked_for() -> None:
    assert ring(a={"x": "one"}).find("\ud800ü\0") is None
