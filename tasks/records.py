"""The form in which the job store keeps jobs: names of keys, fields of records. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tasks.jobs import Job, JobState, JobStatus, Priority, Progress, Result, WorkerInfo

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_PRIORITY_SPAN = 1e10  # s; more than any time since 1970, so that priorities do not mix
WAITING_SCORES = {
    Priority.HIGH: -_PRIORITY_SPAN,
    Priority.NORMAL: 0.0,
    Priority.BULK: _PRIORITY_SPAN,
}
"""Where the scores of a priority's jobs begin in the set of waiting jobs."""
USAGE = "usage"
"""The list of jobs that have ended and are not in the database yet."""
MOST_USAGE = 500_000  # of them; the newest are dropped
UNFINISHED_LIFETIME = 7 * 86400  # s; so long a job without an outcome is remembered
LARGEST_RESULT = 1 << 27  # characters of JSON, of up to 4 bytes; Redis would close the connection at 512 MiB
CLOCKS_DIFFER = 60  # s; no more than this between the hosts of one installation
NEW_SESSION_LIFETIME = 86400  # s; so long variables of a session are kept that has not come back yet
SESSION_LIFETIME = 30 * 86400  # s; so long they are kept each time that it has


def lapsed(job: Job, now: float) -> Result:
    """Give the result of a job that waited longer than it may."""
    return Result(JobState.LAPSED, job.accepted, now, error=f"Job {job.id} on {job.endpoint} lapsed!")


def canceled(job: Job, now: float) -> Result:
    """Give the result of a job that its client canceled."""
    return Result(JobState.CANCELED, job.accepted, now, error=f"Job {job.id} on {job.endpoint} was canceled")


def estimate(workers: Sequence[WorkerInfo], position: int) -> float:
    """Estimate the seconds until the job at `position` (1: next) has its result; -1 without a worker."""
    if not workers:
        return -1.0
    rate = sum(1 / worker.seconds_per_job for worker in workers if worker.seconds_per_job > 0)
    return round(position / rate, 3) if rate else 0.0


def identity(job: Job) -> dict[str, Any]:
    """Give what a record says of its job from the first to the last."""
    return {"endpoint": job.endpoint, "queue": job.queue, "owner": job.owner, "accepted": job.accepted}


def unstarted(job: Job) -> dict[str, Any]:
    """Give the record of a job that begins to wait."""
    fields = {
        "state": JobState.QUEUED.value,
        **identity(job),
        "deadline": job.deadline,
        "lifetime": job.result_lifetime,
        "reply_to": job.reply_to or "",
        "key": job.key,
        "size": job.size,
    }
    if job.blobs:
        fields["blobs"] = " ".join(blob_key(name) for _, name in job.blobs)
    if job.webhook is not None:
        fields["webhook"] = job.webhook
    return fields


def recorded(job_id: str, record: dict[str, str]) -> Job:
    """Give the job of a record, less its inputs: those travel in the message."""
    return Job(
        id=job_id,
        endpoint=record["endpoint"],
        queue=record["queue"],
        inputs={},
        owner=record["owner"],
        accepted=float(record["accepted"]),
        deadline=float(record["deadline"]),
        result_lifetime=float(record["lifetime"]),
        reply_to=record["reply_to"] or None,
        key=record["key"],
        size=int(record["size"]),
    )


def ending(
    job: Job,
    result: Result,
    lifetime: float,
    session_vars: dict[str, Any] | None = None,
    counts: bool = True,
) -> tuple[list[str], list[Any]]:
    """Give keys and arguments of the script FINISH; `counts`: whether the job is its client's usage.

    Outputs that no store takes make a failed job of it: nobody could ever have them.
    """
    text = dumps(result.to_wire())
    if len(text) > LARGEST_RESULT:
        error = f"The outputs have {len(text)} characters as JSON: at most {LARGEST_RESULT} can be stored"
        result = replace(result, state=JobState.FAILED, outputs={}, blobs=[], error=error)
        text = dumps(result.to_wire())
    record = {**identity(job), "state": result.state.value, "result": text}
    if result.started is not None:
        record["started"] = result.started
    if result.worker is not None:
        record["worker"] = result.worker
    fields = flat(record)
    keys = [job_key(job.id), waiting_key(job.queue), share_key(job.owner, job.queue), USAGE]
    args = [job.id, job.reply_to or "", max(1, round(lifetime)), text, len(fields), NEW_SESSION_LIFETIME]
    args += [usage(job, result) if counts else "", MOST_USAGE, result.model_seconds]
    args += [" ".join(blob_key(name) for _, name in result.blobs), int(result.started is not None), *fields]
    if job.session and session_vars:
        keys.append(session_key(job.session, job.endpoint))
        args += flat({name: dumps(value) for name, value in session_vars.items()})
    return keys, args


def usage(job: Job, result: Result) -> str:
    """Give what is kept of a job that has ended, a list as JSON; less its end, which FINISH adds."""
    started = "null" if result.started is None else result.started
    times = f"{job.accepted},{started},{result.finished},{result.model_seconds}"
    return f'["{job.id}",{_named(job.owner, job.key, job.endpoint)},"{result.state}",{times},{job.size}'


@lru_cache(1000)  # the same few again and again
def _named(*names: str) -> str:
    return dumps(names)[1:-1]


def status(job_id: str, record: dict[str, str], rank: int | None) -> JobStatus:
    """Read a record; `rank` is the place in the queue, from 0, of a job that waits."""
    return JobStatus(
        id=job_id,
        endpoint=record["endpoint"],
        owner=record["owner"],
        state=JobState(record["state"]),
        accepted=float(record["accepted"]),
        progress=Progress(**json.loads(record["progress"])) if "progress" in record else Progress(),
        queue_position=0 if rank is None else rank + 1,
        result=Result.from_wire(json.loads(record["result"])) if "result" in record else None,
        started=float(record["started"]) if "started" in record else None,
        worker=record.get("worker"),
        revision=int(record.get("revision", 0)),
    )


def waiting_score(job: Job, priority: Priority | None = None) -> float:
    """Give a job's place among those that wait: by its priority, or this one, then by age."""
    return WAITING_SCORES[priority or job.priority] + job.accepted


def waiting_end(priority: Priority) -> float:
    """Give where the scores of a priority's jobs end in the set of waiting jobs."""
    return WAITING_SCORES[priority] + _PRIORITY_SPAN


def is_late(record: dict[str, str], now: float) -> bool:
    """Tell whether a waiting job's deadline has passed."""
    return record.get("state") == "queued" and now > float(record["deadline"])


def flat(fields: dict[str, Any]) -> list[Any]:
    """Give names and values in turn, as HSET takes them."""
    return [part for pair in fields.items() for part in pair]


def dumps(value: Any) -> str:
    """Give compact JSON."""
    return _encode(value)


def job_key(job_id: str) -> str:
    """Name the record of a job, and the channel on which its changes are told."""
    return f"job:{job_id}"


def job_id_of(key: str) -> str:
    """Give the job whose record is called so; empty if it is the name of something else."""
    kind, _, job_id = key.partition(":")
    return job_id if kind == "job" else ""


def blob_key(name: str) -> str:
    """Name a large value."""
    return f"blob:{name}"


def waiting_key(queue: str) -> str:
    """Name the set of jobs that wait in a queue."""
    return f"waiting:{queue}"


def open_key(owner: str, endpoint: str) -> str:
    """Name the set of a client's jobs at an endpoint that have not ended."""
    return f"open:{owner}:{endpoint}"


def share_key(owner: str, queue: str) -> str:
    """Name the set of a client's jobs in a queue that have not ended."""
    return f"share:{owner}:{queue}"


def day_key(owner: str, endpoint: str) -> str:
    """Name what a client has used of an endpoint, less the day, which the scripts add."""
    return f"day:{owner}:{endpoint}:"


def bytes_key(endpoint: str) -> str:
    """Name the sizes of the large jobs at an endpoint that have not ended."""
    return f"bytes:{endpoint}"


def owner_key(owner: str) -> str:
    """Name the set of jobs that an API key has submitted."""
    return f"jobs:{owner}"


def session_key(session: str, endpoint: str) -> str:
    """Name the variables of a session at an endpoint."""
    return f"session:{session}:{endpoint}"


def worker_of(holder: str) -> str:
    """Give the worker's name out of what the store calls its process: the name, `#`, a random part."""
    return holder.rpartition("#")[0]


def workers_key(queue: str) -> str:
    """Name the list of workers of a queue."""
    return f"workers:{queue}"
