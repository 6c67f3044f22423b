"""The only I/O of the client: drivers that carry a flow out over httpx, with or without an event loop."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from .answers import Answer, parse_retry_after
from .calls import Call
from .errors import ConnectionFailed, StokerClientError, Timeout
from .events import Event
from .flow import Flow, Pause, Step

Reply = Answer | StokerClientError

# Every job that is waited for holds a connection: a limit here would be a limit on the jobs of a caller.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


@dataclass(frozen=True)
class Target:
    """Where and how calls are sent.

    Attributes:
        base_url: scheme, host, port and path prefix, without a slash at the end.
        connect_timeout: seconds for a connection to be made.
        read_timeout: seconds for the answer to a call that the server answers at once.
        held_timeout: seconds for the answer to a call that the server holds back; None waits for ever.
    """

    base_url: str
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    held_timeout: float | None = None

    def request(self, call: Call) -> dict[str, Any]:
        """The arguments of httpx's `request` for a call."""
        headers = {"Accept": "application/json"}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.token:
            headers["Authorization"] = f"Bearer {call.token}"
        read = self.held_timeout if call.held else self.read_timeout
        return {
            "method": call.method,
            "url": self.base_url + call.path,
            "content": call.body,
            "headers": headers,
            "follow_redirects": False,
            "timeout": httpx.Timeout(read, connect=self.connect_timeout, write=self.read_timeout, pool=None),
        }


def drive(
    flow: Flow, send: Callable[[Call], Reply], sleep: Callable[[float], object]
) -> Generator[Event, None, None]:
    """Carry a flow out; yields its events."""
    try:
        step = _advance(flow, None)
        while step is not None:
            reply = None
            if isinstance(step, Call):
                reply = send(step)
            elif isinstance(step, Pause):
                sleep(step.seconds)
            else:
                yield step
            step = _advance(flow, reply)
    finally:
        flow.close()


async def drive_async(
    flow: Flow, send: Callable[[Call], Awaitable[Reply]], sleep: Callable[[float], Awaitable[object]]
) -> AsyncGenerator[Event, None]:
    """Carry a flow out on the running event loop; yields its events."""
    try:
        step = _advance(flow, None)
        while step is not None:
            reply = None
            if isinstance(step, Call):
                reply = await send(step)
            elif isinstance(step, Pause):
                await sleep(step.seconds)
            else:
                yield step
            step = _advance(flow, reply)
    finally:
        flow.close()


def send(session: httpx.Client, target: Target, call: Call) -> Reply:
    """Send one call; what httpx raises comes back as a value of this package."""
    try:
        return _answer(session.request(**target.request(call)))
    except httpx.HTTPError as error:
        return _failure(target, call, error)


async def send_async(session: httpx.AsyncClient, target: Target, call: Call) -> Reply:
    """Send one call on the running event loop; what httpx raises comes back as a value of this package."""
    try:
        return _answer(await session.request(**target.request(call)))
    except httpx.HTTPError as error:
        return _failure(target, call, error)


def answered(reply: Reply) -> Answer:
    """Give the answer, or raise the error that came in its place."""
    if isinstance(reply, StokerClientError):
        raise reply
    return reply


def _advance(flow: Flow, reply: Reply | None) -> Step | None:
    try:
        return flow.throw(reply) if isinstance(reply, StokerClientError) else flow.send(reply)
    except StopIteration:
        return None


def _answer(response: httpx.Response) -> Answer:
    retry_after = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return Answer(response.status_code, response.content, retry_after)


def _failure(target: Target, call: Call, error: httpx.HTTPError) -> StokerClientError:
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        failure: StokerClientError = Timeout(f"no answer from {target.base_url} in time", job_id=call.job_id)
    else:
        failure = ConnectionFailed(f"no answer from {target.base_url}: {reason}")
    failure.__cause__ = error
    return failure
