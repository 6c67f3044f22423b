"""Jobs as streams of server-sent events: a client follows its job without asking again and again.

A stream tells the newest that is known, never a backlog: a client that reads slowly misses steps between,
but not the outcome. So the id of an event needs to say only what the client has seen, and a stream that broke
off can go on in any API process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, json, request, stream_with_context

from app.accept import EVENTS, require_accepts
from app.answers import job_body, stream_body
from app.jobs import named_job
from app.owned import own_job
from app.services import services
from app.waiting import client_is_gone
from schemas import Endpoint
from tasks.jobs import JobState, JobStatus

KEEP_ALIVE = 15.0  # s between two signs of life
COME_BACK = 1000  # ms after which a client of a stream that broke off connects again
HEADERS = {"X-Accel-Buffering": "no"}  # an NGINX that buffers shall not do so here
IS_ENDING = "IS_ENDING"  # in the app's config, by tasks/gunicorn.py: is this process being stopped?

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
    return _event(status, job_body(endpoint, status, services().crew.of(endpoint.queue)), name)


def plain_event(endpoint: Endpoint, status: JobStatus) -> str:
    """Give the same as an event without a name, which a browser's `onmessage` gets."""
    return _event(status, stream_body(endpoint, status, services().crew.of(endpoint.queue)))


def _event(status: JobStatus, body: dict[str, Any], name: str | None = None) -> str:
    named = f"event: {name}\n" if name else ""
    text = json.dumps(body, separators=(",", ":"))  # without line breaks, which would end the event
    return f"id: {status.revision}\n{named}data: {text}\n\n"


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
    with services().events.follow(status) as follower:
        yield f"retry: {COME_BACK}\n\n"
        newest = None if seen else status
        while True:
            if newest is not None:
                yield frame(endpoint, newest)
                if newest.state.terminal:
                    return
            else:
                yield ": keep-alive\n\n"
            newest = follower.wait(KEEP_ALIVE)
            if follower.gone or is_ending() or client_is_gone():
                return  # whoever is still there comes back, here or to another process
