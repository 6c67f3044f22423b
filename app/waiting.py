"""How long a request is held for its result, and what ends that earlier."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from flask import request
from werkzeug.http import parse_options_header

from app.errors import ApiError
from app.owned import unknown_job
from app.services import services
from app.turns import Wait
from schemas import Endpoint
from tasks.errors import StoreUnavailable
from tasks.jobs import JobStatus, Result

logger = logging.getLogger(__name__)

LOOK_UP = 30.0  # s; so often a held request looks whether its job still exists, and its client is still there
WATCH = 1.0  # s; the same where a client that is gone cancels its job
TCP_ESTABLISHED = 1  # of Linux's enum in netinet/tcp.h

Waiting = Generator[Wait, Result | None, Result | None]
"""Waits for the result of one job; None if there is none by then."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client wants to be held.

    Attributes:
        seconds: 0: not at all.
        applied: what the answer says in `Preference-Applied`; None: nothing.
    """

    seconds: float
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {"Preference-Applied": self.applied} if self.applied else {}


def read_patience(prefer: str, cap: float, otherwise: float | None = None) -> Patience:
    """Read a `Prefer` header (RFC 7240): `wait=<seconds>`, `respond-async`; everything else is ignored.

    Args:
        prefer: its value; empty: the client has no preference.
        cap: longest time that a request is held, in seconds.
        otherwise: how long one is held whose client has no preference; default: `cap`.
    """
    wishes: dict[str, str] = {}
    for part in prefer.split(","):
        name, _, value = parse_options_header(part)[0].partition("=")
        wishes.setdefault(name.strip().lower(), value.strip().strip('"'))
    seconds = wishes.get("wait", "")
    if re.fullmatch(r"[0-9]{1,9}", seconds):
        wait = min(int(seconds), cap)
        return Patience(wait, f"wait={wait:g}")
    if "respond-async" in wishes:
        return Patience(0, "respond-async")
    return Patience(cap if otherwise is None else otherwise)


def hold(
    wait: Callable[[float], Result | None],
    endpoint: Endpoint,
    job_id: str,
    seconds: float,
    *,
    cancels: bool = False,
    is_gone: Callable[[], bool] = lambda: False,
) -> Waiting:
    """Hold the current request until its job has ended.

    Args:
        wait: waits so many seconds at most for the result.
        endpoint: of the job.
        job_id: the job.
        seconds: to hold the request, at most.
        cancels: whether the job is canceled if the client goes away.
        is_gone: tells whether nobody knows the job any more.

    Raises:
        ApiError: the client is gone, or nobody knows the job any more.
    """
    environ = request.environ
    end = time.monotonic() + seconds
    must_have_ended = time.time() + endpoint.max_time_in_queue + endpoint.max_runtime
    while (left := end - time.monotonic()) > 0:
        result = yield wait, min(left, WATCH if cancels else LOOK_UP)
        if result is not None:
            return result
        if client_is_gone(environ) and (not cancels or _canceled(job_id)):
            raise ApiError("client_gone", "The client has closed the connection", job_id=job_id)
        if is_gone() or (time.time() > must_have_ended and _forgotten(job_id)):
            raise unknown_job(job_id)
    return None


def hold_again(endpoint: Endpoint, status: JobStatus, seconds: float) -> Waiting:
    """As `hold`, for a job that another request has submitted, perhaps in another process."""
    if status.result is not None or seconds <= 0:
        return status.result
    with services().events.follow(status) as follower:

        def wait(timeout: float) -> Result | None:
            newest = follower.wait(timeout)
            return None if newest is None else newest.result

        return (yield from hold(wait, endpoint, status.id, seconds, is_gone=lambda: follower.gone))


def client_is_gone(environ: dict[str, Any]) -> bool:
    """Tell whether the client of a request has closed its connection; gunicorn's are known only.

    Asks the kernel: reading from the connection could take away the beginning of another request.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return state[0] != TCP_ESTABLISHED


def _canceled(job_id: str) -> bool:
    try:
        services().store.cancel(job_id)
    except StoreUnavailable:
        return False  # it is tried again
    logger.info("job %s: its client is gone, canceled", job_id)
    return True


def _forgotten(job_id: str) -> bool:
    try:
        return services().store.get(job_id) is None
    except StoreUnavailable:
        return False  # it comes back, and the job with it
