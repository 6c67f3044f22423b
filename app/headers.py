"""Headers of every answer: request id, CORS, caching."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, request

REQUEST_ID = "X-Request-Id"
_UNDERSTOOD = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer")
_TELLING = ("Location", "Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After")
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFLIGHT = "Access-Control-Request-Method"  # header of the question that a browser asks before a request
_PREFLIGHT_LIFETIME = "600"  # s


def init_headers(app: Flask) -> None:
    """Give each request its id, and each answer its headers."""
    app.before_request(_name_request)
    app.after_request(_complete)


def _name_request() -> None:
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _complete(response: Response) -> Response:
    headers = response.headers
    headers[REQUEST_ID] = g.request_id
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    # Any site may call: a browser sends no cookie with it, and keys are never in cookies.
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = ", ".join((*_TELLING, REQUEST_ID))
    if request.method == "OPTIONS":
        if response.status_code == 404 and _PREFLIGHT in request.headers:
            # A browser tells its page nothing of a refusal here: the request itself, which follows, does.
            response.status_code = 204
            response.set_data(b"")
        headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
        headers["Access-Control-Allow-Headers"] = ", ".join((*_UNDERSTOOD, REQUEST_ID))
        headers["Access-Control-Max-Age"] = _PREFLIGHT_LIFETIME
    return response
