"""The part of the job store that the API needs: jobs that wait, and how they stand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from tasks.errors import QueueTooLarge, TooManyJobs
from tasks.jobs import Job, JobState, JobStatus, Priority, Result
from tasks.records import (
    CLOCKS_DIFFER,
    UNFINISHED_LIFETIME,
    WAITING_SCORES,
    bytes_key,
    canceled,
    ending,
    is_late,
    job_key,
    lapsed,
    open_key,
    recorded,
    status,
    waiting_end,
    waiting_key,
)
from tasks.room import NO_LIMITS, DayLimits, Refusal, Room, adding, verdict
from tasks.scripts.running import FINISH
from tasks.scripts.waiting import CANCEL, UNCOUNT_FORGOTTEN
from tasks.store.link import Link, translated

SWEEP = 500  # jobs looked at when a full queue is searched for lapsed ones


class WaitingJobs(Link):
    """Records jobs, looks them up, and ends those that wait."""

    def add(
        self,
        job: Job,
        max_queue_length: int,
        jobs_at_once: int = 0,
        share: int = 0,
        per_day: DayLimits = NO_LIMITS,
    ) -> Priority:
        """Record an accepted job as waiting; where there is no room, let jobs go whose deadline has passed.

        Args:
            job: the job.
            max_queue_length: see `Room`, as for the others.
            jobs_at_once: jobs of its owner at its endpoint.
            share: of its owner in its queue.
            per_day: what its owner may use.

        Returns:
            The priority that it waits with.

        Raises:
            QueueFull: `max_queue_length` jobs wait already; nothing is recorded.
            TooManyJobs: the owner has `jobs_at_once` jobs already; nothing is recorded.
            DayLimitReached: the owner has used up what `per_day` allows; nothing is recorded.
        """
        room = Room(max_queue_length, jobs_at_once, share, per_day)
        (answer,) = self.add_all([(job, room)])
        return answer if isinstance(answer, Priority) else self.make_room(job, room, answer)

    def make_room(self, job: Job, room: Room, refusal: Refusal) -> Priority:
        """Record a job that was refused, if there is room for it without those whose deadline has passed.

        Returns:
            The priority that it waits with.

        Raises:
            QueueFull, TooManyJobs, DayLimitReached: there is none; nothing is recorded.
        """
        if isinstance(refusal, QueueTooLarge):
            self._uncount_forgotten(bytes_key(job.endpoint))
        if isinstance(refusal, TooManyJobs):
            with translated():
                self._close_late(open_key(job.owner, job.endpoint), job.accepted)
        else:
            self.lapse(job.queue, job.accepted)
        (answer,) = self.add_all([(job, room)])
        if not isinstance(answer, Priority):
            raise answer
        return answer

    def add_all(self, jobs: Sequence[tuple[Job, Room]]) -> list[Priority | Refusal]:
        """Record accepted jobs as waiting, in one step.

        Returns:
            For each the priority that it waits with, or why it is refused: then nothing of it is recorded.
        """
        if not jobs:
            return []
        (answers,) = self.run([adding(jobs, UNFINISHED_LIFETIME)])
        return [verdict(answer, job, room) for answer, (job, room) in zip(answers, jobs, strict=True)]

    def withdraw(self, job: Job) -> None:
        """Take back a job whose message could not be published; should it run after all, it is dropped."""
        now = time.time()
        with translated():
            if job.webhook is not None:  # nobody is told about a job that was not accepted
                self._redis.hdel(job_key(job.id), "webhook")
            result = Result(JobState.CANCELED, job.accepted, now, error="Not accepted")
            self._end_waiting(job, result, now, counts=False)

    def get(self, job_id: str, now: float | None = None) -> JobStatus | None:
        """Look a job up; None if it is unknown or forgotten. A job past its deadline lapses here."""
        return self.get_many([job_id], now)[0]

    def get_many(self, job_ids: Sequence[str], now: float | None = None) -> list[JobStatus | None]:
        """Look jobs up, in two round trips; one more if some of them start just then."""
        now = time.time() if now is None else now
        with translated():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hgetall(job_key(job_id))
            records = pipeline.execute()
            late = [(i, r) for i, r in zip(job_ids, records, strict=True) if is_late(r, now)]
            if late:
                self._lapse(late, now)
                return self.get_many(job_ids, now)
            waiting = [(i, r) for i, r in zip(job_ids, records, strict=True) if r.get("state") == "queued"]
            for job_id, record in waiting:
                pipeline.zrank(waiting_key(record["queue"]), job_id)
            ranks = {i: rank for (i, _), rank in zip(waiting, pipeline.execute(), strict=True)}
            moved = [job_id for job_id, rank in ranks.items() if rank is None]  # between the round trips
            for job_id in moved:
                pipeline.hgetall(job_key(job_id))
            again = dict(zip(moved, pipeline.execute(), strict=True))
            records = [again.get(i, r) for i, r in zip(job_ids, records, strict=True)]
        return [status(i, r, ranks.get(i)) if r else None for i, r in zip(job_ids, records, strict=True)]

    def queue_length(self, queue: str, priority: Priority = Priority.BULK) -> int:
        """Count the jobs that wait in `queue` and are of this priority or a higher one."""
        with translated():
            return int(self._redis.zcount(waiting_key(queue), "-inf", f"({waiting_end(priority)}"))

    def lapse(self, queue: str, now: float) -> None:
        """End the oldest waiting jobs of `queue`, of each priority, whose deadline has passed."""
        with translated():
            pipeline = self._redis.pipeline(transaction=False)
            for start in WAITING_SCORES.values():
                pipeline.zrange(waiting_key(queue), start, start + now, byscore=True, offset=0, num=SWEEP)
            ids = [job_id for oldest in pipeline.execute() for job_id in oldest]
            for job_id in ids:
                pipeline.hgetall(job_key(job_id))
            records = list(zip(ids, pipeline.execute(), strict=True))
            for job_id, record in records:
                if not record:
                    self._redis.zrem(waiting_key(queue), job_id)
            self._lapse([(i, r) for i, r in records if is_late(r, now)], now)

    def cancel(self, job_id: str, now: float | None = None) -> JobState | None:
        """Let a job end as canceled: at once if no worker holds it, else as soon as its worker sees it.

        Returns:
            The state that this leaves it in: canceled, or queued or processing until the worker has
            stopped, or how it had ended before. None if it is unknown.
        """
        with translated():
            ((state, free),) = self.run([(CANCEL, [job_key(job_id)], [])])
            if free:
                job = recorded(job_id, self._redis.hgetall(job_key(job_id)))
                now = time.time() if now is None else now
                self._end_waiting(job, canceled(job, now), now)
                state = self._redis.hget(job_key(job_id), "state")
        return JobState(state) if state else None

    def _close_late(self, key: str, now: float) -> None:
        """Look at the open jobs whose deadline has passed: end those that wait, drop those nobody knows."""
        late = self._redis.zrange(key, "-inf", now, byscore=True, offset=0, num=SWEEP)
        forgotten = [i for i, known in zip(late, self.get_many(late, now), strict=True) if known is None]
        if forgotten:
            self._redis.zrem(key, *forgotten)

    def _uncount_forgotten(self, key: str) -> None:
        """Look at some of the large jobs of an endpoint: those that nobody knows count no more."""
        with translated():
            ids = self._redis.hrandfield(key, SWEEP)
        self.run([(UNCOUNT_FORGOTTEN, [key], [job_id for job_id in ids or () if job_id != "total"])])

    def _lapse(self, late: Iterable[tuple[str, dict[str, str]]], now: float) -> None:
        for job_id, record in late:
            job = recorded(job_id, record)
            self._end_waiting(job, lapsed(job, now), now)

    def _end_waiting(self, job: Job, result: Result, now: float, counts: bool = True) -> None:
        """End a job whose message is still with the broker: remembered until a worker would let it lapse."""
        lifetime = max(job.result_lifetime, job.deadline - now + CLOCKS_DIFFER)
        keys, args = ending(job, result, lifetime, counts=counts)
        self.run([(FINISH, keys, args)])
