"""What a client accepts: content negotiation of routes that have one form only."""

from __future__ import annotations

from flask import request

from app.errors import ApiError

JSON = "application/json"
EVENTS = "text/event-stream"
LONGEST = 1000  # characters; reading takes time with the square of a run of spaces


def require_accepts(mimetype: str) -> None:
    """Refuse the current request if its client does not take `mimetype`; a very long Accept says nothing.

    Raises:
        ApiError: the header Accept rules it out.
    """
    if len(request.headers.get("Accept", "")) > LONGEST:
        return
    accepted = request.accept_mimetypes
    if accepted and accepted[mimetype] <= 0:
        raise ApiError(
            "not_acceptable", f"Only {mimetype} is to be had here, which the request does not accept"
        )
