"""The guard of outgoing requests, against real servers that mean well or ill."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import OutgoingError, OutgoingFailed, OutgoingRefused, OutgoingTooLarge
from tasks.guard.client import Guard
from tasks.guard.connection import Resolve
from tasks.guard.rules import Rules
from tests.services import Site, answer, make_certificate

SOON = 20.0  # s


def guard(*sites: Site, names: tuple[str, ...] = ("127.0.0.1",), resolve: Any = None) -> Guard:
    """Give a guard that lets these names pass, at the sites' ports."""
    ports = frozenset({80, 443, *(site.port for site in sites)})
    rules = Rules(ports=ports, names=frozenset(names))
    return Guard(rules, resolve or _always("127.0.0.1"))


def _always(*addresses: str) -> Resolve:
    return lambda host, port: addresses


def test_a_file_is_fetched_by_the_name_of_its_host(site: Site) -> None:
    site.pages["/a"] = answer(200, b"data")
    fetched = guard(site, names=("files.test",)).fetch(site.url("/a?b=c", "files.test"), 4, SOON)
    assert fetched == b"data"
    (request,) = site.requests
    assert (request.method, request.path) == ("GET", "/a?b=c")
    assert request.headers["Host"] == f"files.test:{site.port}"
    assert request.headers["Accept-Encoding"] == "identity"


def test_a_private_address_is_not_connected_to(site: Site) -> None:
    rules = Rules(ports=frozenset({site.port}))
    for host, address in {"files.test": "127.0.0.1", "localhost": "::1", "0x7f.1": "127.0.0.1"}.items():
        with pytest.raises(OutgoingRefused, match="is not at a public address"):
            Guard(rules, _always(address)).fetch(site.url("/", host), 10, SOON)
    with pytest.raises(OutgoingRefused, match="is not at a public address"):
        Guard(rules).fetch(site.url("/", "2130706433"), 10, SOON)  # by the system's resolver: 127.0.0.1
    assert not site.requests


def test_one_private_address_among_public_ones_is_enough_to_refuse(site: Site) -> None:
    mixed = Guard(Rules(ports=frozenset({site.port})), _always("8.8.8.8", "10.0.0.1"))
    with pytest.raises(OutgoingRefused):
        mixed.fetch(site.url("/", "files.test"), 10, SOON)


def test_a_name_that_means_something_else_a_moment_later_changes_nothing(site: Site) -> None:
    """The name is looked up once, and what was judged is connected to."""
    site.pages["/"] = answer(200, b"inside")
    answers = [["203.0.113.1"], ["127.0.0.1"]]
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    class Public(Rules):
        def allow(self, host: str, address: str) -> bool:
            return address != "127.0.0.1"

    with pytest.raises(OutgoingFailed):
        Guard(Public(ports=frozenset({site.port})), rebinding).fetch(site.url("/", "a.test"), 10, 0.3)
    assert asked == ["a.test"]
    assert not site.requests


def test_redirects_are_followed_three_times(site: Site) -> None:
    site.pages |= {f"/{n}": answer(302, Location=f"/{n + 1}") for n in range(5)} | {"/5": answer(200, b"x")}
    assert guard(site).fetch(site.url("/2"), 10, SOON) == b"x"
    with pytest.raises(OutgoingFailed, match="redirected more than 3 times"):
        guard(site).fetch(site.url("/1"), 10, SOON)


@pytest.mark.parametrize(
    "where", ["http://10.0.0.1/", "http://inside.test/", "http://[::1]/", "file:///etc/passwd"]
)
def test_a_redirect_leads_to_no_place_that_is_not_allowed(site: Site, where: str) -> None:
    site.pages["/"] = answer(307, Location=where)
    addresses = {"127.0.0.1": ["127.0.0.1"], "inside.test": ["169.254.169.254"], "10.0.0.1": ["10.0.0.1"]}
    with pytest.raises(OutgoingRefused):
        guard(site, resolve=lambda host, port: addresses[host]).fetch(site.url(), 10, SOON)
    assert len(site.requests) == 1


def test_other_answers_are_told(site: Site) -> None:
    site.pages["/"] = answer(403, b"no")
    with pytest.raises(OutgoingFailed, match="its server answers with status 403"):
        guard(site).fetch(site.url(), 10, SOON)


def _endless(handler: Any, sent: list[int]) -> None:
    handler.send_response(200)
    handler.end_headers()
    while sent[0] < 10_000_000:
        handler.wfile.write(bytes(10_000))
        sent[0] += 10_000


def test_not_more_is_read_than_may_be(site: Site) -> None:
    sent = [0]
    site.pages["/endless"] = lambda handler: _endless(handler, sent)
    site.pages["/said"] = answer(200, bytes(2000))
    for path in ("/endless", "/said"):
        with pytest.raises(OutgoingTooLarge, match="more than 1000 bytes"):
            guard(site).fetch(site.url(path), 1000, SOON)
    assert sent[0] < 10_000_000


def test_nothing_is_unpacked(site: Site) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    site.pages["/"] = answer(200, bomb, Content_Encoding="gzip")
    with pytest.raises(OutgoingFailed, match="compressed"):
        guard(site).fetch(site.url(), 10_000_000, SOON)


def _dripping(what: Callable[[Any], None]) -> Callable[[Any], None]:
    def page(handler: Any) -> None:
        what(handler)
        for _ in range(100):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    return page


@pytest.mark.parametrize("place", ["head", "body"])
def test_a_server_that_drips_is_given_up_in_time(site: Site, place: str) -> None:
    def begin(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + (b"\r\n\r\n" if place == "body" else b""))

    site.pages["/"] = _dripping(begin)
    began = time.monotonic()
    with pytest.raises(OutgoingFailed, match="does not answer in time"):
        guard(site).fetch(site.url(), 10_000, 0.3)
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_is_given_up_in_time(site: Site) -> None:
    gate = threading.Event()
    site.pages["/"] = lambda handler: gate.wait(10)
    with pytest.raises(OutgoingFailed, match="does not answer in time"):
        guard(site).fetch(site.url(), 10, 0.2)
    gate.set()


def test_what_is_no_http_and_who_is_not_there_is_told(site: Site) -> None:
    site.pages["/"] = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    with pytest.raises(OutgoingFailed, match="speaks no HTTP"):
        guard(site).fetch(site.url(), 10, SOON)
    site.close()
    with pytest.raises(OutgoingFailed, match="cannot be reached"):
        guard(site).fetch(site.url(), 10, SOON)

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(OutgoingFailed, match=r"its host files\.test is not found"):
        guard(resolve=unknown).fetch("http://files.test/", 10, SOON)


def test_a_post_is_sent_and_its_redirect_not_followed(site: Site) -> None:
    site.pages |= {
        "/": answer(204),
        "/busy": answer(429, Retry_After="7"),
        "/away": answer(302, Location="/"),
    }
    answered = guard(site).post(site.url(), {"Content-Type": "application/json"}, b"{}", SOON)
    assert (answered.status, answered.retry_after) == (204, None)
    assert (site.requests[0].body, site.requests[0].headers["Content-Type"]) == (b"{}", "application/json")
    assert guard(site).post(site.url("/busy"), {}, b"", SOON).retry_after == 7
    assert guard(site).post(site.url("/away"), {}, b"", SOON).status == 302
    assert len(site.requests) == 3


@pytest.fixture
def secure_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    certificate = make_certificate(tmp_path, "files.test")
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    site = Site(certificate)
    yield site
    site.close()


def test_the_certificate_must_be_of_the_host_that_was_named(secure_site: Site) -> None:
    """The connection goes to an address, and yet it is the name that counts."""
    secure_site.pages["/"] = answer(200, b"safe")
    sure = guard(secure_site, names=("files.test", "other.test"))
    url = f"https://files.test:{secure_site.port}/"
    assert sure.fetch(url, 10, SOON) == b"safe"
    with pytest.raises(OutgoingFailed, match="no certificate that can be trusted"):
        sure.fetch(url.replace("files", "other"), 10, SOON)


def test_a_certificate_of_nobody_is_not_trusted(secure_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(OutgoingFailed, match="no certificate that can be trusted"):
        guard(secure_site, names=("files.test",)).fetch(f"https://files.test:{secure_site.port}/", 10, SOON)
    assert not secure_site.requests


@pytest.mark.parametrize(
    "head",
    [
        "200 OK\r\nContent-Length: " + "9" * 5000,
        "200 OK\r\nContent-Length: -1",
        "200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        "200 OK\r\nTransfer-Encoding: gzip, chunked",
        "200 OK\r\n" + "X: y\r\n" * 50_000,
        "200 OK\r\nX: \x00",
        "99 Odd",
        "302 Found",
        "302 Found\r\nLocation: http://[",
        "302 Found\r\nLocation: http://a b/",
        "302 Found\r\nLocation: \xe4\xf6\xfc",
        "302 Found\r\nLocation: http://a:99999/",
    ],
)
def test_whatever_a_server_says_is_an_error_of_ours(site: Site, head: str) -> None:
    site.pages["/"] = lambda handler: handler.wfile.write(f"HTTP/1.1 {head}\r\n\r\n".encode("latin-1"))
    with pytest.raises(OutgoingError):
        guard(site).fetch(site.url(), 100, 2.0)
