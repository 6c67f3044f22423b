"""Jobs as AIME's clients know them: submit one, wait for its result, ask how it stands."""

from __future__ import annotations

import math
import uuid
from http import HTTPStatus
from typing import Any

from flask import Blueprint, g, request, session
from flask.typing import ResponseReturnValue

from app.answers import job_body, progress_body, result_body
from app.auth import KEY_PARAMETERS
from app.errors import ApiError
from app.files import with_files
from app.limits import (
    count_request,
    day_limits,
    jobs_at_once,
    max_queued_bytes,
    refuse_hopeless,
    too_many_jobs,
    used_up,
)
from app.once import is_repeatable, standing_for
from app.owned import own_job, unknown_job
from app.params import Params, request_params
from app.services import ACCEPTED_JOB, caller, services
from app.turns import Steps, in_turns
from app.waiting import Patience, hold, hold_again, read_patience
from app.webhooks import WEBHOOK, wanted_webhook, webhook_problems
from schemas import Endpoint, InputError
from tasks.errors import DayLimitReached, QueueFull, TooManyJobs
from tasks.jobs import Job, Result
from tasks.records import estimate
from tasks.submit import submit

WAIT_FLAG = "wait_for_result"
CANCEL_FLAG = "cancel_on_disconnect"
FLAGS = (WAIT_FLAG, CANCEL_FLAG)
BESIDE_INPUTS = (*FLAGS, WEBHOOK)
_WORDS = {"true": True, "1": True, "false": False, "0": False}

blueprint = Blueprint("jobs", __name__)


@blueprint.route("/<endpoint:endpoint>", methods=["GET", "POST"])
@in_turns
def run(endpoint: Endpoint) -> Steps:
    """Submit a job and, unless told otherwise, hold the answer back until its result is there."""
    if not endpoint.enabled:
        raise ApiError("endpoint_disabled", "Endpoint disabled!")
    count_request(g.client, endpoint)
    params = request_params()
    inputs, flags = read_inputs(endpoint, params)
    client_session = None
    if endpoint.session_vars:
        client_session = _client_session()
        inputs |= session_vars(endpoint, client_session)
    job_id = str(uuid.uuid4())
    if not flags.get(WAIT_FLAG, True):
        meant = _submit_once(endpoint, params, inputs, job_id, client_session)
        return {"success": True, "job_id": meant, "ep_version": endpoint.version}
    prefer = request.headers.get("Prefer", "")
    patience = read_patience(prefer, services().settings.max_wait)
    # AIME's clients insist on the result, and some take every other answer with `success` for it.
    insists = flags.get(WAIT_FLAG, False) and not prefer
    replies = services().replies
    with replies.expect(job_id) as waiter:  # before it is submitted: no result can come too early
        meant = _submit_once(endpoint, params, inputs, job_id, client_session, replies.channel)
        for accepted in (params.values, inputs):
            accepted.clear()  # the job has its own copy: files shall not stay while the client waits
        location = f"{request.root_path}/jobs/{meant}"  # where to ask on
        if meant == job_id:
            cancels = flags.get(CANCEL_FLAG, endpoint.cancel_on_disconnect) and not is_repeatable()
            result = yield from hold(waiter.wait, endpoint, job_id, patience.seconds, cancels=cancels)
            return _answer(endpoint, job_id, result, patience, insists, location)
    _, status = own_job(meant)
    result = yield from hold_again(endpoint, status, patience.seconds)
    return _answer(endpoint, meant, result, patience, insists, location)


@blueprint.route("/<endpoint:endpoint>/progress", methods=["GET", "POST"])
def progress(endpoint: Endpoint) -> dict[str, Any]:
    """Tell how a job stands, or its result, as often as it is asked for."""
    called, status = own_job(named_job())
    if called is not endpoint:
        raise unknown_job(status.id)
    return progress_body(endpoint, status, services().store.workers(endpoint.queue))


def named_job() -> str:
    """Give the parameter `job_id` of the current request.

    Raises:
        ApiError: there is none.
    """
    job_id = request_params().values.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        raise ApiError("job_id_missing", "No job_id given")
    return job_id


def read_inputs(endpoint: Endpoint, params: Params) -> tuple[dict[str, Any], dict[str, bool]]:
    """Give the validated inputs, and those of the flags that are given.

    Raises:
        InputError: with everything that is wrong, at once.
        ConversionBusy: too many requests wait for their files to be converted.
    """
    flags, wrong = _read_flags(params)
    wrong |= webhook_problems(params)
    try:
        inputs = _load(endpoint, params)
    except InputError as error:
        error.errors.update(wrong)
        error.messages += [sentence for sentences in wrong.values() for sentence in sentences]
        raise
    if wrong:
        raise InputError(wrong)
    return inputs, flags


def _load(endpoint: Endpoint, params: Params) -> dict[str, Any]:
    raw = params.without(*KEY_PARAMETERS, *BESIDE_INPUTS)
    if not endpoint.reads_media:
        return endpoint.load_inputs(raw, from_query=params.textual)
    raw = with_files(endpoint, raw)
    run, load = services().converter.run, endpoint.load_inputs
    found: dict[str, Any] = run(caller(), load, raw, from_query=params.textual)
    return found


def _read_flags(params: Params) -> tuple[dict[str, bool], dict[str, list[str]]]:
    """Give the flags by name, and what is wrong with them."""
    flags, wrong = {}, {}
    for name in FLAGS:
        value = params.values.get(name)
        if params.textual and isinstance(value, str):
            value = _WORDS.get(value.lower(), value)
        if isinstance(value, bool):
            flags[name] = value
        elif value is not None:
            wrong[name] = [f"Invalid argument type {name}. Expected: true or false"]
    return flags, wrong


def session_vars(endpoint: Endpoint, client_session: str) -> dict[str, Any]:
    """Give the session variables that the endpoint declares: as stored, else their defaults."""
    stored = services().store.session_vars(client_session, endpoint.name)
    known = {name: value for name, value in stored.items() if name in endpoint.session_vars}
    return endpoint.default_session_vars() | known


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
    parts, client = services(), g.client
    try:
        job = submit(
            parts.publisher,
            endpoint,
            inputs,
            owner=client.id,
            job_id=job_id,
            reply_to=reply_to,
            session=client_session,
            priority=client.priority,
            jobs_at_once=jobs_at_once(client, endpoint),
            per_day=day_limits(client, endpoint),
            key=client.key_id,
            webhook=wanted_webhook(request_params()),
            max_bytes=max_queued_bytes(endpoint),
        )
    except QueueFull as error:
        seconds = _next_end(endpoint)
        raise ApiError("queue_full", str(error), retry_after=seconds, limit=error.limit_name) from error
    except TooManyJobs as error:
        raise too_many_jobs(endpoint, error.limit, _next_end(endpoint)) from error
    except DayLimitReached as error:
        raise used_up(client, endpoint, error) from error
    return job


def _next_end(endpoint: Endpoint) -> int:
    """Give the seconds after which some job of the endpoint's queue will probably have ended; at least 1."""
    return max(1, math.ceil(estimate(services().store.workers(endpoint.queue), 1)))


def _submit_once(
    endpoint: Endpoint,
    params: Params,
    inputs: dict[str, Any],
    job_id: str,
    client_session: str | None,
    reply_to: str | None = None,
) -> str:
    """Submit the job unless an earlier request has done so; gives the id of the one job.

    Raises:
        ApiError: it was not accepted.
    """
    with standing_for(job_id, endpoint, params, BESIDE_INPUTS) as meant:
        if meant == job_id:
            refuse_hopeless(g.client, endpoint)
            _submit(endpoint, inputs, job_id, client_session, reply_to)
    request.environ[ACCEPTED_JOB] = meant
    return meant


def _answer(
    endpoint: Endpoint,
    job_id: str,
    result: Result | None,
    patience: Patience,
    insists: bool,
    location: str,
) -> ResponseReturnValue:
    """Give the answer to a request that was held: the result, or how the job stands if there is none yet.

    Raises:
        ApiError: the job has ended without outputs, or it still runs and the client insists on a result.
    """
    if result is None:
        _, status = own_job(job_id)
        if status.result is None and insists:
            sentence = (
                f"Job {job_id} has no result after {patience.seconds:g} s. It goes on: ask for its progress"
            )
            raise ApiError("still_running", sentence, job_id=job_id, job_state=status.state.value)
        if status.result is None:
            body = job_body(endpoint, status, services().store.workers(endpoint.queue))
            return body, HTTPStatus.ACCEPTED, patience.headers | {"Location": location}
        result = status.result
    return result_body(endpoint, job_id, result), patience.headers
