"""The httpx clients behind a ModelAPI: made when first needed, one plain and one per event loop."""

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import httpx

from .links import LIMITS, AsyncLink, Link, Target


class Sessions:
    """Gives links, over clients of its own or over the one that the caller lent."""

    def __init__(self, target: Target, lent: httpx.Client | httpx.AsyncClient | None = None) -> None:
        self._target = target
        self._lent = lent
        self._plain: httpx.Client | None = None
        self._async: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def link(self) -> Link:
        """A link for one flow."""
        return Link(self._plain_session(), self._target)

    def async_link(self) -> AsyncLink:
        """A link for one flow on the running event loop."""
        return AsyncLink(self._async_session(), self._target)

    def close(self) -> None:
        """Close the plain client, unless it is the caller's."""
        with self._lock:
            plain, self._plain = self._plain, None
        if plain is not None:
            plain.close()

    async def close_async(self) -> None:
        """Close the client of this event loop, unless it is the caller's."""
        with self._lock:
            session, self._async = self._async, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.aclose()

    def _plain_session(self) -> httpx.Client:
        if isinstance(self._lent, httpx.Client):
            return self._lent
        with self._lock:
            if self._plain is None:
                self._plain = httpx.Client(limits=LIMITS)
            return self._plain

    def _async_session(self) -> httpx.AsyncClient:
        if isinstance(self._lent, httpx.AsyncClient):
            return self._lent
        loop = asyncio.get_running_loop()
        with self._lock:
            # Connections belong to the loop that made them: a second asyncio.run() needs a client of its own.
            if self._async is None or self._loop is not loop:
                self._async, self._loop = httpx.AsyncClient(limits=LIMITS), loop
            return self._async


class Closing:
    """The answer of close_session: what is left to do for a caller with an event loop, by `await`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def __await__(self) -> Generator[Any, None, None]:
        return self._sessions.close_async().__await__()
