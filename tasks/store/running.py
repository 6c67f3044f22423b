"""The part of the job store that workers need: jobs that run, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.jobs import Job, JobState, Progress, Result
from tasks.records import (
    UNFINISHED_LIFETIME,
    dumps,
    ending,
    flat,
    identity,
    job_key,
    waiting_key,
    worker_of,
)
from tasks.scripts.running import CLAIM, FINISH, RELEASE, REPORT, START, TEND
from tasks.store.link import Call, Link

LEASE = 10  # s; so long after its last sign of life a worker counts as dead by those that wait for its jobs

Ending = tuple[Job, Result, dict[str, Any]]
"""A job, its result, and new values of its session variables."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the store says to a worker that wants to run a job.

    Attributes:
        state: None if there is no record.
        canceled: the job shall not run.
        wait: seconds to ask again after, since another worker runs it; 0: it may run.
        deaths: workers that died while they ran it.
    """

    state: JobState | None
    canceled: bool = False
    wait: float = 0.0
    deaths: int = 0


class RunningJobs(Link):
    """Gives jobs to the workers that want to run them, and takes what they say of them."""

    def claim(self, job_ids: Sequence[str], holder: str) -> list[Claim]:
        """Ask which jobs may run here.

        A job that another worker runs may not, until that one has ended it or has not tended it for
        `LEASE` seconds.

        Args:
            job_ids: the jobs.
            holder: this process: the worker's name, `#`, and what no other process has.
        """
        (answers,) = self.run([(CLAIM, list(map(job_key, job_ids)), [holder, worker_of(holder), LEASE])])
        return [
            Claim(JobState(state) if state else None, bool(canceled), float(wait), int(deaths))
            for state, canceled, wait, deaths in answers
        ]

    def release(self, job_ids: Sequence[str], holder: str) -> None:
        """Give back jobs that this process holds and will not end."""
        self.run([(RELEASE, [job_key(i)], [holder]) for i in job_ids])

    def start(self, jobs: Sequence[Job], holder: str, now: float) -> list[bool]:
        """Record that a batch with these jobs started on the model of `holder`.

        Returns:
            For each: whether it was still to be done.
        """
        return self.record(jobs, [], [], holder, now)

    def tend(self, job_ids: Sequence[str], holder: str) -> list[str]:
        """Renew the lease on jobs that this process holds; gives those that shall be canceled."""
        (answers,) = self.run([(TEND, list(map(job_key, job_ids)), [holder, LEASE])])
        return [job_id for job_id, canceled in zip(job_ids, answers, strict=True) if canceled]

    def report(self, progress: Iterable[tuple[Job, Progress]]) -> None:
        """Record progress; dropped for a job that is not running any more."""
        self.run(_reports(progress))

    def finish(self, results: Iterable[Ending]) -> list[bool]:
        """Record how jobs ended and tell who waits.

        Args:
            results: job, result, and new values of its session variables.

        Returns:
            For each: whether this was the first outcome (a second one is dropped).
        """
        return [bool(answer) for answer in self.run(_endings(results))]

    def record(
        self,
        started: Sequence[Job],
        progress: Sequence[tuple[Job, Progress]],
        results: Sequence[Ending],
        holder: str,
        now: float,
    ) -> list[bool]:
        """Do what `start`, `report` and `finish` do, in this order and in one round trip.

        Of a job that starts and ends here, and reports nothing, FINISH says all that START would.

        Returns:
            For each that started: whether it was still to be done, or has ended here.
        """
        over = {job.id for job, _, _ in results} - {job.id for job, _ in progress}
        lasting = [job for job in started if job.id not in over]
        starts = [_starting(lasting, holder, now)] if lasting else []
        answers = self.run([*starts, *_reports(progress), *_endings(results)])
        taken = iter(answers[0] if lasting else [])
        return [job.id in over or bool(next(taken)) for job in started]


def _starting(jobs: Sequence[Job], holder: str, now: float) -> Call:
    keys: list[str] = []
    args: list[Any] = [UNFINISHED_LIFETIME, LEASE, now, worker_of(holder), holder]
    for job in jobs:
        keys += [job_key(job.id), waiting_key(job.queue)]
        args += [job.id, *flat(identity(job))]
    return START, keys, args


def _reports(progress: Iterable[tuple[Job, Progress]]) -> list[Call]:
    return [(REPORT, [job_key(job.id)], [dumps(asdict(value))]) for job, value in progress]


def _endings(results: Iterable[Ending]) -> list[Call]:
    return [(FINISH, *ending(job, result, job.result_lifetime, new)) for job, result, new in results]
