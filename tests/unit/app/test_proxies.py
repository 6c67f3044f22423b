"""What proxies say is believed of those that are trusted, and of nobody else."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.proxies import CLAIMS, TrustedProxies

PROXIES = ["10.0.0.0/8", "2001:db8::1"]


def behind(peer: str, *, proxies: Sequence[str] = PROXIES, **claims: Any) -> dict[str, Any]:
    """Give what an app sees of a request that comes from `peer`."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return []

    said = {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in claims.items()}
    TrustedProxies(app, proxies)({"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **said}, None)
    assert not set(CLAIMS) & set(seen)
    return seen


@pytest.mark.parametrize("peer", ["10.1.2.3", "2001:db8::1"])
def test_a_trusted_proxy_tells_address_and_scheme(peer: str) -> None:
    seen = behind(peer, **{"for": "203.0.113.9", "proto": "https"})
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("203.0.113.9", "https")


@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.1", "2001:db8::2", "", "nonsense"])
def test_anybody_else_is_not_believed(peer: str) -> None:
    seen = behind(peer, **{"for": "203.0.113.9", "proto": "https"})
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == (peer, "http")


def test_nobody_is_believed_by_default(settings: Any) -> None:
    assert settings.trusted_proxies == ()
    seen = behind("127.0.0.1", proxies=[], **{"for": "203.0.113.9", "proto": "https"})
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("198.51.100.7, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself stands first
        ("203.0.113.9, 10.9.9.9", "203.0.113.9"),  # two of our proxies
        ("10.9.9.9, 10.8.8.8", "10.9.9.9"),  # a client inside
        ("203.0.113.9, rubbish", "10.1.2.3"),
        ("rubbish, 203.0.113.9", "203.0.113.9"),
        ("", "10.1.2.3"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_is_the_client(chain: str, client: str) -> None:
    assert behind("10.1.2.3", **{"for": chain})["REMOTE_ADDR"] == client


def test_a_scheme_is_http_or_https(settings: Any) -> None:
    assert behind("10.1.2.3", proto="javascript")["wsgi.url_scheme"] == "http"
