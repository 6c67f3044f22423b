"""What worker and model host say to each other. Both ends are ours and of one version."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tasks.blobs import Blobs
from tasks.jobs import Priority


@dataclass(frozen=True, slots=True)
class Item:
    """One job as the host sees it.

    Attributes:
        number: the worker's number of the run.
        alone: it must run in a batch of its own.
        priority: which of the waiting jobs it lets go first.
        blobs: inputs that lie in the store.
    """

    number: int
    job_id: str
    endpoint: str
    inputs: dict[str, Any]
    alone: bool = False
    priority: Priority = Priority.NORMAL
    blobs: Blobs = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        outputs: declared outputs, encoded; None if it failed.
        error: what went wrong; None if it did not.
        session_vars: new values of the client's session variables.
        blobs: outputs that lie in the store.
    """

    number: int
    outputs: dict[str, Any] | None = None
    error: str | None = None
    session_vars: dict[str, Any] = field(default_factory=dict)
    blobs: Blobs = field(default_factory=list)


# -- to the host


@dataclass(frozen=True, slots=True)
class Jobs:
    """Run these, batched as you see fit."""

    items: list[Item]


@dataclass(frozen=True, slots=True)
class Recall:
    """Drop these if they have not started; answered by `Dropped`, or by their outcome."""

    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Let these running jobs end early if the model can; their outcome does not count."""

    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the running batch, drop the rest, end."""


# -- from the host


@dataclass(frozen=True, slots=True)
class Ready:
    """All models are loaded.

    Attributes:
        description: of models and device, by the names of AIME's endpoint details.
        batch_time: seconds that a batch takes at most, as far as the examples tell.
    """

    load_time: float
    description: dict[str, Any]
    batch_time: float = math.inf


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A model cannot be loaded; the host ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Started:
    """These start; said before the model runs, so that a death has a suspect.

    Attributes:
        at: when, in seconds since 1970, by the host's clock: the message may wait to be read.
        max_runtime: seconds after which they count as hung.
        together: jobs that the model has now, these included.
    """

    numbers: list[int]
    at: float
    max_runtime: float
    together: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """Progress of one run, partial outputs encoded.

    Attributes:
        blobs: outputs that lie in the store.
    """

    number: int
    percent: float
    outputs: dict[str, Any]
    blobs: Blobs = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Done:
    """Outcomes of a batch, or of the jobs that leave one.

    Attributes:
        run_time: seconds that the model worked since it gave the outcomes before.
        at: when they were there, in seconds since 1970, by the host's clock.
    """

    outcomes: list[Outcome]
    run_time: float
    at: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """These were never started and never will be."""

    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Died:
    """The host is gone; its last message. Said by the worker's end of the connection.

    Attributes:
        reason: exit status or signal, in words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """These ran together in vain, through the fault of one of them: each must run again, alone."""

    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Leaving:
    """The host ends in order, to be replaced by a fresh one.

    Attributes:
        reason: why, in words.
    """

    reason: str


ToHost = Jobs | Recall | Cancel | Stop
FromHost = Ready | LoadFailed | Started | Report | Done | Dropped | Returned | Leaving | Died
