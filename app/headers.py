"""Headers of every answer: request id, caching, and which other sites' pages may read it (CORS)."""

from __future__ import annotations

import re
import secrets

from flask import Flask, Response, g, request

from app.services import services, this_request

REQUEST_ID = "X-Request-Id"
_UNDERSTOOD = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Last-Event-ID",
    "Prefer", "Range",
)  # fmt: skip
_TELLING = (
    "Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Location", "Preference-Applied",
    "RateLimit", "RateLimit-Policy", "Retry-After",
)  # fmt: skip
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFLIGHT = "Access-Control-Request-Method"  # header of the question that a browser asks before a request
_PREFLIGHT_LIFETIME = "600"  # s


def init_headers(app: Flask) -> None:
    """Give each request its id, and each answer its headers."""
    app.before_request(_name_request)
    app.after_request(_complete)


def _name_request() -> None:
    given = this_request().headers.get(REQUEST_ID, "")
    g.request_id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(16)


def _complete(response: Response) -> Response:
    headers = response.headers
    headers[REQUEST_ID] = g.request_id
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "no-referrer")  # a key may stand in the query of a page
    origins = services().settings.cors_origins
    if origins:
        _share(response, origins)
    if response.status_code == 204:
        headers.pop("Content-Type", None)  # of nothing
    return response


def _share(response: Response, origins: tuple[str, ...]) -> None:
    """Let a page of one of `origins` read the answer; `*` stands for all, who then send no cookies.

    The session cookie is all that can be sent along: keys are never in cookies, so no page can use a
    visitor's key.
    """
    headers = response.headers
    if "*" in origins:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in origins:
            return
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
    if request.method == "OPTIONS":
        if response.status_code == 404 and _PREFLIGHT in request.headers:
            # A browser tells its page nothing of a refusal here: the request itself, which follows, does.
            response.status_code = 204
            response.set_data(b"")
        headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
        headers["Access-Control-Allow-Headers"] = ", ".join((*_UNDERSTOOD, REQUEST_ID))
        headers["Access-Control-Max-Age"] = _PREFLIGHT_LIFETIME
    else:
        headers["Access-Control-Expose-Headers"] = ", ".join((*_TELLING, REQUEST_ID))
