"""The Python client of Stoker: call the endpoints of an inference server, with or without progress."""

from .api import ModelAPI
from .errors import (
    BadRequest,
    ConnectionFailed,
    EndpointNotFound,
    Forbidden,
    JobCanceled,
    JobError,
    JobFailed,
    JobLapsed,
    JobNotFound,
    LoginFailed,
    QueueFull,
    RateLimited,
    ServerBusy,
    ServerError,
    StokerClientError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from .events import JobProgress, JobResult, ProgressInfo
from .iteration import JobEvents
from .media import Media
from .shortcuts import do_api_request, do_api_request_async

__all__ = [
    "BadRequest",
    "ConnectionFailed",
    "EndpointNotFound",
    "Forbidden",
    "JobCanceled",
    "JobError",
    "JobEvents",
    "JobFailed",
    "JobLapsed",
    "JobNotFound",
    "JobProgress",
    "JobResult",
    "LoginFailed",
    "Media",
    "ModelAPI",
    "ProgressInfo",
    "QueueFull",
    "RateLimited",
    "ServerBusy",
    "ServerError",
    "StokerClientError",
    "Timeout",
    "Unauthorized",
    "Unavailable",
    "do_api_request",
    "do_api_request_async",
]
