from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from tasks.settings import Settings
from tasks.up import ready
from tasks.up.loop import LONG, PATIENCE, Start
from tasks.up.ready import banner, url
from tests.unit.up.conftest import MakeEndpoints


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("gpu.example.org", "http://gpu.example.org:1"),
    ],
)
def test_address_is_one_that_can_be_called(host: str, address: str) -> None:
    assert url(host, 1) == address


def test_banner_holds_key_addresses_and_a_curl_line(
    settings: Settings, home: Path, make_endpoints: MakeEndpoints
) -> None:
    endpoints = make_endpoints(("a", "one", True, True), ("embed", "one", True, True))
    text = "\n".join(banner(settings, endpoints, home.parent, "the-key"))
    assert "http://127.0.0.1:7777" in text
    assert "http://127.0.0.1:5555" in text
    assert "the-key" in text
    assert "Demo key  in home/demo-key" in banner(settings, endpoints, home.parent, "")[-4]
    line = next(line for line in text.splitlines() if "curl" in line)
    assert shlex.split(line) == [
        "curl",
        "http://127.0.0.1:7777/embed",
        *["-H", "Authorization: Bearer $(cat home/demo-key)"],
        *["-H", "Content-Type: application/json"],
        *["-d", '{"text": "it\'s"}'],
    ]


def test_curl_line_calls_what_can_be_called(
    settings: Settings, home: Path, make_endpoints: MakeEndpoints
) -> None:
    endpoints = make_endpoints(
        ("embed", "one", True, False), ("b", "one", True, True), ("a", "two", False, True)
    )
    assert any("7777/b " in line for line in banner(settings, endpoints, home, "key"))
    assert not any("curl" in line for line in banner(settings, {}, home, "key"))


def test_banner_without_demo_key_shows_none(
    settings: Settings, home: Path, make_endpoints: MakeEndpoints
) -> None:
    settings = dataclasses.replace(settings, demo_key=False)
    text = "\n".join(banner(settings, make_endpoints(("embed", "one", True, True)), home, None))
    assert "$YOUR_KEY" in text
    assert "demo-key" not in text


def test_banner_tells_where_each_workers_metrics_are(
    settings: Settings, home: Path, make_endpoints: MakeEndpoints
) -> None:
    endpoints = make_endpoints(("a", "one", True, True), ("b", "two", True, True))
    settings = dataclasses.replace(settings, metrics_port=9601)
    lines = [line.split() for line in banner(settings, endpoints, home, None)]
    assert ["Metrics", "http://127.0.0.1:9601/metrics", "(worker-one)"] in lines
    assert ["Metrics", "http://127.0.0.1:9602/metrics", "(worker-two)"] in lines


def test_api_that_does_not_answer_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(ready.http.client.HTTPConnection, "request", refuse)
    assert ready.missing(settings) == ["The API does not answer"]


def test_waiting_is_told_after_a_while_and_when_it_changes() -> None:
    lacking = ["No worker for queue a"]
    start = Start(lambda: list(lacking), lambda: ["Ready."], now=0)
    assert list(start.look(PATIENCE - 1)) == []
    assert list(start.look(PATIENCE)) == ["Waiting: No worker for queue a"]
    assert list(start.look(PATIENCE * 3)) == []
    assert "Not ready after" in next(start.look(LONG))
    lacking.clear()
    assert list(start.look(LONG + 1)) == ["Ready."]
    assert start.done
