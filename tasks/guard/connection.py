"""Connections that go where the rules allow, and end in time.

A host is looked up once, its addresses are judged, and one of those very addresses is connected to: a name
that means something else a moment later changes nothing. TLS and HTTP go on speaking of the name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore

from tasks.errors import OutgoingFailed, OutgoingRefused
from tasks.guard.rules import Rules

CONNECT_WITHIN = 5.0  # s; for each address
MOST_ADDRESSES = 4  # of one host that are tried

Resolve = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host; OSError: it has none."""


def resolve(host: str, port: int) -> list[str]:
    """Look up the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Deadline:
    """A moment after which nothing waits any more.

    Args:
        seconds: until then.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """Give the seconds that are left.

        Raises:
            httpcore.TimeoutException: there are none.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException("the time is over")
        return left if at_most is None else min(left, at_most)


class GuardedBackend(httpcore.NetworkBackend):
    """Opens the connections of one request.

    Args:
        rules: which addresses may be connected to.
        resolve: looks up names.
        deadline: of the whole request.
    """

    def __init__(self, rules: Rules, resolve: Resolve, deadline: Deadline) -> None:
        self._rules = rules
        self._resolve = resolve
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that answers, if all of them are allowed.

        Raises:
            OutgoingRefused: an address is not allowed.
            OutgoingFailed: there is no such host.
            httpcore.NetworkError, httpcore.TimeoutException: nobody answers.
        """
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise OutgoingFailed(f"its host {host} is not found") from None
        if not all(self._rules.allow(host, address) for address in addresses):
            raise OutgoingRefused("is not at a public address")
        failure: Exception = OutgoingFailed(f"its host {host} is not found")
        for address in addresses[:MOST_ADDRESSES]:
            within = self._deadline.left(CONNECT_WITHIN)
            try:
                stream = self._backend.connect_tcp(address, port, within, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A stream none of whose steps goes on after the deadline, however small the pieces are that come."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        within = self._deadline.left(timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, within), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
