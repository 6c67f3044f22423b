"""Where large bodies are parsed, and inputs with images, sounds and videos loaded: beside the greenlets.

Decoding an image takes a greenlet tens of milliseconds in which its process answers nobody. Under gunicorn's
gevent workers it therefore goes to native threads, and Pillow and PyAV let go of the GIL meanwhile. Where
requests have threads of their own, they convert in them.

Threads are few and conversions may take seconds. So a client waits for its own conversions before it stands
in the line of all: another one has never more of it before him than there are threads.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from app.green import is_green
from app.places import Places

THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Of one process; the other cores are for the greenlets, and for what else runs on the machine."""
MAX_WAITING = 64
"""Requests of one process that may wait for a thread, each with its body in memory; half of them of one
client."""


class ConversionBusy(Exception):
    """Too many requests wait for their files, or their bodies have too many bytes together."""


class Converter:
    """Runs functions that take their time, at most so many at once.

    Args:
        threads: that work.
        waiting: calls that may wait for one of them.
    """

    def __init__(self, threads: int = THREADS, waiting: int = MAX_WAITING) -> None:
        self._threads = threads
        self._most = threads + waiting
        self._share = threads + waiting // 2
        self._calls: Counter[str] = Counter()
        self._places = Places(threads)
        self._pool: Any = None

    def run(self, client: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function for a client, and wait for what it gives or raises.

        Raises:
            ConversionBusy: too many calls wait already, of all clients or of this one.
        """
        if not is_green():
            return function(*args, **kwargs)
        if self._calls.total() >= self._most or self._calls[client] >= self._share:
            raise ConversionBusy
        self._calls[client] += 1
        try:
            with self._places.of(client):
                result, error = self._native().apply(_outcome, (function, args, kwargs))
        finally:
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client]
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: a cycle, and with it the request's body
        return result

    def _native(self) -> Any:
        if self._pool is None:  # not before: threads do not survive a fork
            from gevent.threadpool import ThreadPool

            self._pool = ThreadPool(self._threads)
        return self._pool


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Exception | None]:
    """Give what a function gives, or raises: gevent prints what is raised in its threads."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:  # it is raised again where it was asked for
        return None, error
