"""The only I/O of the client: one step of a flow at a time, over httpx, with or without an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from .answers import Answer, parse_retry_after
from .calls import Call, Listen
from .errors import ConnectionFailed, StokerClientError, Timeout
from .flow import Pause, Receive, Reply

# Every job that is waited for holds a connection: a limit here would be a limit on the jobs of a caller.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


@dataclass(frozen=True)
class Target:
    """Where and how calls are sent.

    Attributes:
        base_url: scheme, host, port and path prefix, without a slash at the end.
        connect_timeout: seconds for a connection to be made.
        read_timeout: seconds without a byte of the answer, beside those that the server may hold it back; a
            stream gives a sign of life every 15 s.
    """

    base_url: str
    connect_timeout: float = 10.0
    read_timeout: float = 60.0

    def request(self, call: Call) -> dict[str, Any]:
        """The arguments of httpx's `build_request` for a call."""
        headers = {"Accept": "application/json", **call.headers}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.token:
            headers["Authorization"] = f"Bearer {call.token}"
        if call.hold is not None:
            headers["Prefer"] = f"wait={call.hold}"
        read = self.read_timeout + (call.hold or 0)
        return {
            "method": call.method,
            "url": self.base_url + call.path,
            "content": call.body,
            "headers": headers,
            "timeout": httpx.Timeout(read, connect=self.connect_timeout, write=self.read_timeout, pool=None),
        }


class Link:
    """Performs the steps of one flow, without an event loop."""

    def __init__(self, session: httpx.Client, target: Target) -> None:
        self._session = session
        self._target = target
        self._stream: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def perform(self, step: Call | Receive | Pause) -> Reply:
        """Do what a flow asks for; what httpx raises comes back as a value of this package."""
        try:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                return None
            if isinstance(step, Receive):
                return next(self._pieces, b"")
            return self._send(step)
        except httpx.HTTPError as error:
            return _failure(self._target, step, error)

    def close(self) -> None:
        """Hang up on a stream that is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _send(self, call: Call) -> Answer:
        self.close()
        request = self._session.build_request(**self._target.request(call))
        response = self._session.send(request, stream=True, follow_redirects=False)
        self._stream = response
        if isinstance(call, Listen) and response.status_code == 200:
            self._pieces = response.iter_bytes()
            return Answer(response.status_code, b"")
        response.read()
        return _answer(response)


class AsyncLink:
    """As Link, on the running event loop."""

    def __init__(self, session: httpx.AsyncClient, target: Target) -> None:
        self._session = session
        self._target = target
        self._stream: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def perform(self, step: Call | Receive | Pause) -> Reply:
        """Do what a flow asks for; what httpx raises comes back as a value of this package."""
        try:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                return None
            if isinstance(step, Receive):
                return b"" if self._pieces is None else await anext(self._pieces, b"")
            return await self._send(step)
        except httpx.HTTPError as error:
            return _failure(self._target, step, error)

    async def aclose(self) -> None:
        """Hang up on a stream that is open."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None

    async def _send(self, call: Call) -> Answer:
        await self.aclose()
        request = self._session.build_request(**self._target.request(call))
        response = await self._session.send(request, stream=True, follow_redirects=False)
        self._stream = response
        if isinstance(call, Listen) and response.status_code == 200:
            self._pieces = response.aiter_bytes()
            return Answer(response.status_code, b"")
        await response.aread()
        return _answer(response)


def _answer(response: httpx.Response) -> Answer:
    retry_after = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return Answer(response.status_code, response.content, retry_after)


def _failure(target: Target, step: Call | Receive | Pause, error: httpx.HTTPError) -> StokerClientError:
    job_id = step.job_id if isinstance(step, Call) else None
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        failure: StokerClientError = Timeout(f"no answer from {target.base_url} in time", job_id=job_id)
    else:
        failure = ConnectionFailed(f"no answer from {target.base_url}: {str(error) or type(error).__name__}")
    failure.__cause__ = error
    return failure
