"""Jobs and what becomes of them: frozen values and their wire form.

    queued ──> processing ──> done | failed
       │            └───────> canceled
       └──> canceled | lapsed

A job that was accepted ends in exactly one of the four terminal states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tasks.blobs import Blobs


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"
    LAPSED = "lapsed"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended: a terminal state never changes."""
        return self not in (JobState.QUEUED, JobState.PROCESSING)


class Priority(StrEnum):
    """Which of the waiting jobs go first. None starves: the lower ones only wait longer."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"

    @property
    def next_lower(self) -> Priority | None:
        """The next one below; None: there is none."""
        return {Priority.HIGH: Priority.NORMAL, Priority.NORMAL: Priority.BULK}.get(self)


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request: all that a worker needs to run it.

    Attributes:
        id: a UUID, also the id of the Celery task.
        endpoint: name of the endpoint.
        queue: name of the queue that it waits in.
        inputs: validated inputs, session variables merged in.
        owner: id of the client that submitted it.
        key: id of the API key that it did so with (not the key).
        accepted: when the API accepted it, in seconds since 1970.
        deadline: when it lapses if it still waits, in seconds since 1970.
        result_lifetime: how long its result stays readable, in seconds.
        reply_to: channel of the API process that waits for the result.
        session: id of the client's session, if the endpoint has session variables.
        priority: which jobs it lets go first.
        blobs: large inputs, which lie in the store.
        size: bytes of its inputs as JSON, the large ones among them.
        webhook: which server of the client is told of the job, as text; stays in the record, and out of the
            message.
    """

    id: str
    endpoint: str
    queue: str
    inputs: dict[str, Any]
    owner: str
    accepted: float
    deadline: float
    result_lifetime: float
    reply_to: str | None = None
    session: str | None = None
    priority: Priority = Priority.NORMAL
    blobs: Blobs = field(default_factory=list)
    key: str = ""
    size: int = 0
    webhook: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON-ready form that travels in the Celery message."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "webhook"}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Job:
        """Build a job from `to_wire()`; unknown names of a newer version are left out.

        Raises:
            TypeError: a name is missing.
            ValueError: there is no such priority.
        """
        values = {name: value for name, value in wire.items() if name in cls.__slots__}
        return cls(**values | {"priority": Priority(values.get("priority", Priority.NORMAL))})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Attributes:
        percent: 0 to 100.
        outputs: partial outputs, as the endpoint's PROGRESS.OUTPUTS declare them.
        blobs: large ones, which lie in the store.
    """

    percent: float = 0.0
    outputs: dict[str, Any] = field(default_factory=dict)
    blobs: Blobs = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended. Times are in seconds since 1970.

    Attributes:
        state: a terminal state.
        outputs: declared outputs; empty unless `state` is done.
        error: what went wrong, for the client; None when done.
        accepted: when the API accepted the job.
        started: when a batch with it started on the model; None if it never did.
        finished: when its outcome was known.
        worker: name of the Celery worker that ran it.
        blobs: large outputs, which lie in the store.
        model_seconds: the model's time that it took: while n jobs run together, each takes an n-th of it.
    """

    state: JobState
    accepted: float
    finished: float
    outputs: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    started: float | None = None
    worker: str | None = None
    blobs: Blobs = field(default_factory=list)
    model_seconds: float = 0.0

    @property
    def compute_duration(self) -> float | None:
        """Seconds from the start of its batch to the outcome; None if it never started."""
        return None if self.started is None else round(self.finished - self.started, 3)

    @property
    def total_duration(self) -> float:
        """Seconds from acceptance to the outcome."""
        return round(self.finished - self.accepted, 3)

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON-ready form that is stored and published."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Result:
        """Build a result from `to_wire()`."""
        return cls(**{**wire, "state": JobState(wire["state"])})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What the store knows of a job at one moment.

    Attributes:
        queue_position: 1 for the next one to run; 0 once it is not waiting any more.
        result: set when the state is terminal.
        started: when a batch with it started on a model, in seconds since 1970; None if none did yet.
        worker: name of the worker that it started on last.
        revision: raised with every change of state or progress.
    """

    id: str
    endpoint: str
    owner: str
    state: JobState
    accepted: float
    progress: Progress = field(default_factory=Progress)
    queue_position: int = 0
    result: Result | None = None
    started: float | None = None
    worker: str | None = None
    revision: int = 0

    def newer_than(self, other: JobStatus) -> bool:
        """Tell whether this says something that `other`, of the same job, did not say yet."""
        if self.state.terminal or other.state.terminal:
            return not other.state.terminal
        if self.revision == other.revision:
            return self.queue_position != other.queue_position
        return self.revision > other.revision


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as it announces itself.

    Attributes:
        name: Celery's name of it, `name@host`.
        max_batch_size: jobs that it runs at once.
        running: jobs on the model at the moment.
        seconds_per_job: how long one job takes it of late, batching counted in; 0 before the first.
        description: what it says of its host and model, by the names of AIME's endpoint details.
    """

    name: str
    max_batch_size: int = 1
    running: int = 0
    seconds_per_job: float = 0.0
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`processing` while it runs jobs, else `waiting`."""
        return "processing" if self.running else "waiting"
