"""Whose fault it was that a model host died. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from workers.table import Run

MAX_KILLS = 2  # hosts that a job may kill, running alone, before it is failed


class Cause(Enum):
    """Why a host is gone."""

    ITSELF = auto()  # it crashed, or something from outside killed it
    TIMEOUT = auto()  # we killed it: a job ran longer than max_runtime
    CANCEL = auto()  # we killed it: a canceled job did not stop
    LOADING = auto()  # we killed it: it did not get ready
    WORN = auto()  # it ended in order, to be replaced


@dataclass(frozen=True)
class Verdict:
    """What becomes of the runs that the host was running."""

    again: list[Run] = field(default_factory=list)  # in batches as before
    alone: list[Run] = field(default_factory=list)  # each in a batch of its own
    failed: list[Run] = field(default_factory=list)
    canceled: list[Run] = field(default_factory=list)


def judge(running: Sequence[Run], cause: Cause = Cause.ITSELF, now: float = math.inf) -> Verdict:
    """Decide on the runs that a host was running when it ended.

    Canceled ones are done with. If we killed the host for one of them, or for one that was done just before
    the kill, the others are innocent. Else, of several, nobody knows which one did it: each runs again,
    alone. One that was alone did it.

    Args:
        running: the runs.
        cause: why the host ended.
        now: the time, by the clock of `Run.overdue`.
    """
    canceled = [run for run in running if run.canceled]
    rest = [run for run in running if not run.canceled]
    missed = cause is Cause.TIMEOUT and all(run.overdue > now for run in rest)
    if cause in (Cause.CANCEL, Cause.WORN) or missed:
        return Verdict(again=rest, canceled=canceled)
    if len(running) != 1 or not rest:
        return Verdict(alone=rest, canceled=canceled)
    (culprit,) = rest
    culprit.kills += 1
    if cause is Cause.TIMEOUT or culprit.kills >= MAX_KILLS:
        return Verdict(failed=[culprit])
    return Verdict(alone=[culprit])
