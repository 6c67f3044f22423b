"""Jobs as streams of server-sent events: a client follows its job without asking again and again.

A stream tells the newest that is known, never a backlog: a client that reads slowly misses steps between,
but not the outcome. So the id of an event needs to say only what the client has seen, and a stream that broke
off can go on in any API process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, json, request, stream_with_context

from app.accept import EVENTS, require_accepts
from app.answers import job_body, stream_body
from app.auth import authenticate, authorize
from app.errors import ApiError, error_body
from app.jobs import named_job
from app.owned import own_job
from app.services import services
from app.waiting import client_is_gone
from schemas import Endpoint
from tasks.errors import DatabaseUnavailable, StoreUnavailable
from tasks.jobs import JobState, JobStatus

KEEP_ALIVE = 15.0  # s between two signs of life
LOOK_AGAIN = 5.0  # s; so often a stream looks whether its key is still valid, and its client still there
COME_BACK = 1000  # ms after which a client of a stream that broke off connects again
HEADERS = {"X-Accel-Buffering": "no"}  # an NGINX that buffers shall not do so here
IS_ENDING = "IS_ENDING"  # in the app's config, by tasks/gunicorn.py: is this process being stopped?

NEVER = float("-inf")
REFUSED = "refused"  # name of the last event of a stream whose key is not valid any more

Frame = Callable[[Endpoint, JobStatus], str]

blueprint = Blueprint("stream", __name__)


@blueprint.get("/jobs/<job_id>/events")
def events(job_id: str) -> Response:
    """Tell of every change of a job as it happens, and at last of its outcome."""
    require_accepts(EVENTS)
    endpoint, status = own_job(job_id)
    return _answer(endpoint, status, named_event)


@blueprint.route("/stream_progress", methods=["GET", "POST"])
def stream_progress() -> Response:
    """As `events`, by the words of AIME's progress answers."""
    endpoint, status = own_job(named_job())
    return _answer(endpoint, status, plain_event)


def named_event(endpoint: Endpoint, status: JobStatus) -> str:
    """Give the event that tells how a job stands: `queued`, `progress` or `completed`."""
    name = "progress"
    if status.state is JobState.QUEUED:
        name = "queued"
    elif status.state.terminal:
        name = "completed"
    body = job_body(endpoint, status, services().crew.of(endpoint.queue))
    return _event(body, name, status.revision)


def plain_event(endpoint: Endpoint, status: JobStatus) -> str:
    """Give the same as an event without a name, which a browser's `onmessage` gets."""
    body = stream_body(endpoint, status, services().crew.of(endpoint.queue))
    return _event(body, None, status.revision)


def _event(body: dict[str, Any], name: str | None, revision: int | None = None) -> str:
    numbered = "" if revision is None else f"id: {revision}\n"
    named = "" if name is None else f"event: {name}\n"
    text = json.dumps(body, separators=(",", ":"))  # without line breaks, which would end the event
    return f"{numbered}{named}data: {text}\n\n"


def _answer(endpoint: Endpoint, status: JobStatus, frame: Frame) -> Response:
    seen = (
        request.headers.get("Last-Event-ID") == str(status.revision) and status.state is not JobState.QUEUED
    )
    if seen and status.state.terminal:
        return Response(status=HTTPStatus.NO_CONTENT)  # what tells a browser to connect no more
    frames: Iterator[str] = iter(())
    if request.method != "HEAD":
        frames = stream_with_context(_frames(endpoint, status, frame, seen))
    return Response(frames, mimetype=EVENTS, headers=HEADERS)


def _frames(endpoint: Endpoint, status: JobStatus, frame: Frame, seen: bool) -> Iterator[str]:
    is_ending: Callable[[], bool] = current_app.config.get(IS_ENDING, lambda: False)
    away = suppress(DatabaseUnavailable, StoreUnavailable)  # who comes back is told so
    with services().events.follow(status) as follower, away:
        yield f"retry: {COME_BACK}\n\n"
        newest = None if seen else status
        looked, spoke = time.monotonic(), NEVER
        while True:
            now = time.monotonic()
            if newest is not None:
                yield frame(endpoint, newest)
                if newest.state.terminal:
                    return
                spoke = now
            elif now - spoke >= KEEP_ALIVE:
                yield ": keep-alive\n\n"
                spoke = now
            if now - looked >= LOOK_AGAIN:
                looked = now
                if client_is_gone(request.environ):
                    return
                try:
                    authorize(authenticate(), endpoint)
                except ApiError as error:
                    yield _event(error_body(error), REFUSED if frame is named_event else None)
                    return
            newest = follower.wait(min(LOOK_AGAIN, KEEP_ALIVE))
            if follower.gone or is_ending():
                return  # whoever is still there comes back, here or to another process
