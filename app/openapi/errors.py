"""The errors of the API as it describes them: what each code means, and the bodies of each status."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from app.errors import STATUS
from app.openapi.operation import Schema, record, ref, said

MEANINGS = {
    "malformed_request": "The query or the body cannot be read.",
    "invalid_input": "Parameters break the rules; all of them are told at once, by name in `errors`.",
    "job_id_missing": "The request names no job.",
    "idempotency_key_malformed": "`Idempotency-Key` is not 1 to 255 ASCII characters.",
    "key_missing": "The request has no API key.",
    "key_not_valid": "The API key or session token is not valid, or not any more.",
    "not_authorized": "The key is valid, but not for this endpoint.",
    "not_found": "There is no such page or endpoint.",
    "job_not_found": "There is no such job, not any more, or it belongs to another key.",
    "output_not_found": "The job has no such output, or not any more; `error` says why.",
    "upload_not_found": "The key has no such upload, or not any more.",
    "method_not_allowed": "The route has other methods; `Allow` names them.",
    "not_acceptable": "`Accept` rules out what is answered here.",
    "body_too_slow": "The body came too slowly: in more than 30 s, and with less than 50 kB/s.",
    "job_not_done": "The job has not ended: it has no outputs yet.",
    "job_ended": "The job has ended already; `job_state` says how.",
    "request_in_progress": "The first request with this `Idempotency-Key` is not accepted yet.",
    "lapsed": "The job waited for too long and will not run.",
    "canceled": "The job was canceled.",
    "body_too_large": "The body is larger than the server takes.",
    "unsupported_media_type": "The body is of a type that is not read here, or compressed.",
    "range_not_satisfiable": "The output ends before the range begins.",
    "idempotency_key_reused": "Another request came with this `Idempotency-Key` before.",
    "day_limit_reached": "This client has used as much today (in UTC) as it may.",
    "queue_full": "As many jobs wait as may, or they have as many bytes; `limit` tells which.",
    "too_many_jobs": "As many jobs of this client wait or run as may.",
    "too_many_requests": "This client has sent as many requests in the last minute as it may.",
    "too_many_uploads": "The key has as many uploads as it may, or as many bytes; `limit` tells which.",
    "internal_error": "A fault of the server; its log says more under `request_id`.",
    "job_failed": "The model broke on the job.",
    "endpoint_disabled": "The endpoint takes no requests.",
    "broker_unavailable": "The message broker is away; nothing was accepted.",
    "conversion_busy": "Too many files are being received, fetched or converted at the moment.",
    "database_unavailable": "Nobody can tell at the moment whether the key is valid.",
    "overloaded": "The job would wait longer than it may.",
    "store_unavailable": "The job store is away; nothing was accepted, but for a job that `job_id` names.",
    "not_ready": "Something that jobs need is missing; `error` names it.",
    "still_running": "The job goes on; the client, which insisted on the result, may ask for it later.",
}
"""Code -> when a request ends with it: all that a client can get, in the order of their status."""

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_MORE: dict[int, dict[str, Schema]] = {
    400: {"errors": said({"type": "object", "additionalProperties": _TEXTS}, "Sentences by parameter.")},
    404: {"job_state": _TEXT},
    409: {"job_id": _TEXT, "job_state": _TEXT},
    410: {"job_id": _TEXT, "job_state": _TEXT},
    429: {"limit": said(_TEXT, "The limit that was met.")},
    500: {"job_id": _TEXT, "job_state": _TEXT, "request_id": _TEXT},
    503: {
        "job_id": _TEXT,
        "ready": {"type": "boolean"},
        "store": {"type": "boolean"},
        "broker": {"type": "boolean"},
        "workers": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    504: {"job_id": _TEXT, "job_state": _TEXT},
}
_HEADERS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    416: ("Content-Range",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def error_schemas() -> dict[str, Schema]:
    """Give the schemas of the bodies of all errors, by name: one for each status."""
    return {f"Error{status}": _schema(status, codes) for status, codes in by_status(MEANINGS).items()}


def by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    """Sort codes by the status of their answers; each code once."""
    found: dict[int, list[str]] = {}
    for code in MEANINGS:
        if code in codes:
            found.setdefault(STATUS[code], []).append(code)
    return dict(sorted(found.items()))


def error_response(status: int, codes: Iterable[str]) -> dict[str, Any]:
    """Give the answer of a status that may have these codes; its `headers` are names yet."""
    return {
        "description": "\n".join(f"- `{code}`: {MEANINGS[code]}" for code in codes),
        "headers": _HEADERS.get(status, ()),
        "content": {"application/json": {"schema": ref(f"Error{status}")}},
    }


def _schema(status: int, codes: list[str]) -> Schema:
    body = record(
        ("success", "error", "code"),
        success={"type": "boolean", "const": False},
        error=said(_TEXTS, "Sentences for people."),
        code=said({"type": "string", "enum": codes}, "For programs."),
        ep_version={"type": ["integer", "null"]},
        **_MORE.get(status, {}),
    )
    return said(body, f"{status} {HTTPStatus(status).phrase}")
