"""What the client asks of the server: the requests of the wire, without any I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

from .media import to_wire

RESERVED = frozenset({"key", "client_session_auth_key", "wait_for_result", "job_id"})


class Purpose(Enum):
    """What a call is for; the same status means different things for each."""

    LOGIN = auto()
    JOB = auto()
    PROGRESS = auto()
    DESCRIPTION = auto()


@dataclass(frozen=True)
class Call:
    """One HTTP request to be sent. Keys and prompts stay out of its repr.

    Attributes:
        body: JSON; None for a request without a body.
        token: API key or session token, sent as `Authorization: Bearer`.
        held: the server holds the answer back until the job has ended.
        job_id: the job that is asked about.
    """

    purpose: Purpose
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    held: bool = False
    job_id: str | None = None


def _endpoint_path(endpoint: str, below: str = "") -> str:
    return f"/{quote(endpoint, safe='')}{below}"


def _json(value: Any) -> bytes:
    # NaN and Infinity are no JSON: better a ValueError here than a refusal by the server.
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def login_call(endpoint: str, token: str | None) -> Call:
    """Ask for a session token."""
    return Call(Purpose.LOGIN, "POST", _endpoint_path(endpoint, "/login"), b"{}", token)


def job_call(endpoint: str, params: Mapping[str, Any], token: str | None, *, wait: bool) -> Call:
    """Submit a job.

    Raises:
        ValueError: a parameter has a name that the wire reserves, or a value that JSON cannot carry.
        TypeError: a value that JSON cannot carry.
    """
    reserved = sorted(RESERVED.intersection(params))
    if reserved:
        raise ValueError(f"reserved names among the parameters: {', '.join(reserved)}")
    body = _json({**to_wire(params), "wait_for_result": wait})
    return Call(Purpose.JOB, "POST", _endpoint_path(endpoint), body, token, held=wait)


def progress_call(endpoint: str, job_id: str, token: str | None) -> Call:
    """Ask how a job stands."""
    path = _endpoint_path(endpoint, "/progress")
    return Call(Purpose.PROGRESS, "POST", path, _json({"job_id": job_id}), token, job_id=job_id)


def endpoint_list_call(token: str | None) -> Call:
    """Ask for the names of the endpoints."""
    return Call(Purpose.DESCRIPTION, "GET", "/api/endpoints", token=token)


def endpoint_details_call(endpoint: str, token: str | None) -> Call:
    """Ask for the description of an endpoint."""
    return Call(Purpose.DESCRIPTION, "GET", "/api/endpoints" + _endpoint_path(endpoint), token=token)
