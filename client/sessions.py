"""The httpx clients behind a ModelAPI: made when first needed, one plain and one per event loop."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx

from .answers import interpret
from .calls import Call
from .events import Event
from .flow import Flow
from .transport import LIMITS, Target, answered, drive, drive_async, send, send_async


class Sessions:
    """Carries flows out, over clients of its own or over the one that the caller lent."""

    def __init__(self, target: Target, lent: httpx.Client | httpx.AsyncClient | None = None) -> None:
        self._target = target
        self._lent = lent
        self._plain: httpx.Client | None = None
        self._async: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def events(self, flow: Flow) -> Generator[Event, None, None]:
        """Carry a flow out; yields its events."""
        session = self._plain_session()
        return drive(flow, lambda call: send(session, self._target, call), time.sleep)

    def events_async(self, flow: Flow) -> AsyncGenerator[Event, None]:
        """Carry a flow out on the running event loop; yields its events."""
        session = self._async_session()
        return drive_async(flow, lambda call: send_async(session, self._target, call), asyncio.sleep)

    def ask(self, call: Call) -> dict[str, Any]:
        """Send one call; gives the JSON object of its answer."""
        return interpret(call, answered(send(self._plain_session(), self._target, call)))

    async def ask_async(self, call: Call) -> dict[str, Any]:
        """Send one call on the running event loop; gives the JSON object of its answer."""
        return interpret(call, answered(await send_async(self._async_session(), self._target, call)))

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
