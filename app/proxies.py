"""Who the client is, where proxies stand in front: X-Forwarded-For and X-Forwarded-Proto, if believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

CLAIMS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED")


class TrustedProxies:
    """WSGI middleware: sets address and scheme of a request by what trusted proxies say.

    What anybody else says about a request is taken out of it: nothing behind can believe it by mistake.
    """

    def __init__(self, app: Any, proxies: Sequence[str]) -> None:
        """Wrap an app.

        Args:
            app: a WSGI app.
            proxies: addresses or networks, as 10.0.0.0/24; valid ones.
        """
        self._app = app
        self._networks = [ip_network(proxy) for proxy in proxies]
        self._trusts = lru_cache(1024)(self._is_trusted)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        claims = {name: environ.pop(name, "") for name in CLAIMS}
        if self._networks and self._trusts(environ.get("REMOTE_ADDR", "")):
            environ["REMOTE_ADDR"] = self._client(environ["REMOTE_ADDR"], claims["HTTP_X_FORWARDED_FOR"])
            if claims["HTTP_X_FORWARDED_PROTO"] in ("http", "https"):
                environ["wsgi.url_scheme"] = claims["HTTP_X_FORWARDED_PROTO"]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def _client(self, peer: str, forwarded_for: str) -> str:
        """Give the address nearest to us that is no trusted proxy; anybody can write what is before it."""
        client = peer
        for address in reversed(forwarded_for.split(",")):
            try:
                client = str(ip_address(address.strip()))
            except ValueError:
                return client
            if not self._trusts(client):
                return client
        return client

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:  # a Unix socket has none
            return False
        return any(found in network for network in self._networks)
