"""ModelAPI: one endpoint of one server, as a Python object."""

import inspect
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, Self

import httpx

from .address import check_server, clean_key
from .calls import endpoint_details_call, endpoint_list_call, login_call
from .errors import LoginFailed
from .events import (
    JobProgress,
    JobResult,
    Listeners,
    PollFailed,
    ProgressCallback,
    ProgressErrorCallback,
    ResultCallback,
)
from .flow import Flow, Patience, run_job
from .sessions import Closing, Sessions
from .transport import Target


class ModelAPI:
    """Calls one endpoint. Threads may share it; use it as a (plain or async) context manager, or close it.

    Attributes:
        api_server: base URL of the server.
        endpoint_name: name of the endpoint.
        client_session_auth_key: session token of the last login, good in place of an API key; None before.
    """

    def __init__(
        self,
        api_server: str,
        endpoint_name: str,
        api_key: str | None = None,
        session: httpx.Client | httpx.AsyncClient | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float = 10.0,
        poll_retries: int = 10,
    ) -> None:
        """Sends nothing yet.

        Args:
            api_server: base URL, such as "https://api.example.org"; a path in front of the routes may follow.
            endpoint_name: as the server lists it.
            api_key: API key, or a session token in its place; sent in a header, never in a URL.
            session: an httpx client to send with, which stays the caller's to close.
            timeout: seconds to wait for the result of a job; None waits for ever.
            connect_timeout: seconds for a connection to be made.
            poll_retries: failed questions for the progress in a row that a job survives.

        Raises:
            ValueError: the URL, the name or the key cannot be used.
            TypeError: `session` is no httpx client.
        """
        self.api_server = check_server(api_server)
        if not endpoint_name:
            raise ValueError("the name of the endpoint is empty")
        if session is not None and not isinstance(session, httpx.Client | httpx.AsyncClient):
            raise TypeError("session must be an httpx.Client or an httpx.AsyncClient")
        self.endpoint_name = endpoint_name
        self.client_session_auth_key: str | None = None
        self._token = clean_key(api_key)
        self._timeout = timeout
        self._poll_retries = poll_retries
        target = Target(self.api_server, connect_timeout=connect_timeout, held_timeout=timeout)
        self._sessions = Sessions(target, session)

    def __repr__(self) -> str:
        return f"ModelAPI({self.api_server!r}, {self.endpoint_name!r})"

    def do_api_login(self) -> None:
        """Check the API key with the server, and keep the session token that it gives.

        Requests need no login: they carry the API key themselves.

        Raises:
            LoginFailed: the key is missing or not valid.
            StokerClientError: any other reason.
        """
        self._keep_session(self._sessions.ask(login_call(self.endpoint_name, self._token)))

    async def do_api_login_async(self) -> None:
        """As do_api_login, on the running event loop."""
        self._keep_session(await self._sessions.ask_async(login_call(self.endpoint_name, self._token)))

    def do_api_request(
        self,
        params: Mapping[str, Any],
        result_callback: ResultCallback | None = None,
        progress_callback: ProgressCallback | None = None,
        progress_error_callback: ProgressErrorCallback | None = None,
        progress_interval: float = 0.3,
    ) -> dict[str, Any]:
        """Run a job and wait for its result.

        Args:
            params: the inputs by name; `bytes` of images, audio and video become data URLs.
            result_callback: called once, with the result.
            progress_callback: called with (progress_info, progress_data) at every report until the job ends.
            progress_error_callback: called with a sentence when a question for the progress fails and will be
                asked again.
            progress_interval: seconds between two questions; without a callback for progress none is asked.

        Returns:
            success, job_id, ep_version, the outputs by name, and the timings.

        Raises:
            JobFailed: the model refused the job or broke on it.
            StokerClientError: any other reason why there is no result.
            ValueError: a parameter that cannot be sent.
            TypeError: the same, or an asynchronous callback.
        """
        listeners = Listeners(result_callback, progress_callback, progress_error_callback)
        flow = self._run(params, progress_interval, poll=listeners.wants_progress)
        with closing(self._sessions.events(flow)) as events:
            for event in events:
                listeners.notify_plain(event)
                if isinstance(event, JobResult):
                    return event.result
        raise RuntimeError("the conversation ended without a result")

    async def do_api_request_async(
        self,
        params: Mapping[str, Any],
        result_callback: ResultCallback | None = None,
        progress_callback: ProgressCallback | None = None,
        progress_error_callback: ProgressErrorCallback | None = None,
        progress_interval: float = 0.3,
    ) -> dict[str, Any]:
        """As do_api_request, on the running event loop; callbacks may be plain or asynchronous."""
        listeners = Listeners(result_callback, progress_callback, progress_error_callback)
        flow = self._run(params, progress_interval, poll=listeners.wants_progress)
        async with aclosing(self._sessions.events_async(flow)) as events:
            async for event in events:
                answer = listeners.notify(event)
                if inspect.isawaitable(answer):
                    await answer
                if isinstance(event, JobResult):
                    return event.result
        raise RuntimeError("the conversation ended without a result")

    def get_api_request_generator(
        self, params: Mapping[str, Any], progress_interval: float = 0.3
    ) -> "RequestEvents":
        """Run a job and give its events, for a plain `for` as well as for an `async for`.

        Nothing is sent before the first event is asked for. Arguments and errors as those of do_api_request.

        Returns:
            an iterable of JobProgress, any number of them, and one JobResult at the end.
        """
        return RequestEvents(self._sessions, self._run(params, progress_interval, poll=True))

    def get_endpoint_list(self) -> list[str]:
        """The names of the server's endpoints; with an API key, those that it may call."""
        return list(self._sessions.ask(endpoint_list_call(self._token)).get("endpoints", []))

    async def get_endpoint_list_async(self) -> list[str]:
        """As get_endpoint_list, on the running event loop."""
        return list((await self._sessions.ask_async(endpoint_list_call(self._token))).get("endpoints", []))

    def get_endpoint_details(self, endpoint_name: str | None = None) -> dict[str, Any]:
        """The description of an endpoint: title, limits, workers, parameters.

        Args:
            endpoint_name: another endpoint of the same server.

        Raises:
            EndpointNotFound: the server has none of this name.
        """
        return self._sessions.ask(endpoint_details_call(endpoint_name or self.endpoint_name, self._token))

    async def get_endpoint_details_async(self, endpoint_name: str | None = None) -> dict[str, Any]:
        """As get_endpoint_details, on the running event loop."""
        return await self._sessions.ask_async(
            endpoint_details_call(endpoint_name or self.endpoint_name, self._token)
        )

    def close_session(self) -> Closing:
        """Close the connections; `await` the answer where an asynchronous call was made.

        A session lent by the caller stays open.
        """
        self._sessions.close()
        return Closing(self._sessions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_session()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_session()

    def _run(self, params: Mapping[str, Any], interval: float, *, poll: bool) -> Flow:
        patience = Patience(interval, self._timeout, self._poll_retries)
        return run_job(self.endpoint_name, params, self._token, patience, poll=poll, clock=time.monotonic)

    def _keep_session(self, answer: Mapping[str, Any]) -> None:
        token = answer.get("client_session_auth_key")
        if not isinstance(token, str):
            raise LoginFailed("the server gave no session token")
        self.client_session_auth_key = token


class RequestEvents:
    """The events of one job: iterate once, plainly or asynchronously."""

    def __init__(self, sessions: Sessions, flow: Flow) -> None:
        self._sessions = sessions
        self._flow = flow

    def __iter__(self) -> Iterator[JobProgress | JobResult]:
        with closing(self._sessions.events(self._flow)) as events:
            for event in events:
                if not isinstance(event, PollFailed):
                    yield event

    async def __aiter__(self) -> AsyncIterator[JobProgress | JobResult]:
        async with aclosing(self._sessions.events_async(self._flow)) as events:
            async for event in events:
                if not isinstance(event, PollFailed):
                    yield event


def do_api_request(
    api_server: str,
    endpoint_name: str,
    params: Mapping[str, Any],
    api_key: str | None = None,
    *,
    result_callback: ResultCallback | None = None,
    progress_callback: ProgressCallback | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Run one job on a server and give its result; for more than one keep a ModelAPI.

    Arguments, result and errors are those of ModelAPI and ModelAPI.do_api_request.
    """
    with ModelAPI(api_server, endpoint_name, api_key, timeout=timeout) as api:
        return api.do_api_request(params, result_callback, progress_callback)
