"""What the client asks of the server: the requests of the wire, without any I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

from .inputs import to_wire

RESERVED = frozenset({"key", "client_session_auth_key", "wait_for_result", "job_id"})


class Purpose(Enum):
    """What a call is for; the same status means different things for each."""

    LOGIN = auto()
    JOB = auto()
    PROGRESS = auto()
    CANCEL = auto()
    DESCRIPTION = auto()


@dataclass(frozen=True)
class Call:
    """One HTTP request to be sent; the server takes each of them twice without doing anything twice.

    Keys and prompts stay out of its repr.

    Attributes:
        body: JSON; None for a request without a body.
        token: API key or session token, sent as `Authorization: Bearer`.
        hold: seconds that the server may hold the answer back, sent as `Prefer: wait`; None: not said.
        headers: further ones.
        job_id: the job that is asked about.
    """

    purpose: Purpose
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    hold: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None


@dataclass(frozen=True)
class Listen(Call):
    """A request whose answer, a stream of server-sent events, is received piece by piece."""


def _segment(name: str) -> str:
    return "/" + quote(name, safe="")


def _json(value: Any) -> bytes:
    # NaN and Infinity are no JSON: better a ValueError here than a refusal by the server.
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def login_call(endpoint: str, token: str | None) -> Call:
    """Ask for a session token."""
    return Call(Purpose.LOGIN, "POST", f"{_segment(endpoint)}/login", b"{}", token)


def job_call(
    endpoint: str, params: Mapping[str, Any], token: str | None, idempotency_key: str, hold: int | None = None
) -> Call:
    """Submit a job.

    Args:
        endpoint: its name.
        params: the inputs by name; files are read here.
        token: API key or session token.
        idempotency_key: by which the server knows the request again.
        hold: seconds that the server may wait for the result; None: it answers at once, by the job's id.

    Raises:
        ValueError: a parameter has a name that the wire reserves, or a value that cannot be sent.
        TypeError: a value that JSON cannot carry.
        OSError: a file that cannot be read.
    """
    reserved = sorted(RESERVED.intersection(params))
    if reserved:
        raise ValueError(f"reserved names among the parameters: {', '.join(reserved)}")
    body = _json({**to_wire(params), "wait_for_result": hold is not None})
    headers = {"Idempotency-Key": idempotency_key}
    return Call(Purpose.JOB, "POST", _segment(endpoint), body, token, hold, headers)


def progress_call(endpoint: str, job_id: str, token: str | None) -> Call:
    """Ask how a job stands, by the words of AIME API."""
    path = f"{_segment(endpoint)}/progress"
    return Call(Purpose.PROGRESS, "POST", path, _json({"job_id": job_id}), token, job_id=job_id)


def outcome_call(job_id: str, token: str | None, hold: int) -> Call:
    """Ask how a job stands, as soon as it has ended or so many seconds have passed."""
    return Call(Purpose.PROGRESS, "GET", f"/jobs{_segment(job_id)}", token=token, hold=hold, job_id=job_id)


def cancel_call(job_id: str, token: str | None) -> Call:
    """Ask for the end of a job."""
    return Call(Purpose.CANCEL, "DELETE", f"/jobs{_segment(job_id)}", token=token, job_id=job_id)


def events_call(job_id: str, token: str | None, seen: str | None) -> Listen:
    """Ask for the events of a job, after the one with the id `seen`."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
    path = f"/jobs{_segment(job_id)}/events"
    return Listen(Purpose.PROGRESS, "GET", path, token=token, headers=headers, job_id=job_id)


def endpoint_list_call(token: str | None) -> Call:
    """Ask for the names of the endpoints."""
    return Call(Purpose.DESCRIPTION, "GET", "/api/endpoints", token=token)


def endpoint_details_call(endpoint: str, token: str | None) -> Call:
    """Ask for the description of an endpoint."""
    return Call(Purpose.DESCRIPTION, "GET", f"/api/endpoints{_segment(endpoint)}", token=token)
