"""The state of every delivery and of every run on the model host. Pure: no clock, no I/O.

A delivery is one message that the broker handed to this worker; a run is one job given to the host.
The two are apart because they part: after a lost connection the broker delivers a job again while its
run goes on, and after a host's death a job runs again for the same delivery.

    arrive ─> CLAIMING ─> SENT ──────────> STARTED ─> ENDED ─> (answered, forgotten)
                 │          └─> RECALLED ──┘ │
                 └─ ended elsewhere          └─ host died: SENT again, alone

Invariant: every delivery is answered exactly once, or its connection died.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from tasks.jobs import Job


class Phase(Enum):
    """Where a run is."""

    CLAIMING = auto()  # the store is asked whether the job has ended already
    SENT = auto()  # the host has it and has not started it, as far as we know
    RECALLED = auto()  # the host was asked to drop it; it will say whether it could
    STARTED = auto()  # the model runs it
    ENDED = auto()  # its outcome is known and on its way to the store


@dataclass(eq=False)
class Run:
    """One job on its way through the model host.

    Attributes:
        number: the worker's own number of it: what the host sees instead of ids.
        deliveries: live deliveries that wait for its outcome; none: their connection died.
        alone: whether it must run in a batch of its own.
        kills: how many hosts died while it ran alone.
        canceled: its client wants it no more.
        started: when it started on the model, in seconds since 1970.
        overdue: when its host is killed if it runs still, by the monotonic clock.
    """

    number: int
    job: Job
    deliveries: list[int] = field(default_factory=list)
    phase: Phase = Phase.CLAIMING
    alone: bool = False
    kills: int = 0
    canceled: bool = False
    started: float | None = None
    overdue: float = math.inf


class Table:
    """All runs of one worker."""

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._by_job: dict[str, Run] = {}
        self._running: dict[int, Run] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, number: int) -> Run | None:
        """Give the run of that number; None if it is over."""
        return self._runs.get(number)

    def of_job(self, job_id: str) -> Run | None:
        """Give the run of that job; None if there is none."""
        return self._by_job.get(job_id)

    @property
    def running(self) -> Collection[Run]:
        """The runs on the model."""
        return self._running.values()

    def in_phase(self, *phases: Phase) -> list[Run]:
        """List the runs in these phases, oldest first."""
        runs = list(self._runs.values())  # in one step: other threads ask too
        return [run for run in runs if run.phase in phases]

    def arrive(self, delivery: int, job: Job) -> Run | None:
        """Take a delivery.

        Returns:
            A new run to be claimed; None if a run of this job is there, which then answers for it.
        """
        run = self._by_job.get(job.id)
        if run is not None:
            run.deliveries.append(delivery)
            return None
        self._last += 1
        run = Run(self._last, job, [delivery])
        self._runs[run.number] = self._by_job[job.id] = run
        return run

    def claimed(self, number: int, ended: bool) -> tuple[Run | None, list[int]]:
        """Take the store's word on a run.

        Args:
            number: the run.
            ended: the job has a terminal state already.

        Returns:
            The run if it shall be sent to the host, and deliveries to answer.
        """
        run = self._runs[number]
        if ended:
            return None, self._forget(run)
        if not run.deliveries:
            self._forget(run)
            return None, []
        run.phase = Phase.SENT
        return run, []

    def started(self, numbers: Iterable[int], at: float, overdue: float = math.inf) -> list[Run]:
        """Note that runs started; gives them."""
        runs = [run for n in numbers if (run := self._runs.get(n)) and run.phase is not Phase.ENDED]
        for run in runs:
            run.phase, run.started, run.overdue = Phase.STARTED, at, overdue
            self._running[run.number] = run
        return runs

    def ended(self, number: int) -> Run | None:
        """Note that the outcome of a run is known; None if it was known before."""
        run = self._runs.get(number)
        if run is None or run.phase is Phase.ENDED:
            return None
        run.phase = Phase.ENDED
        self._running.pop(number, None)
        return run

    def stored(self, number: int) -> list[int]:
        """Note that the outcome is in the store; gives the deliveries to answer."""
        return self._forget(self._runs[number])

    def dropped(self, number: int) -> Run | None:
        """Note that the host dropped a run that it had not started.

        Returns:
            The run if it shall be sent again, since its job was delivered anew.
        """
        run = self._runs.get(number)
        if run is None or run.phase not in (Phase.SENT, Phase.RECALLED):
            return None
        return self._again(run)

    def connection_lost(self) -> list[int]:
        """Forget all deliveries; gives the runs that the host shall drop if it has not started them."""
        recalled = []
        for run in self._runs.values():
            run.deliveries.clear()
            if run.phase is Phase.SENT:
                run.phase = Phase.RECALLED
                recalled.append(run.number)
        return recalled

    def host_died(self) -> tuple[list[Run], list[Run]]:
        """Note that the host is gone.

        Returns:
            The runs that it was running, still STARTED, to be judged; and those to send to the next host.
        """
        running = list(self._running.values())
        waiting = self.in_phase(Phase.SENT, Phase.RECALLED)
        return running, [run for run in waiting if self._again(run)]

    def retry(self, run: Run, alone: bool) -> Run | None:
        """Give back a run that was on a host that died, to be sent again; None if nobody waits for it."""
        run.alone, run.started, run.overdue = alone, None, math.inf
        return self._again(run)

    def _again(self, run: Run) -> Run | None:
        self._running.pop(run.number, None)
        if not run.deliveries:
            self._forget(run)
            return None
        run.phase = Phase.SENT
        return run

    def _forget(self, run: Run) -> list[int]:
        del self._runs[run.number], self._by_job[run.job.id]
        return run.deliveries
