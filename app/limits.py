"""Which requests for a job are refused: too many a minute, too many jobs at once, too much used today, or no
prospect of a start.

The answer to a request that is counted names the limits that hold (`RateLimit-Policy`), and the one that is
exhausted (`RateLimit`): draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import math
import time

from flask import Flask, Response, g

from app.errors import ApiError
from app.services import services
from schemas import Endpoint
from tasks.accounts import Client
from tasks.errors import DayLimitReached
from tasks.room import DayLimits
from tasks.usage.record import DAY

POLICY, STATE = "RateLimit-Policy", "RateLimit"


def init_limits(app: Flask) -> None:
    """Let each answer tell of the limits that its request met."""
    app.after_request(_tell)


def requests_per_minute(client: Client) -> int:
    """Give how many jobs `client` may submit to one endpoint in a minute; 0: any number."""
    own = client.limits.requests_per_minute
    return services().settings.requests_per_minute if own is None else own


def jobs_at_once(client: Client, endpoint: Endpoint) -> int:
    """Give how many jobs of `client` may wait or run at `endpoint`; 0: any number.

    The key's own number goes before that of the endpoint's file, and that before the setting.
    """
    own = client.limits.jobs_at_once
    return (endpoint.client_request_limit or services().settings.jobs_at_once) if own is None else own


def day_limits(client: Client, endpoint: Endpoint) -> DayLimits:
    """Give what `client` may use of `endpoint` in a day: as the key says, or the file, or the setting."""
    own, settings = client.limits, services().settings
    size, seconds = own.bytes_per_day, own.seconds_per_day
    return DayLimits(
        (endpoint.client_bytes_per_day or settings.bytes_per_day) if size is None else size,
        (endpoint.client_seconds_per_day or settings.seconds_per_day) if seconds is None else seconds,
    )


def max_queued_bytes(endpoint: Endpoint) -> int:
    """Give how many bytes the large jobs that wait or run at `endpoint` may have; 0: any number."""
    own = endpoint.max_queued_bytes
    return services().settings.max_queued_bytes if own is None else own


def count_request(client: Client, endpoint: Endpoint) -> None:
    """Count a request for a job, before its inputs are read.

    Raises:
        ApiError: `client` has sent as many in the last minute as it may.
        StoreUnavailable: nobody can tell.
    """
    limit, at_once = requests_per_minute(client), jobs_at_once(client, endpoint)
    window = services().rates.window
    policies = [f'"requests";q={limit};w={window}'] if limit else []
    policies += [f'"jobs";q={at_once};qu="concurrent-requests"'] if at_once else []
    per_day = day_limits(client, endpoint)
    policies += [f'"bytes";q={per_day.bytes};qu="content-bytes";w={DAY}'] if per_day.bytes else []
    policies += [f'"seconds";q={per_day.seconds};qu="model-seconds";w={DAY}'] if per_day.seconds else []
    if policies:
        g.limits_told = {POLICY: ", ".join(policies)}
    if not limit:
        return
    wait = services().rates.hit(client.id, endpoint.name, limit)
    if wait is not None:
        seconds = max(1, math.ceil(wait))
        g.limits_told[STATE] = f'"requests";r=0;t={seconds}'
        sentence = (
            f"More than {limit} requests per minute for endpoint {endpoint.name}: try again in {seconds} s"
        )
        raise ApiError("too_many_requests", sentence, retry_after=seconds, limit="requests_per_minute")


def refuse_hopeless(client: Client, endpoint: Endpoint) -> None:
    """Make sure that a job may start before it lapses, as far as anybody can tell.

    Raises:
        ApiError: it would wait longer than the endpoint's `max_time_in_queue`.
        StoreUnavailable: nobody can tell.
    """
    seconds = services().queues.wait(endpoint.queue, client.priority)
    if seconds > endpoint.max_time_in_queue:
        later = max(1, math.ceil(seconds - endpoint.max_time_in_queue))
        sentence = (
            f"A job would wait about {seconds:.0f} s, and at endpoint {endpoint.name} it lapses after "
            f"{endpoint.max_time_in_queue:g} s: try again in {later} s"
        )
        raise ApiError("overloaded", sentence, retry_after=later)


def too_many_jobs(endpoint: Endpoint, limit: int, seconds: int) -> ApiError:
    """Give the answer to a client that has `limit` jobs at `endpoint` already.

    Args:
        endpoint: that it called.
        limit: see `jobs_at_once`.
        seconds: after which one of them may have ended.
    """
    g.limits_told[STATE] = '"jobs";r=0'
    sentence = f"The limit of jobs at once at endpoint {endpoint.name} is {limit}: wait until one has ended"
    return ApiError("too_many_jobs", sentence, retry_after=seconds, limit="jobs_at_once")


def seconds_left_today() -> int:
    """Give the seconds until the next day begins, in UTC; at least 1."""
    return math.ceil(DAY - time.time() % DAY)


def used_up(client: Client, endpoint: Endpoint, reached: DayLimitReached) -> ApiError:
    """Give the answer to a client that has used as much of `endpoint` today as it may."""
    seconds = seconds_left_today()
    used = services().store.used_today(client.id, endpoint.name)
    left = max(0, reached.limit - (used.bytes if reached.unit == "bytes" else used.seconds))
    g.limits_told[STATE] = f'"{reached.unit}";r={left};t={seconds}'
    what = "bytes of inputs" if reached.unit == "bytes" else "seconds of the model"
    sentence = (
        f"A key may use {reached.limit} {what} per day at endpoint {endpoint.name}, and {left} are left: "
        f"the next day begins in {seconds} s, at 00:00 UTC"
    )
    return ApiError("day_limit_reached", sentence, retry_after=seconds, limit=f"{reached.unit}_per_day")


def _tell(response: Response) -> Response:
    response.headers.update(g.get("limits_told", {}))
    return response
