"""HTTP to servers that clients name: files are fetched from there, webhooks are delivered there."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import httpcore

from tasks.errors import OutgoingFailed, OutgoingTooLarge
from tasks.guard.connection import Deadline, GuardedBackend, Resolve, resolve
from tasks.guard.rules import Rules, Target, read_url, redirected

logging.getLogger("httpcore").setLevel(logging.INFO)  # below that it logs whole URLs, and headers

MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_USER_AGENT = "Stoker"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered to a POST; its body is not read.

    Attributes:
        status: of HTTP.
        retry_after: seconds that it wants us to wait, if it says so in seconds.
    """

    status: int
    retry_after: float | None = None


class Guard:
    """Sends requests where the rules allow; any number of threads may use it.

    It knows no proxy, keeps no cookies and no connections, and asks for answers that are not compressed: one
    that is compressed all the same is not taken, so there is nothing to unpack that could burst.

    Args:
        rules: what may be asked for.
        resolve: looks up the addresses of a host.
    """

    def __init__(self, rules: Rules, resolve: Resolve = resolve) -> None:
        self.rules = rules
        self._resolve = resolve

    def fetch(self, url: str, max_bytes: int, seconds: float) -> bytes:
        """Get a file, following at most `MOST_REDIRECTS` redirects; the rules hold for each of them.

        Args:
            url: where it is.
            max_bytes: its largest size; not more is ever read.
            seconds: for all of it.

        Raises:
            OutgoingError: in words that do not repeat the URL.
        """
        deadline = Deadline(seconds)
        for _ in range(MOST_REDIRECTS + 1):
            target = read_url(url, self.rules)
            with self._asked("GET", target, {}, b"", deadline) as response:
                if response.status in _REDIRECTS:
                    url = redirected(target, _header(response, b"location"))
                    continue
                if response.status != 200:
                    raise OutgoingFailed(f"its server answers with status {response.status}")
                return _read(response, max_bytes)
        raise OutgoingFailed(f"is redirected more than {MOST_REDIRECTS} times")

    def post(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Send a body; redirects are not followed.

        Args:
            url: where to.
            headers: beside those that every request has.
            body: all of it.
            seconds: for all of it.

        Raises:
            OutgoingError: in words that do not repeat the URL.
        """
        with self._asked("POST", read_url(url, self.rules), headers, body, Deadline(seconds)) as response:
            wanted = _header(response, b"retry-after")
            return Answer(response.status, float(wanted) if wanted.isdecimal() else None)

    @contextmanager
    def _asked(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes, deadline: Deadline
    ) -> Iterator[httpcore.Response]:
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=host.encode(), port=target.port, target=target.path.encode()
        )
        sent = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": _USER_AGENT,
            **headers,
        }
        if body:
            sent["Content-Length"] = str(len(body))
        backend = GuardedBackend(self.rules, self._resolve, deadline)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream(method, url, headers=list(sent.items()), content=body or None) as response,
            ):
                yield response
        except httpcore.TimeoutException:
            raise OutgoingFailed("its server does not answer in time") from None
        except httpcore.ConnectError as error:
            raise OutgoingFailed(_why(error)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise OutgoingFailed("its server breaks the connection off, or speaks no HTTP") from None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx  # not before: it takes 4 MB, and most API processes never ask another server

        return httpx.create_ssl_context()


def _read(response: httpcore.Response, max_bytes: int) -> bytes:
    if _header(response, b"content-encoding").lower() not in ("", "identity"):
        raise OutgoingFailed("its server sends it compressed, though it was asked not to")
    size = _header(response, b"content-length")
    pieces, read = [], 0
    if not (size.isdecimal() and float(size) > max_bytes):
        for piece in response.iter_stream():
            read += len(piece)
            if read > max_bytes:
                break
            pieces.append(piece)
        else:
            return b"".join(pieces)
    raise OutgoingTooLarge(f"holds more than {max_bytes} bytes")


def _header(response: httpcore.Response, name: bytes) -> str:
    values = (value for key, value in response.headers if key.lower() == name)
    return next(values, b"").decode("latin-1")


def _why(error: Exception) -> str:
    causes = (error.__cause__, error.__context__)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "its server has no certificate that can be trusted, or speaks no TLS"
    return "its server cannot be reached"
