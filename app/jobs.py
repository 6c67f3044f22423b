"""Jobs: submit one, wait for its result, ask how it stands."""

from __future__ import annotations

import logging
import math
import time
import uuid
from typing import Any

from flask import Blueprint, g, session

from app.answers import progress_body, result_body
from app.auth import KEY_PARAMETERS
from app.errors import ApiError
from app.limits import count_request, jobs_at_once, refuse_hopeless, too_many_jobs
from app.params import Params, request_params
from app.services import services
from schemas import Endpoint, InputError
from tasks.errors import QueueFull, StoreUnavailable, TooManyJobs
from tasks.jobs import Job, Result
from tasks.records import estimate
from tasks.replies import Waiter
from tasks.submit import submit

logger = logging.getLogger(__name__)

WAIT_FLAG = "wait_for_result"
LOOK_UP = 30.0  # s; so often a request that waits looks whether its job still exists
_WORDS = {"true": True, "1": True, "false": False, "0": False}

blueprint = Blueprint("jobs", __name__)


@blueprint.route("/<endpoint:endpoint>", methods=["GET", "POST"])
def run(endpoint: Endpoint) -> dict[str, Any]:
    """Submit a job and, unless told otherwise, hold the answer back until its result is there."""
    if not endpoint.enabled:
        raise ApiError("endpoint_disabled", "Endpoint disabled!")
    count_request(g.client, endpoint)
    refuse_hopeless(g.client, endpoint)
    inputs, wait = read_inputs(endpoint, request_params())
    client_session = None
    if endpoint.session_vars:
        client_session = _client_session()
        inputs |= session_vars(endpoint, client_session)
    if not wait:
        job = _submit(endpoint, inputs, str(uuid.uuid4()), client_session)
        return {"success": True, "job_id": job.id, "ep_version": endpoint.version}
    job_id = str(uuid.uuid4())
    replies = services().replies
    with replies.expect(job_id) as waiter:  # before it is submitted: no result can come too early
        job = _submit(endpoint, inputs, job_id, client_session, replies.channel)
        result = _wait(waiter, job, endpoint)
    return result_body(endpoint, job_id, result)


@blueprint.route("/<endpoint:endpoint>/progress", methods=["GET", "POST"])
def progress(endpoint: Endpoint) -> dict[str, Any]:
    """Tell how a job stands, or its result, as often as it is asked for."""
    job_id = request_params().values.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        raise ApiError("job_id_missing", "No job_id given")
    store = services().store
    status = store.get(job_id)
    if status is None or status.endpoint != endpoint.name or status.owner != g.client.id:
        raise unknown_job(job_id)
    return progress_body(endpoint, status, store.workers(endpoint.queue))


def read_inputs(endpoint: Endpoint, params: Params) -> tuple[dict[str, Any], bool]:
    """Give the validated inputs, and whether to wait for the result.

    Raises:
        InputError: with everything that is wrong, at once.
    """
    wait, wrong = _read_flag(params)
    try:
        inputs = endpoint.load_inputs(params.without(*KEY_PARAMETERS, WAIT_FLAG), from_query=params.textual)
    except InputError as error:
        error.errors.update(wrong)
        error.messages += [sentence for sentences in wrong.values() for sentence in sentences]
        raise
    if wrong:
        raise InputError(wrong)
    return inputs, wait


def _read_flag(params: Params) -> tuple[bool, dict[str, list[str]]]:
    """Give whether to wait, and what is wrong with the flag that says so."""
    value = params.values.get(WAIT_FLAG)
    if params.textual and isinstance(value, str):
        value = _WORDS.get(value.lower(), value)
    if value is None or isinstance(value, bool):
        return value is not False, {}
    return True, {WAIT_FLAG: [f"Invalid argument type {WAIT_FLAG}. Expected: true or false"]}


def session_vars(endpoint: Endpoint, client_session: str) -> dict[str, Any]:
    """Give the session variables that the endpoint declares: as stored, else their defaults."""
    stored = services().store.session_vars(client_session, endpoint.name)
    known = {name: value for name, value in stored.items() if name in endpoint.session_vars}
    return endpoint.default_session_vars() | known


def unknown_job(job_id: str) -> ApiError:
    """Give the answer for a job that is unknown, forgotten, or somebody else's: they look alike."""
    return ApiError("job_not_found", f"Client has no active request with this job id {job_id[:100]}")


def _client_session() -> str:
    if "id" not in session:
        session["id"] = uuid.uuid4().hex
        session.permanent = True
    return str(session["id"])


def _submit(
    endpoint: Endpoint,
    inputs: dict[str, Any],
    job_id: str,
    client_session: str | None,
    reply_to: str | None = None,
) -> Job:
    parts = services()
    try:
        job = submit(
            parts.celery,
            parts.store,
            endpoint,
            inputs,
            owner=g.client.id,
            job_id=job_id,
            reply_to=reply_to,
            session=client_session,
            priority=g.client.priority,
            jobs_at_once=jobs_at_once(g.client, endpoint),
        )
    except QueueFull as error:
        raise ApiError("queue_full", str(error), retry_after=_next_end(endpoint)) from error
    except TooManyJobs as error:
        raise too_many_jobs(endpoint, error.limit, _next_end(endpoint)) from error
    logger.info("job %s for %s, request %s", job.id, endpoint.name, g.request_id)
    return job


def _next_end(endpoint: Endpoint) -> int:
    """Give the seconds after which some job of the endpoint's queue will probably have ended; at least 1."""
    return max(1, math.ceil(estimate(services().store.workers(endpoint.queue), 1)))


def _wait(waiter: Waiter, job: Job, endpoint: Endpoint) -> Result:
    """Wait until the job has ended.

    Raises:
        ApiError: nobody knows the job any more, and it cannot be running either.
    """
    while (result := waiter.wait(LOOK_UP)) is None:
        if time.time() > job.deadline + endpoint.max_runtime and _forgotten(job.id):
            raise unknown_job(job.id)
    return result


def _forgotten(job_id: str) -> bool:
    try:
        return services().store.get(job_id) is None
    except StoreUnavailable:
        return False  # it comes back, and the job with it
