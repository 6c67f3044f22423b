"""Everything that the client raises when a call does not give a result.

    StokerClientError
     +-- ConnectionFailed     no connection, or it broke before the answer (also a ConnectionError)
     +-- Timeout              no result within the time given (also a TimeoutError); the job may go on
     +-- Unauthorized         401: the API key is missing or not valid
     |    +-- LoginFailed     the same, at login
     +-- Forbidden            403: the key is valid, but not for this endpoint
     +-- BadRequest           400 and other 4xx: the inputs are wrong; `errors` says which
     |    +-- EndpointNotFound   404: the server has no such endpoint
     +-- ServerBusy           try again after `retry_after` seconds
     |    +-- QueueFull       429: the endpoint's queue has no free slot
     |    +-- RateLimited     429: too many requests with this key
     |    +-- Unavailable     503: the server cannot take jobs at present; 409: takes the same one just now
     +-- ServerError          other 5xx, or an answer that is not the server's protocol
     +-- JobError             the job was accepted, and there is no result; `job_id` says which
          +-- JobFailed       the model refused it or broke on it
          +-- JobCanceled     somebody canceled it
          +-- JobLapsed       it waited longer than the endpoint allows
          +-- JobNotFound     the server does not know it (any more)

What may succeed in a moment is tried again first: see retries.py.
Wrong arguments of the caller raise ValueError or TypeError before anything is sent. No text here holds a key.
"""

from collections.abc import Mapping, Sequence


class StokerClientError(Exception):
    """The base of all errors of this package.

    Attributes:
        status: HTTP status of the answer; None without an answer.
        code: the server's short name of the error, such as `queue_full`; None when it gave none.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ConnectionFailed(StokerClientError, ConnectionError):
    """No connection could be made, or it broke before the answer was complete."""


class Timeout(StokerClientError, TimeoutError):
    """No answer within the time given.

    Attributes:
        job_id: the job that was waited for, where its id is known; it may still finish on the server.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.job_id = job_id


class Unauthorized(StokerClientError):
    """The API key is missing or not valid."""


class LoginFailed(Unauthorized):
    """The server refused the API key at login."""


class Forbidden(StokerClientError):
    """The API key is valid, but not for this endpoint."""


class BadRequest(StokerClientError):
    """The server refused the inputs.

    Attributes:
        errors: the sentences for each input that is wrong; empty when the server named no input.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.errors: dict[str, list[str]] = {name: list(texts) for name, texts in (errors or {}).items()}


class EndpointNotFound(BadRequest):
    """The server has no endpoint of this name."""


class ServerBusy(StokerClientError):
    """The server takes no job at present; nothing was accepted.

    Attributes:
        retry_after: seconds to wait before the next try; None when the server named no time.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after = retry_after


class QueueFull(ServerBusy):
    """The queue of the endpoint has no free slot."""


class RateLimited(ServerBusy):
    """Too many requests were made with this API key."""


class Unavailable(ServerBusy):
    """The server is starting, stopping, or has lost a service that it needs."""


class ServerError(StokerClientError):
    """The server failed, or what answered does not speak its protocol."""


class JobError(StokerClientError):
    """An accepted job that gives no result.

    Attributes:
        job_id: id of the job; None when the server did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.job_id = job_id


class JobFailed(JobError):
    """The model refused the job or broke on it."""


class JobCanceled(JobError):
    """The job was canceled before it was done."""


class JobLapsed(JobError):
    """The job waited longer than its endpoint allows."""


class JobNotFound(JobError):
    """The server does not know the job: a wrong id, or its result's lifetime is over."""
