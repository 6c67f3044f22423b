"""The job store: every Redis key, its type and its lifetime.

    key                      type     what                                    lifetime
    job:<id>                 hash     state, times, progress, result          a week; then result_lifetime
    waiting:<queue>          zset     ids of waiting jobs by time of arrival  -
    session:<id>:<endpoint>  hash     session variables (JSON each)           30 days after the last write
    workers:<queue>          hash     name -> WorkerInfo (JSON) with expiry   -
    replies:<process>        channel  "<job id> <result JSON>"                -

A terminal state never changes: the scripts below look before they write.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import QueueFull, StoreUnavailable
from tasks.jobs import Job, JobState, JobStatus, Progress, Result, WorkerInfo

UNFINISHED_LIFETIME = 7 * 86400  # s; so long a job without an outcome is remembered
SESSION_LIFETIME = 30 * 86400  # s
WITHDRAWN_LIFETIME = 3600  # s
WORKER_LIFETIME = 15  # s; a worker announces itself three times in this
SILENCE = 2  # s; a server that says nothing for longer counts as down
SWEEP = 500  # jobs looked at when a full queue is searched for lapsed ones

_TERMINAL = "local function ended(s) return s and s ~= 'queued' and s ~= 'processing' end\n"

_ADD = """
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], string.sub(KEYS[1], 5))
return 1
"""
_START = (
    _TERMINAL
    + """
if ended(redis.call('HGET', KEYS[1], 'state')) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'processing', unpack(ARGV, 3))
redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
"""
)
_PROGRESS = """
if redis.call('HGET', KEYS[1], 'state') ~= 'processing' then return 0 end
redis.call('HSET', KEYS[1], 'progress', ARGV[1])
return 1
"""
_FINISH = (
    _TERMINAL
    + """
if ended(redis.call('HGET', KEYS[1], 'state')) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[1] .. ' ' .. ARGV[4]) end
return 1
"""
)


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


class JobStore:
    """Jobs, their progress and results, session variables and workers, in Redis.

    Every method raises `StoreUnavailable` if Redis does not answer. Times are in seconds since 1970.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client  # redis-py's annotations mix what its sync and async clients give
        self._add = client.register_script(_ADD)
        self._start = client.register_script(_START)
        self._progress = client.register_script(_PROGRESS)
        self._finish = client.register_script(_FINISH)

    @classmethod
    def from_url(cls, url: str, connections: int = 64) -> JobStore:
        """Build a store of the server at `url` (redis://, rediss:// or unix://). Opens no connection.

        Args:
            url: where Redis is.
            connections: at most so many; a caller waits for a free one.
        """
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=5,
            socket_connect_timeout=1,
            socket_timeout=SILENCE,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # a stale connection
            decode_responses=True,
        )
        return cls(redis.Redis(connection_pool=pool))

    def ping(self) -> None:
        """Ask whether Redis answers."""
        with _translated():
            self._redis.ping()

    def pubsub(self) -> redis.client.PubSub:
        """Give a subscriber with a connection of its own."""
        return self._redis.pubsub(ignore_subscribe_messages=True)

    # -- what the API does

    def add(self, job: Job, max_queue_length: int) -> None:
        """Record an accepted job as waiting.

        Raises:
            QueueFull: `max_queue_length` jobs wait already; nothing is recorded.
        """
        fields = {
            "state": JobState.QUEUED.value,
            **_identity(job),
            "deadline": job.deadline,
            "lifetime": job.result_lifetime,
            "reply_to": job.reply_to or "",
        }
        keys = [_job_key(job.id), _waiting_key(job.queue)]
        args = [max_queue_length, job.accepted, UNFINISHED_LIFETIME, *_flat(fields)]
        with _translated():
            if self._add(keys=keys, args=args):
                return
            self.lapse(job.queue, job.accepted)
            if not self._add(keys=keys, args=args):
                raise QueueFull(max_queue_length)

    def withdraw(self, job: Job) -> None:
        """Take back a job whose message could not be published; should it run after all, it is dropped."""
        result = Result(JobState.CANCELED, job.accepted, time.time(), error="Not accepted")
        with _translated():
            self._end(job, result, None, WITHDRAWN_LIFETIME)

    def get(self, job_id: str, now: float | None = None) -> JobStatus | None:
        """Look a job up; None if it is unknown or forgotten. A job past its deadline lapses here."""
        return self.get_many([job_id], now)[0]

    def get_many(self, job_ids: Sequence[str], now: float | None = None) -> list[JobStatus | None]:
        """Look jobs up, in two round trips at most."""
        now = time.time() if now is None else now
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hgetall(_job_key(job_id))
            records = pipeline.execute()
            late = [(i, r) for i, r in zip(job_ids, records, strict=True) if _is_late(r, now)]
            if late:
                self._lapse(late, now)
                return self.get_many(job_ids, now)
            waiting = [(i, r) for i, r in zip(job_ids, records, strict=True) if r.get("state") == "queued"]
            for job_id, record in waiting:
                pipeline.zrank(_waiting_key(record["queue"]), job_id)
            ranks = {i: rank for (i, _), rank in zip(waiting, pipeline.execute(), strict=True)}
        return [_status(i, r, ranks.get(i)) if r else None for i, r in zip(job_ids, records, strict=True)]

    def queue_length(self, queue: str) -> int:
        """Count the jobs that wait in `queue`."""
        with _translated():
            return int(self._redis.zcard(_waiting_key(queue)))

    def lapse(self, queue: str, now: float) -> None:
        """End the oldest waiting jobs of `queue` whose deadline has passed."""
        with _translated():
            ids = self._redis.zrange(_waiting_key(queue), 0, SWEEP - 1)
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in ids:
                pipeline.hgetall(_job_key(job_id))
            records = list(zip(ids, pipeline.execute(), strict=True))
            for job_id, record in records:
                if not record:
                    self._redis.zrem(_waiting_key(queue), job_id)
            self._lapse([(i, r) for i, r in records if _is_late(r, now)], now)

    def _lapse(self, late: Iterable[tuple[str, dict[str, str]]], now: float) -> None:
        for job_id, record in late:
            job = Job(
                id=job_id,
                endpoint=record["endpoint"],
                queue=record["queue"],
                inputs={},
                owner=record["owner"],
                accepted=float(record["accepted"]),
                deadline=float(record["deadline"]),
                result_lifetime=float(record["lifetime"]),
                reply_to=record["reply_to"] or None,
            )
            self._end(job, lapsed(job, now), None, job.result_lifetime)

    # -- what the workers do

    def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Give the state of each job; None where there is no record."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hget(_job_key(job_id), "state")
            return [JobState(state) if state else None for state in pipeline.execute()]

    def start(self, jobs: Iterable[Job], worker: str, now: float) -> None:
        """Record that a batch with these jobs started on the model of `worker`."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for job in jobs:
                fields = {**_identity(job), "started": now, "worker": worker}
                self._start(
                    keys=[_job_key(job.id), _waiting_key(job.queue)],
                    args=[UNFINISHED_LIFETIME, job.id, *_flat(fields)],
                    client=pipeline,
                )
            pipeline.execute()

    def report(self, progress: Iterable[tuple[Job, Progress]]) -> None:
        """Record progress; dropped for a job that is not running any more."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for job, value in progress:
                self._progress(keys=[_job_key(job.id)], args=[_dumps(asdict(value))], client=pipeline)
            pipeline.execute()

    def finish(self, results: Iterable[tuple[Job, Result, dict[str, Any]]]) -> list[bool]:
        """Record how jobs ended and tell who waits, in one round trip.

        Args:
            results: job, result, and new values of its session variables.

        Returns:
            For each: whether this was the first outcome (a second one is dropped).
        """
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            places = []
            for job, result, session_vars in results:
                places.append(len(pipeline.command_stack))
                self._end(job, result, pipeline, job.result_lifetime)
                if job.session and session_vars:
                    key = _session_key(job.session, job.endpoint)
                    pipeline.hset(key, mapping={k: _dumps(v) for k, v in session_vars.items()})
                    pipeline.expire(key, SESSION_LIFETIME)
            answers = pipeline.execute()
        return [bool(answers[place]) for place in places]

    def _end(self, job: Job, result: Result, client: Any, lifetime: float) -> None:
        text = _dumps(result.to_wire())
        fields = {**_identity(job), "state": result.state.value, "result": text}
        self._finish(
            keys=[_job_key(job.id), _waiting_key(job.queue)],
            args=[job.id, job.reply_to or "", max(1, round(lifetime)), text, *_flat(fields)],
            client=client,
        )

    # -- sessions and workers

    def session_vars(self, session: str, endpoint: str) -> dict[str, Any]:
        """Give the stored session variables of one client session at one endpoint."""
        with _translated():
            stored = self._redis.hgetall(_session_key(session, endpoint))
        return {name: json.loads(value) for name, value in stored.items()}

    def announce(self, info: WorkerInfo, queues: Iterable[str], now: float) -> None:
        """Record that a worker serves these queues, for `WORKER_LIFETIME` seconds."""
        entry = _dumps({**asdict(info), "until": now + WORKER_LIFETIME})
        with _translated():
            for queue in queues:
                self._redis.hset(_workers_key(queue), info.name, entry)

    def retire(self, info: WorkerInfo, queues: Iterable[str]) -> None:
        """Record that a worker is gone."""
        with _translated():
            for queue in queues:
                self._redis.hdel(_workers_key(queue), info.name)

    def workers(self, queue: str, now: float | None = None) -> list[WorkerInfo]:
        """List the workers of `queue` that are there, by name; forget those long gone."""
        now = time.time() if now is None else now
        with _translated():
            entries = self._redis.hgetall(_workers_key(queue))
            infos = []
            for name, text in sorted(entries.items()):
                entry = json.loads(text)
                if entry.pop("until") < now:
                    self._redis.hdel(_workers_key(queue), name)
                else:
                    infos.append(WorkerInfo(**entry))
        return infos


def lapsed(job: Job, now: float) -> Result:
    """Give the result of a job that waited longer than it may."""
    return Result(JobState.LAPSED, job.accepted, now, error=f"Job {job.id} on {job.endpoint} lapsed!")


def estimate(workers: Sequence[WorkerInfo], position: int) -> float:
    """Estimate the seconds until the job at `position` (1: next) has its result; -1 without a worker."""
    if not workers:
        return -1.0
    rate = sum(1 / worker.seconds_per_job for worker in workers if worker.seconds_per_job > 0)
    return round(position / rate, 3) if rate else 0.0


def _identity(job: Job) -> dict[str, Any]:
    return {"endpoint": job.endpoint, "queue": job.queue, "owner": job.owner, "accepted": job.accepted}


def _status(job_id: str, record: dict[str, str], rank: int | None) -> JobStatus:
    return JobStatus(
        id=job_id,
        endpoint=record["endpoint"],
        owner=record["owner"],
        state=JobState(record["state"]),
        accepted=float(record["accepted"]),
        progress=Progress(**json.loads(record["progress"])) if "progress" in record else Progress(),
        queue_position=0 if rank is None else rank + 1,
        result=Result.from_wire(json.loads(record["result"])) if "result" in record else None,
    )


def _is_late(record: dict[str, str], now: float) -> bool:
    return record.get("state") == "queued" and now > float(record["deadline"])


def _flat(fields: dict[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _job_key(job_id: str) -> str:
    return f"job:{job_id}"


def _waiting_key(queue: str) -> str:
    return f"waiting:{queue}"


def _session_key(session: str, endpoint: str) -> str:
    return f"session:{session}:{endpoint}"


def _workers_key(queue: str) -> str:
    return f"workers:{queue}"
