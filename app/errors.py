"""Errors as the client sees them: the only place for HTTP status codes.

Every error body: {"success": false, "error": ["..."], "code": "...", "ep_version": n}, and where they
say something: "errors" {parameter: [...]}, "job_id", "job_state", "request_id".
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestedRangeNotSatisfiable

from app.conversion import ConversionBusy
from app.services import ACCEPTED_JOB, called_endpoint
from schemas import InputError
from tasks.errors import BrokerUnavailable, DatabaseUnavailable, StokerError, StoreUnavailable

logger = logging.getLogger(__name__)

STATUS = {
    "malformed_request": 400,
    "invalid_input": 400,
    "job_id_missing": 400,
    "idempotency_key_malformed": 400,
    "key_missing": 401,
    "key_not_valid": 401,
    "not_authorized": 403,
    "not_found": 404,
    "job_not_found": 404,
    "output_not_found": 404,
    "upload_not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "body_too_slow": 408,
    "job_ended": 409,
    "job_not_done": 409,
    "request_in_progress": 409,
    "lapsed": 410,
    "canceled": 410,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "idempotency_key_reused": 422,
    "day_limit_reached": 429,
    "queue_full": 429,
    "too_many_jobs": 429,
    "too_many_requests": 429,
    "too_many_uploads": 429,
    "client_gone": 499,  # NGINX's number; in the access log only, since there is nobody to read it
    "internal_error": 500,
    "job_failed": 500,
    "endpoint_disabled": 503,
    "broker_unavailable": 503,
    "conversion_busy": 503,
    "database_unavailable": 503,
    "overloaded": 503,
    "store_unavailable": 503,
    "not_ready": 503,
    "still_running": 504,
}
_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    416: "range_not_satisfiable",
}  # of what Flask raises
_PARTS: dict[type[StokerError], tuple[str, str]] = {
    BrokerUnavailable: ("message broker", "broker_unavailable"),
    DatabaseUnavailable: ("database of keys", "database_unavailable"),
    StoreUnavailable: ("job store", "store_unavailable"),
}
RETRY_AFTER = (1, 5)  # s; spread, so that the clients of an outage do not come back all at once


class ApiError(Exception):
    """A request that is answered by an error.

    Attributes:
        code: key of `STATUS`.
        messages: sentences for the client.
        retry_after: seconds after which another try makes sense.
        body: more fields of the body.
    """

    def __init__(
        self, code: str, messages: str | Sequence[str], *, retry_after: int | None = None, **body: Any
    ) -> None:
        self.code = code
        self.messages = [messages] if isinstance(messages, str) else list(messages)
        self.retry_after = retry_after
        self.body = body
        super().__init__(code, *self.messages)


def init_errors(app: Flask) -> None:
    """Let every error of a request end in this module."""
    app.register_error_handler(ApiError, answer)
    app.register_error_handler(InputError, _invalid_input)
    for outage in _PARTS:
        app.register_error_handler(outage, _unavailable)
    app.register_error_handler(ConversionBusy, _busy)
    app.register_error_handler(HTTPException, _of_flask)
    app.register_error_handler(Exception, _internal)


def answer(error: ApiError) -> Response:
    """Give the answer to a request that failed with `error`."""
    response = jsonify(error_body(error))
    response.status_code = STATUS[error.code]
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def error_body(error: ApiError) -> dict[str, Any]:
    """Give the body of an answer that tells of `error`."""
    body = {"success": False, "error": error.messages, "code": error.code, **error.body}
    endpoint = called_endpoint()
    return body if endpoint is None else body | {"ep_version": endpoint.version}


def _invalid_input(error: InputError) -> Response:
    return answer(ApiError("invalid_input", error.messages, errors=_lists(error.errors)))


def _busy(error: ConversionBusy) -> Response:
    sentence = "Too many files are being received or converted at the moment; try again"
    return answer(ApiError("conversion_busy", sentence, retry_after=random.randint(*RETRY_AFTER)))


def _lists(errors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: list(messages) for name, messages in errors.items()}


def _unavailable(error: StokerError) -> Response:
    logger.error("request %s: %s", g.request_id, error)
    part, code = next(names for outage, names in _PARTS.items() if isinstance(error, outage))
    body, advice = {}, "try again"
    if job_id := request.environ.get(ACCEPTED_JOB):  # it goes on: its client shall not send it anew
        body, advice = {"job_id": job_id}, f"job {job_id} was accepted: ask for it later"
    sentence = f"The {part} cannot be reached at the moment; {advice}"
    return answer(ApiError(code, sentence, retry_after=random.randint(*RETRY_AFTER), **body))


def _of_flask(error: HTTPException) -> Response:
    status = error.code or 500
    response = answer(ApiError(_CODES.get(status, "malformed_request"), _sentence(error, status)))
    response.status_code = status
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    if isinstance(error, RequestedRangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.length}"
    return response


def _sentence(error: HTTPException, status: int) -> str:
    if status == 404:
        return "There is no such endpoint or page; /docs shows what there is"
    if status == 405:
        return f"Method {request.method} is not allowed here"
    if status == 413:
        return f"The body is larger than {current_app.config['MAX_CONTENT_LENGTH']} bytes"
    if isinstance(error, RequestedRangeNotSatisfiable):
        return f"There are {error.length} bytes only"
    return f"{error.name}: {error.description}"


def _internal(error: Exception) -> Response:
    logger.error("request %s failed", g.request_id, exc_info=error)
    sentence = f"Internal error; it is in the server's log under request id {g.request_id}"
    return answer(ApiError("internal_error", sentence, request_id=g.request_id))
