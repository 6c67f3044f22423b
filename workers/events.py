"""What reaches the dispatcher besides the host's messages, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.jobs import Job, JobState, Result


@dataclass(frozen=True, slots=True)
class Arrived:
    """A delivery from the broker.

    Attributes:
        canceled: the job was revoked before it came.
    """

    delivery: int
    job: Job
    canceled: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """All deliveries of before are void."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The job's client wants it no more."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Finish the running batch, then end."""


Event = Arrived | ConnectionLost | CancelAsked | Shutdown


@dataclass(frozen=True, slots=True)
class Answer:
    """What Celery's loop thread shall do about a delivery.

    Attributes:
        started: it starts now; the other fields say nothing.
        state: how the job ended; None: it had ended before this delivery.
        error: what went wrong with it, if something did.
        run_time: seconds on the model; None: it was not run for this delivery.
    """

    delivery: int
    started: bool = False
    state: JobState | None = None
    error: str | None = None
    run_time: float | None = None

    @classmethod
    def of(cls, delivery: int, result: Result) -> Answer:
        """Answer a delivery with the result of its job."""
        run_time = None if result.started is None else result.finished - result.started
        return cls(delivery, state=result.state, error=result.error, run_time=run_time)


@dataclass(frozen=True, slots=True)
class Fatal:
    """The worker cannot go on."""

    reason: str
