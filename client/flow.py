"""The conversations with the server, without I/O: generators that say what to do next.

A flow yields a Call (send it, and give the Answer back or throw a StokerClientError in), a Listen (the same,
but the body of an answer with status 200 is left to be received), a Receive (give the next bytes of it), a
Pause (wait), or an Event (tell the caller). drivers.py carries it out, with or without an event loop.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from .answers import (
    RUNNING,
    Answer,
    accepted_job_id,
    interpret,
    job_outcome,
    parse_event,
    progress_report,
)
from .calls import Call, events_call, job_call, outcome_call, progress_call
from .errors import ConnectionFailed, StokerClientError, Timeout
from .events import Event, JobProgress, JobResult, TriesAgain
from .retries import Retries
from .sse import EventReader

HOLD = 50  # s that the server may hold an answer back: many proxies break off after 60
NEVER = float("inf")
STEADY = 10.0  # s; a stream that lived so long is not one of several failures in a row
BREATH = 0.3  # s between two questions, should the server hold none


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Receive:
    """Give the next bytes of the stream that was opened; none at its end."""


Step = Call | Receive | Pause | Event
Reply = Answer | bytes | StokerClientError | None
T = TypeVar("T")
Flow = Generator[Step, Any, T]


@dataclass(frozen=True)
class Conversation:
    """What all flows of one request of the caller share.

    Attributes:
        token: API key or session token; None: none is sent.
        retries: when a failed call is sent again.
        timeout: seconds until Timeout is raised; None waits for ever.
        clock: seconds, monotonic.
    """

    token: str | None = field(default=None, repr=False)
    retries: Retries = field(default_factory=Retries)
    timeout: float | None = None
    clock: Callable[[], float] = monotonic

    def deadline(self) -> float:
        """When the time is over, by the clock."""
        return NEVER if self.timeout is None else self.clock() + self.timeout

    def hold(self, deadline: float) -> int:
        """Seconds for which the server may hold an answer back."""
        return int(max(0.0, min(HOLD, deadline - self.clock())))


def ask(talk: Conversation, call: Call, deadline: float = NEVER) -> Flow[tuple[Answer, dict[str, Any]]]:
    """Send a call until it is answered.

    Returns:
        the answer, and the JSON object in it.

    Raises:
        StokerClientError: it tells of no success, or there was none.
    """
    failures = 0
    while True:
        try:
            answer = yield call
            return answer, interpret(call, answer)
        except StokerClientError as error:
            failures += 1
            yield from _again(talk, failures, error, deadline)


def submit_job(
    talk: Conversation,
    endpoint: str,
    params: Mapping[str, Any],
    idempotency_key: str,
    deadline: float = NEVER,
) -> Flow[str]:
    """Submit a job; gives its id."""
    call = job_call(endpoint, params, talk.token, idempotency_key)
    _, body = yield from ask(talk, call, deadline)
    return accepted_job_id(body)


def run_job(talk: Conversation, endpoint: str, params: Mapping[str, Any], idempotency_key: str) -> Flow[None]:
    """Submit a job and wait for its result, by one call that is held; those that follow wait on."""
    deadline = talk.deadline()
    call = job_call(endpoint, params, talk.token, idempotency_key, talk.hold(deadline))
    _, body = yield from ask(talk, call, deadline)
    if body.get("job_state") in RUNNING:
        yield from await_job(talk, accepted_job_id(body), deadline)
    else:
        yield JobResult(body)


def await_job(talk: Conversation, job_id: str, deadline: float) -> Flow[None]:
    """Wait for the result of a job.

    Raises:
        Timeout: the time is over.
    """
    while True:
        call = outcome_call(job_id, talk.token, talk.hold(deadline))
        answer, body = yield from ask(talk, call, deadline)
        result = job_outcome(call, answer, body)
        if result is not None:
            yield JobResult(result)
            return
        yield Pause(min(BREATH, _left(talk, deadline, job_id)))


def poll_job(
    talk: Conversation, endpoint: str, params: Mapping[str, Any], idempotency_key: str, interval: float
) -> Flow[None]:
    """Submit a job, and ask how it stands every `interval` seconds until it has ended."""
    deadline = talk.deadline()
    job_id = yield from submit_job(talk, endpoint, params, idempotency_key, deadline)
    call = progress_call(endpoint, job_id, talk.token)
    while True:
        answer, body = yield from ask(talk, call, deadline)
        result = job_outcome(call, answer, body)
        if result is not None:
            yield JobResult(result)
            return
        yield JobProgress(*progress_report(body))
        yield Pause(min(interval, _left(talk, deadline, job_id)))


def follow_job(talk: Conversation, job_id: str) -> Flow[None]:
    """Tell of every change of a job until it has ended; a stream that breaks off is taken up again."""
    seen: str | None = None
    failures = 0
    while True:
        call = events_call(job_id, talk.token, seen)
        reader, opened = EventReader(), talk.clock()
        try:
            answer = yield call
            if answer.status != 200:
                interpret(call, answer)
            while piece := (yield Receive()):
                for told in reader.feed(piece):
                    body = parse_event(told.data)
                    if not body.get("success", True):  # about the stream: the next call is told why
                        raise ConnectionFailed(f"the server ended the stream of job {job_id}")
                    result = job_outcome(call, answer, body)
                    if result is not None:
                        yield JobResult(result)
                        return
                    seen, failures = told.id, 0
                    yield JobProgress(*progress_report(body))
            raise ConnectionFailed(f"the stream of job {job_id} broke off")
        except StokerClientError as error:
            failures = 1 if talk.clock() - opened > STEADY else failures + 1
            yield from _again(talk, failures, error)


def _again(
    talk: Conversation, failures: int, error: StokerClientError, deadline: float = NEVER
) -> Flow[None]:
    """Wait before the next try; raises the error if there is none."""
    seconds = talk.retries.pause(failures, error)
    if seconds is None or talk.clock() + seconds > deadline:
        raise error
    yield TriesAgain(error)
    yield Pause(seconds)


def _left(talk: Conversation, deadline: float, job_id: str) -> float:
    left = deadline - talk.clock()
    if left <= 0:
        raise Timeout(f"job {job_id} has no result yet, and the time to wait for it is over", job_id=job_id)
    return left
