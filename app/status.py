"""Jobs as resources: the list of one's own, each of them, and the end of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, g, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from app.accept import JSON, require_accepts
from app.answers import job_body, summary_body
from app.auth import KEY_PARAMETERS
from app.errors import ApiError
from app.owned import own_job
from app.params import request_params
from app.services import services
from app.turns import Steps, in_turns
from app.waiting import hold_again, read_patience
from schemas import InputError
from tasks.history import CURSOR, list_jobs
from tasks.jobs import JobState

DEFAULT_LIMIT, LARGEST_LIMIT = 20, 100  # jobs on a page

blueprint = Blueprint("status", __name__)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are asked for, and which page of them."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    state: JobState | None = None
    endpoint: str | None = None


@blueprint.get("/jobs")
def list_own() -> dict[str, Any]:
    """List the jobs of the key, newest first."""
    require_accepts(JSON)
    wanted = read_filter(request_params().without(*KEY_PARAMETERS))
    page = list_jobs(
        services().store,
        g.client.id,
        time.time(),
        limit=wanted.limit,
        cursor=wanted.cursor,
        state=wanted.state,
        endpoint=wanted.endpoint,
    )
    jobs = [summary_body(job) for job in page.jobs if g.client.opens(job.endpoint)]
    return {"success": True, "jobs": jobs, "next": page.next}


class OwnJob(MethodView):
    """One job of the key."""

    @in_turns
    def get(self, job_id: str) -> Steps:
        """Tell how the job stands or how it ended; with `Prefer: wait`, as soon as it has ended."""
        require_accepts(JSON)
        endpoint, status = own_job(job_id)
        patience = read_patience(request.headers.get("Prefer", ""), services().settings.max_wait, otherwise=0)
        if status.result is None and patience.seconds > 0 and request.method != "HEAD":
            yield from hold_again(endpoint, status, patience.seconds)
            endpoint, status = own_job(job_id)
        return job_body(endpoint, status, services().crew.of(endpoint.queue)), patience.headers

    def delete(self, job_id: str) -> ResponseReturnValue:
        """Cancel the job: at once if it waits, else as soon as its worker has stopped it."""
        require_accepts(JSON)
        own_job(job_id)
        services().store.cancel(job_id)
        endpoint, status = own_job(job_id)
        if not status.state.terminal:
            return job_body(endpoint, status, services().crew.of(endpoint.queue)), HTTPStatus.ACCEPTED
        if status.state is not JobState.CANCELED:
            sentence = f"Job {job_id} has ended already"
            raise ApiError("job_ended", sentence, job_id=job_id, job_state=status.state.value)
        return job_body(endpoint, status, ()), HTTPStatus.OK


blueprint.add_url_rule("/jobs/<job_id>", view_func=OwnJob.as_view("job"))


def read_filter(values: dict[str, Any]) -> Filter:
    """Read the parameters of the list.

    Raises:
        InputError: with everything that is wrong.
    """
    wrong: dict[str, list[str]] = {}
    unknown = values.keys() - {"limit", "cursor", "state", "endpoint"}
    for name in sorted(unknown):
        wrong[name] = [f"Invalid input parameter: {name}. The list takes limit, cursor, state and endpoint"]
    limit = str(values.get("limit", DEFAULT_LIMIT))
    if not (limit.isdecimal() and len(limit) <= 4 and 1 <= int(limit) <= LARGEST_LIMIT):
        wrong["limit"] = [f"limit must be a whole number from 1 to {LARGEST_LIMIT}"]
    cursor = values.get("cursor")
    if cursor is not None and not CURSOR.fullmatch(cursor):
        wrong["cursor"] = ["cursor must be the `next` of the page before"]
    state = values.get("state")
    if state is not None and state not in list(JobState):
        wrong["state"] = [f"state must be one of {', '.join(JobState)}"]
    endpoint = values.get("endpoint")
    if endpoint is not None and endpoint not in services().endpoints:
        wrong["endpoint"] = [f"There is no endpoint {endpoint[:100]}"]
    if wrong:
        raise InputError(wrong, unknown)
    return Filter(int(limit), cursor, None if state is None else JobState(state), endpoint)
