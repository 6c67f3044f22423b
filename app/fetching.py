"""Files that requests name by URL, where the endpoint's file allows that.

Each request fetches its own, in its own greenlet, and those of one client leave room for others: a server
that is slow holds up nobody but the client that named it.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from app.conversion import ConversionBusy, Converter
from app.green import is_green, within
from app.places import Places
from schemas.media.errors import MediaError
from schemas.media.source import Source
from tasks.errors import OutgoingError
from tasks.guard.client import Guard
from tasks.guard.connection import resolve
from tasks.guard.rules import Rules

FETCH_WITHIN = 30.0  # s; for all files of a request
AT_ONCE = 32  # requests of one process whose files are being fetched
SHARE = 8  # of these, those of one client


class Fetcher:
    """Fetches the files of requests that name them by URL, some requests at once.

    Args:
        rules: what may be asked for.
        max_bytes: of all files of a request together.
        seconds: for all files of a request.
    """

    def __init__(self, rules: Rules, max_bytes: int, seconds: float = FETCH_WITHIN) -> None:
        self._guard = Guard(rules, self._resolve)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._places = Places(SHARE)
        self._lookups = Converter(AT_ONCE, AT_ONCE)  # a thread for each: name servers may be slow, too

    def fetch(self, client: str, wanted: Mapping[str, int], held: int = 0) -> dict[str, Source]:
        """Fetch files, one after the other.

        Args:
            client: who wants them.
            wanted: URL -> its largest size in bytes.
            held: bytes of the files that the request has already.

        Returns:
            URL -> file, or why it could not be fetched.

        Raises:
            ConversionBusy: too many requests wait for theirs.
        """
        with self._taken(self._places.of(client)), self._taken(self._free):
            until, left = time.monotonic() + self._seconds, self._max_bytes - held
            found: dict[str, Source] = {}
            for url, max_bytes in wanted.items():
                file = self._fetch_one(url, min(max_bytes, left), until - time.monotonic())
                left -= len(file) if isinstance(file, bytes) else 0
                found[url] = file
            return found

    @contextmanager
    def _taken(self, places: threading.Semaphore) -> Iterator[None]:
        if not places.acquire(timeout=self._seconds):
            raise ConversionBusy
        try:
            yield
        finally:
            places.release()

    def _fetch_one(self, url: str, max_bytes: int, seconds: float) -> Source:
        try:
            with within(seconds, TimeoutError()):  # also a name server is waited for no longer
                return self._guard.fetch(url, max_bytes, seconds)
        except OutgoingError as error:
            return MediaError(str(error))
        except TimeoutError:
            return MediaError("its server does not answer in time")

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        """Look a name up beside the greenlets, and beside the threads in which gevent does for all others."""
        if not is_green():
            return resolve(host, port)
        lookup = sys.modules["gevent.monkey"].get_original("socket", "getaddrinfo")
        found = self._lookups.run("", lookup, host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
