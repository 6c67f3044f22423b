"""The job store: every Redis key, its type and its lifetime.

    key                      type     what                                    lifetime
    job:<id>                 hash     state, times, progress, result          a week; then result_lifetime
    waiting:<queue>          zset     ids of waiting jobs by priority and age -
    open:<owner>:<endpoint>  zset     ids of a limited client's jobs by deadline  a week after the last
    share:<owner>:<queue>    zset     ids of a client's jobs by deadline      a week after the last
    day:<owner>:<ep>:<day>   hash     what a limited client has used          two days
    usage                    list     jobs that ended: see `tasks/usage/`     until they are in the database
    bytes:<endpoint>         hash     size of its large jobs, and of all      a week after the last
    rate:...                 string   requests of a client: see `tasks/rates.py`  two minutes
    session:<id>:<endpoint>  hash     session variables (JSON each)           30 days after the last write
    workers:<queue>          hash     name -> WorkerInfo (JSON) with expiry   -
    jobs:<owner>             zset     ids of its newest jobs by arrival       a week after the last one
    idempotency:<owner>:..   string   what a key stands for                   tasks/idempotency.py
    blob:<name>              string   a large input or output, or an upload   end of the job; result_lifetime
    uploads:<owner>          hash     its uploads: see `tasks/uploads.py`     that of the last one
    dead:...                          see `tasks/deadletters.py`              a week
    webhook...                        see `tasks/webhooks/outbox.py`          4 days
    replies:<process>        channel  "<job id> <result JSON>"                -
    job:<id>                 channel  "": the job has changed                 -
    events:<process>         channel  "": another job is followed             -

A terminal state never changes: the scripts of `tasks/scripts.py` look before they write.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha1
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks import scripts
from tasks.errors import QueueTooLarge, StoreUnavailable, TooManyJobs
from tasks.jobs import Job, JobState, JobStatus, Priority, Progress, Result, WorkerInfo
from tasks.records import (
    WAITING_SCORES,
    blob_key,
    bytes_key,
    canceled,
    day_key,
    dumps,
    ending,
    flat,
    identity,
    is_late,
    job_key,
    lapsed,
    open_key,
    recorded,
    session_key,
    status,
    waiting_end,
    waiting_key,
    worker_of,
    workers_key,
)
from tasks.room import NO_LIMITS, DayLimits, Refusal, Room, adding, verdict

UNFINISHED_LIFETIME = 7 * 86400  # s; so long a job without an outcome is remembered
CLOCKS_DIFFER = 60  # s; no more than this between the hosts of one installation
LEASE = 10  # s; so long after its last sign of life a worker counts as dead by those that wait for its jobs
WORKER_LIFETIME = 15  # s; a worker announces itself three times in this
SILENCE = 2  # s; a server that says nothing for longer counts as down
PIECE = 2 * 2**20  # bytes, or characters; a larger text is sent to Redis in pieces
SWEEP = 500  # jobs looked at when a full queue is searched for lapsed ones

Call = tuple[str, list[str], list[Any]]
"""A script of `tasks/scripts.py`, its keys and its arguments."""
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


@contextmanager
def _translated() -> Iterator[None]:
    """Turn into `StoreUnavailable` what is wrong with the server, not with what we ask of it."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.OutOfMemoryError, redis.ReadOnlyError) as error:
        raise StoreUnavailable(f"the job store does not answer: {error}") from error
    except redis.ResponseError as error:
        if "MISCONF" not in str(error) and "OOM" not in str(error):  # its disk or its memory is full
            raise
        raise StoreUnavailable(f"the job store takes no writes: {error}") from error


def _starts(jobs: Iterable[Job], holder: str, now: float) -> list[Call]:
    worker = worker_of(holder)
    calls: list[Call] = []
    for job in jobs:
        fields = {**identity(job), "started": now, "worker": worker, "holder": holder, "runner": holder}
        args = [UNFINISHED_LIFETIME, job.id, LEASE, *flat(fields)]
        calls.append((scripts.START, [job_key(job.id), waiting_key(job.queue)], args))
    return calls


def _reports(progress: Iterable[tuple[Job, Progress]]) -> list[Call]:
    return [(scripts.REPORT, [job_key(job.id)], [dumps(asdict(value))]) for job, value in progress]


def _endings(results: Iterable[Ending]) -> list[Call]:
    return [(scripts.FINISH, *ending(job, result, job.result_lifetime, new)) for job, result, new in results]


class JobStore:
    """Jobs, their progress and results, session variables and workers, in Redis.

    Every method raises `StoreUnavailable` if Redis does not answer. Times are in seconds since 1970.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client  # redis-py's annotations mix what its sync and async clients give
        self._finish = client.register_script(scripts.FINISH)
        self._cancel = client.register_script(scripts.CANCEL)

    @classmethod
    def from_url(cls, url: str, connections: int = 64, silence: float = SILENCE) -> JobStore:
        """Build a store of the server at `url` (redis://, rediss:// or unix://). Opens no connection.

        Args:
            url: where Redis is.
            connections: at most so many; a caller waits for a free one.
            silence: seconds without an answer after which the server counts as down.
        """
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=5,
            socket_connect_timeout=1,
            socket_timeout=silence,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # a stale connection
            decode_responses=True,
        )
        return cls(redis.Redis(connection_pool=pool))

    @property
    def connection_pool(self) -> redis.ConnectionPool:
        """The connections to Redis, for what else is kept there."""
        pool: redis.ConnectionPool = self._redis.connection_pool
        return pool

    def close(self) -> None:
        """Close its connections; the next call opens another one."""
        self._redis.connection_pool.disconnect()

    def ping(self) -> None:
        """Ask whether Redis answers."""
        with _translated():
            self._redis.ping()

    def pubsub(self, confirmations: bool = False) -> redis.client.PubSub:
        """Give a subscriber with a connection of its own; it may get `confirmations` of what it does, too."""
        return self._redis.pubsub(ignore_subscribe_messages=not confirmations)

    def publish(self, channel: str, text: str) -> None:
        """Tell whoever listens on `channel`."""
        with _translated():
            self._redis.publish(channel, text)

    # -- what the API does

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
            with _translated():
                self._close_late(open_key(job.owner, job.endpoint), job.accepted)
        else:
            self.lapse(job.queue, job.accepted)
        (answer,) = self.add_all([(job, room)])
        if not isinstance(answer, Priority):
            raise answer
        return answer

    def add_all(self, jobs: Sequence[tuple[Job, Room]]) -> list[Priority | Refusal]:
        """Record accepted jobs as waiting, in one round trip.

        Returns:
            For each the priority that it waits with, or why it is refused: then nothing of it is recorded.
        """
        answers = self.run([adding(job, room, UNFINISHED_LIFETIME) for job, room in jobs])
        return [verdict(answer, job, room) for answer, (job, room) in zip(answers, jobs, strict=True)]

    def withdraw(self, job: Job) -> None:
        """Take back a job whose message could not be published; should it run after all, it is dropped."""
        now = time.time()
        with _translated():
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
        with _translated():
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
        with _translated():
            return int(self._redis.zcount(waiting_key(queue), "-inf", f"({waiting_end(priority)}"))

    def lapse(self, queue: str, now: float) -> None:
        """End the oldest waiting jobs of `queue`, of each priority, whose deadline has passed."""
        with _translated():
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
        with _translated():
            state, free = self._cancel(keys=[job_key(job_id)])
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
        with _translated():
            ids = self._redis.hrandfield(key, SWEEP)
        self.run([(scripts.UNCOUNT, [key], [job_id for job_id in ids or () if job_id != "total"])])

    def _lapse(self, late: Iterable[tuple[str, dict[str, str]]], now: float) -> None:
        for job_id, record in late:
            job = recorded(job_id, record)
            self._end_waiting(job, lapsed(job, now), now)

    # -- what the workers do

    def claim(self, job_ids: Sequence[str], holder: str) -> list[Claim]:
        """Ask which jobs may run here.

        A job that another worker runs may not, until that one has ended it or has not tended it for
        `LEASE` seconds.

        Args:
            job_ids: the jobs.
            holder: this process: the worker's name, `#`, and what no other process has.
        """
        args = [holder, worker_of(holder), LEASE]
        answers = self.run([(scripts.CLAIM, [job_key(i)], args) for i in job_ids])
        return [
            Claim(JobState(state) if state else None, bool(canceled), float(wait), int(deaths))
            for state, canceled, wait, deaths in answers
        ]

    def release(self, job_ids: Sequence[str], holder: str) -> None:
        """Give back jobs that this process holds and will not end."""
        self.run([(scripts.RELEASE, [job_key(i)], [holder]) for i in job_ids])

    def start(self, jobs: Iterable[Job], holder: str, now: float) -> list[bool]:
        """Record that a batch with these jobs started on the model of `holder`.

        Returns:
            For each: whether it was still to be done.
        """
        return [bool(answer) for answer in self.run(_starts(jobs, holder, now))]

    def tend(self, job_ids: Sequence[str], holder: str) -> list[str]:
        """Renew the lease on jobs that this process holds; gives those that shall be canceled."""
        answers = self.run([(scripts.TEND, [job_key(i)], [holder, LEASE]) for i in job_ids])
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
        progress: Iterable[tuple[Job, Progress]],
        results: Iterable[Ending],
        holder: str,
        now: float,
    ) -> list[bool]:
        """Do what `start`, `report` and `finish` do, in this order and in one round trip.

        Returns:
            For each that started: whether it was still to be done.
        """
        answers = self.run([*_starts(started, holder, now), *_reports(progress), *_endings(results)])
        return [bool(answer) for answer in answers[: len(started)]]

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip; load them first if the server does not know them."""
        pipeline = self._redis.pipeline(transaction=False)
        with _translated():
            for attempt in (1, 2):
                for script, keys, args in calls:
                    pipeline.evalsha(sha1(script.encode()).hexdigest(), len(keys), *keys, *args)
                try:
                    return list(pipeline.execute())
                except redis.exceptions.NoScriptError:  # what has run runs again: every script bears that
                    if attempt == 2:
                        raise
                for script in {script for script, _, _ in calls}:
                    self._redis.script_load(script)
        return []

    def command(self, *parts: Any) -> Any:
        """Give what Redis answers to one command."""
        with _translated():
            return self._redis.execute_command(*parts)

    def _end_waiting(self, job: Job, result: Result, now: float, counts: bool = True) -> None:
        """End a job whose message is still with the broker: remembered until a worker would let it lapse."""
        lifetime = max(job.result_lifetime, job.deadline - now + CLOCKS_DIFFER)
        keys, args = ending(job, result, lifetime, counts=counts)
        self._finish(keys=keys, args=args)

    # -- large values

    def put_texts(self, texts: Mapping[str, str | bytes], lifetime: float = UNFINISHED_LIFETIME) -> None:
        """Keep texts by name for `lifetime` seconds; the inputs of a job go when it ends."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for name, text in texts.items():
                for place, piece in _pieces(text):
                    if place == 0:
                        pipeline.set(blob_key(name), piece, ex=max(1, round(lifetime)))
                    else:
                        pipeline.setrange(blob_key(name), place, piece)
                    if len(piece) >= PIECE:
                        pipeline.execute()
            pipeline.execute()

    def texts(self, names: Sequence[str]) -> list[str | None]:
        """Give texts by name; None for one that is gone."""
        with _translated():
            return list(self._redis.mget([blob_key(name) for name in names])) if names else []

    def text_sizes(self, names: Sequence[str]) -> list[int]:
        """Give the bytes of texts in UTF-8; 0 for one that is gone."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.strlen(blob_key(name))
            return list(pipeline.execute())

    def text_part(self, name: str, start: int, stop: int) -> bytes:
        """Give the bytes from `start` to before `stop` of a text in UTF-8; fewer if it ends or is gone."""
        with _translated():
            found = self._redis.execute_command("GETRANGE", blob_key(name), start, stop - 1, NEVER_DECODE=[])
        return bytes(found)

    def drop_texts(self, names: Sequence[str]) -> None:
        """Forget texts."""
        with _translated():
            self._redis.unlink(*(blob_key(name) for name in names))

    # -- clients

    def used_today(self, owner: str, endpoint: str) -> DayLimits:
        """Give what a client whose use is limited has used of an endpoint today, in whole seconds."""
        with _translated():
            key = f"{day_key(owner, endpoint)}{int(self._redis.time()[0] // 86400)}"
            used = self._redis.hmget(key, "bytes", "seconds")
        return DayLimits(*(int(float(number or 0)) for number in used))

    # -- sessions and workers

    def session_vars(self, session: str, endpoint: str) -> dict[str, Any]:
        """Give the stored session variables of one client session at one endpoint."""
        with _translated():
            stored = self._redis.hgetall(session_key(session, endpoint))
        return {name: json.loads(value) for name, value in stored.items()}

    def announce(self, info: WorkerInfo, queues: Iterable[str], now: float) -> None:
        """Record that a worker serves these queues, for `WORKER_LIFETIME` seconds."""
        entry = dumps({**asdict(info), "until": now + WORKER_LIFETIME})
        with _translated():
            for queue in queues:
                self._redis.hset(workers_key(queue), info.name, entry)

    def retire(self, info: WorkerInfo, queues: Iterable[str]) -> None:
        """Record that a worker is gone."""
        with _translated():
            for queue in queues:
                self._redis.hdel(workers_key(queue), info.name)

    def workers(self, queue: str, now: float | None = None) -> list[WorkerInfo]:
        """List the workers of `queue` that are there, by name; forget those long gone."""
        now = time.time() if now is None else now
        with _translated():
            entries = self._redis.hgetall(workers_key(queue))
            infos = []
            for name, text in sorted(entries.items()):
                entry = json.loads(text)
                if entry.pop("until") < now:
                    self._redis.hdel(workers_key(queue), name)
                else:
                    infos.append(WorkerInfo(**entry))
        return infos


def _pieces(text: str | bytes) -> Iterator[tuple[int, bytes]]:
    """Give the pieces of a text in UTF-8, and where each begins: redis-py copies what it sends, twice."""
    place = 0
    for start in range(0, len(text), PIECE):
        part = text[start : start + PIECE]
        piece = part.encode() if isinstance(part, str) else part
        yield place, piece
        place += len(piece)
