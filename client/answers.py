"""What the server's answers mean: a JSON object, the result of a job, or an error. Without any I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .calls import Call, Purpose
from .errors import (
    BadRequest,
    EndpointNotFound,
    Forbidden,
    JobCanceled,
    JobError,
    JobFailed,
    JobLapsed,
    JobNotFound,
    LoginFailed,
    QueueFull,
    RateLimited,
    ServerError,
    StokerClientError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from .events import ProgressInfo

RUNNING = frozenset({"queued", "processing"})

_ENDED_WITHOUT_RESULT: dict[str, type[JobError]] = {
    "failed": JobFailed,
    "canceled": JobCanceled,
    "lapsed": JobLapsed,
}
_LONGEST_MESSAGE = 2000  # characters; a proxy's error page may be of any size


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, body, and the seconds of `Retry-After` where it was sent."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read `Retry-After`, a number of seconds or an HTTP date, as seconds from now; None if unreadable."""
    if not value:
        return None
    try:
        return float(max(0, int(value)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def interpret(call: Call, answer: Answer) -> dict[str, Any]:
    """Give the JSON object of an answer that tells of success.

    Raises:
        StokerClientError: the answer tells of anything else; the class says what.
    """
    body = _parse_object(answer.body)
    accepted = 200 <= answer.status < 300
    if accepted and body is None:
        raise ServerError("the answer is not a JSON object", status=answer.status)
    body = body or {}
    if accepted and body.get("success", True):
        return body
    if call.purpose is Purpose.CANCEL and body.get("code") == "job_ended":
        return body  # no success, but what the caller asks: how the job stands
    raise _refusal(call, answer, body)


def accepted_job_id(body: Mapping[str, Any]) -> str:
    """Give the id of the job from the answer to a job call.

    Raises:
        ServerError: there is none.
    """
    job_id = body.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        raise ServerError("the server accepted the job without naming its id")
    return job_id


def job_outcome(call: Call, answer: Answer, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the result from what tells how a job stands; None while the job is queued or runs.

    Raises:
        JobError: the job has ended without a result, or its result is not there any more.
        ServerError: it is in no state known here.
    """
    state = body.get("job_state")
    if state in RUNNING:
        return None
    result = body.get("job_result")
    if state in _ENDED_WITHOUT_RESULT:
        raise _refusal(call, answer, {**(result or body), "job_state": state})
    if state != "done":
        raise ServerError("the server named no known state of the job", status=answer.status)
    if not isinstance(result, dict):
        raise JobNotFound(f"the result of job {call.job_id} is not there any more", job_id=call.job_id)
    if not result.get("success", True):
        raise _refusal(call, answer, {**result, "job_state": "failed"})
    return result


def parse_event(data: str) -> dict[str, Any]:
    """Give the JSON object that an event of a stream carries.

    Raises:
        ServerError: it carries none.
    """
    body = _parse_object(data)
    if body is None:
        raise ServerError("the stream holds something else than JSON objects")
    return body


def progress_report(body: Mapping[str, Any]) -> tuple[ProgressInfo, dict[str, Any]]:
    """Give what the callbacks are told: where the job stands, and its partial outputs."""
    progress = body.get("progress") or {}
    estimate = progress.get("estimate")
    info = ProgressInfo(
        success=True,
        job_id=str(body.get("job_id", "")),
        job_state=str(body.get("job_state", "")),
        progress=progress.get("progress") or 0,
        queue_position=progress.get("queue_position") or 0,
        estimate=-1 if estimate is None else estimate,
    )
    return info, progress.get("progress_data") or {}


def _parse_object(body: bytes | str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _refusal(call: Call, answer: Answer, body: Mapping[str, Any]) -> StokerClientError:
    text = _sentence(body, answer.status)
    if call.token:
        # Some proxies answer with a dump of the request.
        text = text.replace(call.token, "***")
    code = body.get("code") if isinstance(body.get("code"), str) else None
    job_id = call.job_id or body.get("job_id")
    kind = _job_error(call, answer.status, body, code, job_id)
    if kind:
        label = f"job {job_id}: {text}" if job_id else text
        return kind(label, status=answer.status, code=code, job_id=job_id)
    return _request_error(call, answer, text, code, body)


def _job_error(
    call: Call, status: int, body: Mapping[str, Any], code: str | None, job_id: str | None
) -> type[JobError] | None:
    for name in (body.get("job_state"), (code or "").removeprefix("job_")):
        if name in _ENDED_WITHOUT_RESULT:
            return _ENDED_WITHOUT_RESULT[name]
    if status == 410:
        return JobLapsed
    if status == 404 and (call.job_id or code == "job_not_found"):
        return JobNotFound
    if status < 300 and job_id:
        return JobFailed
    return None


def _request_error(
    call: Call, answer: Answer, text: str, code: str | None, body: Mapping[str, Any]
) -> StokerClientError:
    status = answer.status
    login = call.purpose is Purpose.LOGIN
    if status == 401 or (login and status < 300):
        return (LoginFailed if login else Unauthorized)(text, status=status, code=code)
    if status == 403:
        return Forbidden(text, status=status, code=code)
    if status == 429:
        kind = RateLimited if code != "queue_full" else QueueFull
        return kind(text, status=status, code=code, retry_after=answer.retry_after)
    if status == 503 or code == "request_in_progress":
        return Unavailable(text, status=status, code=code, retry_after=answer.retry_after)
    if status == 504:
        return Timeout(text, status=status, code=code, job_id=call.job_id or body.get("job_id"))
    if 400 <= status < 500:
        refused = EndpointNotFound if status == 404 else BadRequest
        return refused(text, status=status, code=code, errors=_errors_by_field(body, call.token))
    return ServerError(text, status=status, code=code)


def _sentence(body: Mapping[str, Any], status: int) -> str:
    """The server's words for an error: a list, a string, or only a message as proxies and frameworks send."""
    error = body.get("error") or body.get("message") or body.get("description")
    if isinstance(error, list | tuple):
        error = "; ".join(str(item) for item in error)
    return str(error)[:_LONGEST_MESSAGE] if error else f"the server answered with HTTP status {status}"


def _errors_by_field(body: Mapping[str, Any], token: str | None) -> dict[str, list[str]]:
    errors = body.get("errors")
    if not isinstance(errors, dict):
        return {}

    def clean(text: object) -> str:
        return str(text).replace(token, "***") if token else str(text)

    return {
        name: [clean(text) for text in (texts if isinstance(texts, list) else [texts])]
        for name, texts in errors.items()
    }
