"""ModelAPI: one endpoint of one server, as a Python object."""

import inspect
import uuid
from collections.abc import Mapping
from contextlib import aclosing, closing, nullcontext
from dataclasses import replace
from typing import Any, Self

import httpx

from .address import check_server, clean_key
from .calls import Call, cancel_call, endpoint_details_call, endpoint_list_call, login_call
from .drivers import complete, complete_async, drive, drive_async
from .errors import LoginFailed
from .events import JobResult
from .flow import Conversation, Flow, ask, await_job, follow_job, poll_job, run_job, submit_job
from .iteration import JobEvents
from .links import Target
from .listeners import Listeners, ProgressCallback, ProgressErrorCallback, ResultCallback
from .progressbar import ProgressBar
from .retries import Retries
from .sessions import Closing, Sessions


class ModelAPI:
    """Calls one endpoint. Threads may share it; use it as a (plain or async) context manager, or close it.

    Each method that waits has a twin with `_async` at its end, for an event loop. Every call that fails for a
    passing reason (no connection, 429, 502, 503, 504) is sent again; no job runs twice by it.

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
        retries: int = 6,
    ) -> None:
        """Sends nothing yet.

        Args:
            api_server: base URL, such as "https://api.example.org"; a path in front of the routes may follow.
            endpoint_name: as the server lists it.
            api_key: API key, or a session token in its place; sent in a header, never in a URL.
            session: an httpx client to send with, which stays the caller's to close.
            timeout: seconds to wait for the result of a job; None waits for ever.
            connect_timeout: seconds for a connection to be made.
            retries: so many failures of a call in a row are followed by another try. The pauses double, from
                half a second to 8 s; `Retry-After` is honoured up to a minute.

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
        self._talk = Conversation(clean_key(api_key), Retries(retries), timeout)
        self._sessions = Sessions(Target(self.api_server, connect_timeout), session)

    def __repr__(self) -> str:
        return f"ModelAPI({self.api_server!r}, {self.endpoint_name!r})"

    def do_api_login(self) -> None:
        """Check the API key with the server, and keep the session token that it gives.

        Requests need no login: they carry the API key themselves.

        Raises:
            LoginFailed: the key is missing or not valid.
            StokerClientError: any other reason.
        """
        self._keep_session(self._ask(login_call(self.endpoint_name, self._talk.token)))

    async def do_api_login_async(self) -> None:
        """As do_api_login, on the running event loop."""
        self._keep_session(await self._ask_async(login_call(self.endpoint_name, self._talk.token)))

    def do_api_request(
        self,
        params: Mapping[str, Any],
        result_callback: ResultCallback | None = None,
        progress_callback: ProgressCallback | None = None,
        progress_error_callback: ProgressErrorCallback | None = None,
        progress_interval: float = 0.3,
        *,
        progress_bar: bool = False,
    ) -> dict[str, Any]:
        """Run a job and wait for its result.

        Args:
            params: the inputs by name; files as `bytes`, paths (pathlib.Path), file objects or Pillow images.
            result_callback: called once, with the result.
            progress_callback: called with (progress_info, progress_data) at every report until the job ends.
            progress_error_callback: called with a sentence when a call fails and will be sent again.
            progress_interval: seconds between two questions for the progress, if anybody wants it.
            progress_bar: show a progress bar on the standard error stream.

        Returns:
            success, job_id, ep_version, the outputs by name, and the timings. Files are data URLs: see Media.

        Raises:
            JobFailed: the model refused the job or broke on it.
            Timeout: the time is over; the job goes on, and `job_id` names it.
            StokerClientError: any other reason why there is no result.
            ValueError: a parameter that cannot be sent.
            TypeError: the same, or an asynchronous callback.
        """
        with ProgressBar(self.endpoint_name) if progress_bar else nullcontext() as bar:
            listeners = Listeners(result_callback, progress_callback, progress_error_callback, bar)
            flow = self._run(params, progress_interval, poll=listeners.want_progress)
            with closing(drive(flow, self._sessions.link())) as events:
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
        *,
        progress_bar: bool = False,
    ) -> dict[str, Any]:
        """As do_api_request, on the running event loop; callbacks may be plain or asynchronous."""
        with ProgressBar(self.endpoint_name) if progress_bar else nullcontext() as bar:
            listeners = Listeners(result_callback, progress_callback, progress_error_callback, bar)
            flow = self._run(params, progress_interval, poll=listeners.want_progress)
            async with aclosing(drive_async(flow, self._sessions.async_link())) as events:
                async for event in events:
                    answer = listeners.notify(event)
                    if inspect.isawaitable(answer):
                        await answer
                    if isinstance(event, JobResult):
                        return event.result
        raise RuntimeError("the conversation ended without a result")

    def get_api_request_generator(
        self, params: Mapping[str, Any], progress_interval: float = 0.3
    ) -> JobEvents:
        """Run a job and give its events, for a plain `for` as well as for an `async for`.

        Nothing is sent before the first event is asked for. Arguments and errors as those of do_api_request.

        Returns:
            an iterable of JobProgress, any number of them, and one JobResult at the end.
        """
        return JobEvents(self._sessions, self._run(params, progress_interval, poll=True))

    def submit(self, params: Mapping[str, Any], *, idempotency_key: str | None = None) -> str:
        """Submit a job without waiting for its result.

        Args:
            params: as for do_api_request.
            idempotency_key: a name for this submission, up to 255 ASCII characters: whoever submits the same
                inputs by the same name within a day, perhaps after a restart, gets the same job.

        Returns:
            the id of the job: for `result`, `stream` and `cancel`, in any process with the same API key.
        """
        return complete(self._submission(params, idempotency_key), self._sessions.link())

    async def submit_async(self, params: Mapping[str, Any], *, idempotency_key: str | None = None) -> str:
        """As submit, on the running event loop."""
        return await complete_async(self._submission(params, idempotency_key), self._sessions.async_link())

    def result(self, job_id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the result of a job.

        Args:
            job_id: from `submit`.
            timeout: seconds; None: those of the constructor; 0 only looks.

        Returns, Raises:
            as do_api_request.
        """
        for event in JobEvents(self._sessions, self._await(job_id, timeout)):
            if isinstance(event, JobResult):
                return event.result
        raise RuntimeError("the conversation ended without a result")

    async def result_async(self, job_id: str, timeout: float | None = None) -> dict[str, Any]:
        """As result, on the running event loop."""
        async for event in JobEvents(self._sessions, self._await(job_id, timeout)):
            if isinstance(event, JobResult):
                return event.result
        raise RuntimeError("the conversation ended without a result")

    def stream(self, job_id: str) -> JobEvents:
        """Follow a job by the server's stream of events, for a plain `for` as well as for an `async for`.

        A stream that breaks off is taken up where it was. Raises what do_api_request raises.

        Returns:
            an iterable of JobProgress, the first one of how the job stands now, and one JobResult at the end.
        """
        return JobEvents(self._sessions, follow_job(self._talk, job_id))

    def cancel(self, job_id: str) -> str:
        """End a job that waits or runs.

        Returns:
            its state: "canceled"; "queued" or "processing" if a worker will stop it within seconds; "done",
            "failed" or "lapsed" if it had ended before.
        """
        return str(self._ask(cancel_call(job_id, self._talk.token))["job_state"])

    async def cancel_async(self, job_id: str) -> str:
        """As cancel, on the running event loop."""
        return str((await self._ask_async(cancel_call(job_id, self._talk.token)))["job_state"])

    def get_endpoint_list(self) -> list[str]:
        """The names of the server's endpoints; with an API key, those that it may call."""
        return list(self._ask(endpoint_list_call(self._talk.token)).get("endpoints", []))

    async def get_endpoint_list_async(self) -> list[str]:
        """As get_endpoint_list, on the running event loop."""
        return list((await self._ask_async(endpoint_list_call(self._talk.token))).get("endpoints", []))

    def get_endpoint_details(self, endpoint_name: str | None = None) -> dict[str, Any]:
        """The description of an endpoint: title, limits, workers, parameters.

        Args:
            endpoint_name: another endpoint of the same server.

        Raises:
            EndpointNotFound: the server has none of this name.
        """
        return self._ask(endpoint_details_call(endpoint_name or self.endpoint_name, self._talk.token))

    async def get_endpoint_details_async(self, endpoint_name: str | None = None) -> dict[str, Any]:
        """As get_endpoint_details, on the running event loop."""
        return await self._ask_async(
            endpoint_details_call(endpoint_name or self.endpoint_name, self._talk.token)
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

    def _run(self, params: Mapping[str, Any], interval: float, *, poll: bool) -> Flow[None]:
        once = str(uuid.uuid4())
        if poll:
            return poll_job(self._talk, self.endpoint_name, params, once, interval)
        return run_job(self._talk, self.endpoint_name, params, once)

    def _submission(self, params: Mapping[str, Any], idempotency_key: str | None) -> Flow[str]:
        return submit_job(self._talk, self.endpoint_name, params, idempotency_key or str(uuid.uuid4()))

    def _await(self, job_id: str, timeout: float | None) -> Flow[None]:
        talk = self._talk if timeout is None else replace(self._talk, timeout=timeout)
        return await_job(talk, job_id, talk.deadline())

    def _ask(self, call: Call) -> dict[str, Any]:
        _, body = complete(ask(self._talk, call), self._sessions.link())
        return body

    async def _ask_async(self, call: Call) -> dict[str, Any]:
        _, body = await complete_async(ask(self._talk, call), self._sessions.async_link())
        return body

    def _keep_session(self, answer: Mapping[str, Any]) -> None:
        token = answer.get("client_session_auth_key")
        if not isinstance(token, str):
            raise LoginFailed("the server gave no session token")
        self.client_session_auth_key = token
