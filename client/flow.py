"""The conversations with the server, without I/O: generators that say what to do next.

A flow yields a Call (send it, and give the Answer back or throw a StokerClientError in), a Pause (wait), or
an Event (tell the caller). A driver of transport.py carries it out, with or without an event loop.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from .answers import RUNNING, TRANSIENT, Answer, accepted_job_id, interpret, job_result, progress_report
from .calls import Call, job_call, progress_call
from .errors import StokerClientError, Timeout
from .events import Event, JobProgress, JobResult, PollFailed

_LONGEST_BACKOFF = 5.0  # s


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Step = Call | Pause | Event
Flow = Generator[Step, Answer | None, None]


@dataclass(frozen=True)
class Patience:
    """How a job is waited for.

    Attributes:
        interval: seconds between two questions for the progress.
        timeout: seconds until Timeout is raised; None waits for ever.
        poll_retries: how many questions in a row may fail before the failure is raised.
    """

    interval: float = 0.3
    timeout: float | None = None
    poll_retries: int = 10


def run_job(
    endpoint: str,
    params: Mapping[str, Any],
    token: str | None,
    patience: Patience,
    *,
    poll: bool,
    clock: Callable[[], float],
) -> Flow:
    """Submit a job and wait for its result.

    Args:
        endpoint: name of the endpoint.
        params: its inputs, ready for JSON.
        token: API key or session key; None: none is sent.
        patience: how long and how often to ask.
        poll: ask for the progress until the job has ended; else the server holds the one answer back.
        clock: seconds, monotonic.

    Raises:
        StokerClientError: there is no result; the class says why.
    """
    deadline = None if patience.timeout is None else clock() + patience.timeout
    call = job_call(endpoint, params, token, wait=not poll)
    body = interpret(call, _answered((yield call)))
    if poll or body.get("job_state") in RUNNING:
        yield from _follow(endpoint, accepted_job_id(body), token, patience, deadline, clock)
    else:
        yield JobResult(body)


def _follow(
    endpoint: str,
    job_id: str,
    token: str | None,
    patience: Patience,
    deadline: float | None,
    clock: Callable[[], float],
) -> Flow:
    call = progress_call(endpoint, job_id, token)
    failures = 0
    while True:
        seconds = patience.interval
        try:
            answer = _answered((yield call))
            body = interpret(call, answer)
            result = job_result(call, answer, body)
        except TRANSIENT as error:
            # The job runs on whatever happens to one question; only its result is worth an exception.
            failures += 1
            if failures > patience.poll_retries:
                raise
            seconds = backoff(patience.interval, failures, error)
            event: Event = PollFailed(error)
        else:
            failures = 0
            event = JobProgress(*progress_report(body)) if result is None else JobResult(result)
        yield event
        if isinstance(event, JobResult):
            return
        yield Pause(_within(seconds, deadline, clock, job_id))


def backoff(interval: float, failures: int, error: StokerClientError) -> float:
    """Seconds to wait after so many failed questions in a row: doubling, and never before `Retry-After`."""
    doubled = min(interval * 2.0 ** (failures - 1), _LONGEST_BACKOFF)
    return max(interval, doubled, getattr(error, "retry_after", None) or 0.0)


def _within(seconds: float, deadline: float | None, clock: Callable[[], float], job_id: str) -> float:
    if deadline is None:
        return seconds
    left = deadline - clock()
    if left <= 0:
        raise Timeout(f"job {job_id} has no result yet, and the time to wait for it is over", job_id=job_id)
    return min(seconds, left)


def _answered(answer: Answer | None) -> Answer:
    if answer is None:
        raise RuntimeError("a driver must answer every call")
    return answer
