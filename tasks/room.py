"""Whether there is room for another job: what the script ADD is asked, and what it answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.blobs import LARGE
from tasks.errors import DayLimitReached, QueueFull, QueueTooLarge, TooManyJobs
from tasks.jobs import Job, Priority
from tasks.records import (
    bytes_key,
    day_key,
    flat,
    job_key,
    open_key,
    owner_key,
    share_key,
    unstarted,
    waiting_key,
    waiting_score,
)
from tasks.scripts.waiting import ADD

JOBS_LISTED = 10_000  # of each client, the newest ones

Refusal = QueueFull | TooManyJobs | DayLimitReached


@dataclass(frozen=True, slots=True)
class DayLimits:
    """What a client may use of an endpoint in one day, in UTC. 0: any amount.

    Attributes:
        bytes: of inputs, counted when a job is accepted.
        seconds: of the model's time, counted when a job ends.
    """

    bytes: int = 0
    seconds: int = 0


NO_LIMITS = DayLimits()


@dataclass(frozen=True, slots=True)
class Room:
    """What must hold for another job to be accepted, and for it to wait with its own priority.

    Attributes:
        max_queue_length: jobs that wait in its queue.
        jobs_at_once: jobs of its owner that wait or run at its endpoint; 0: any number.
        share: jobs of its owner that wait or run in its queue; from then on its further ones wait with the
            next lower priority. 0: any number.
        per_day: what its owner may use of its endpoint.
        max_bytes: of all large jobs that wait or run at its endpoint; one that is alone may have more. 0: any
            number.
    """

    max_queue_length: int
    jobs_at_once: int = 0
    share: int = 0
    per_day: DayLimits = NO_LIMITS
    max_bytes: int = 0


def adding(jobs: Sequence[tuple[Job, Room]], lifetime: float) -> tuple[str, list[str], list[Any]]:
    """Give the call that records jobs if there is room; their records are kept for `lifetime` seconds."""
    keys: list[str] = []
    args: list[Any] = [lifetime, JOBS_LISTED]
    for job, room in jobs:
        keys += _keys(job, room)
        own = _arguments(job, room)
        args.append(len(own))
        args += own
    return ADD, keys, args


def _keys(job: Job, room: Room) -> list[str]:
    return [
        job_key(job.id),
        waiting_key(job.queue),
        owner_key(job.owner),
        share_key(job.owner, job.queue),
        open_key(job.owner, job.endpoint) if room.jobs_at_once else "",
        day_key(job.owner, job.endpoint) if room.per_day.bytes or room.per_day.seconds else "",
        bytes_key(job.endpoint) if room.max_bytes and job.size > LARGE else "",
    ]


def _arguments(job: Job, room: Room) -> list[Any]:
    lower = job.priority.next_lower if room.share else None
    args: list[Any] = [room.max_queue_length, waiting_score(job), job.accepted]
    args += [room.jobs_at_once, job.deadline]
    args += [waiting_score(job, lower) if lower else "", room.share, job.size]
    args += [room.per_day.bytes, room.per_day.seconds, room.max_bytes]
    return [*args, *flat(unstarted(job))]


def verdict(answer: int, job: Job, room: Room) -> Priority | Refusal:
    """Give the priority that an accepted job waits with, or why it is refused."""
    match answer:
        case 0:
            return QueueFull(room.max_queue_length)
        case -1:
            return TooManyJobs(room.jobs_at_once)
        case -2:
            return DayLimitReached("bytes", room.per_day.bytes)
        case -3:
            return DayLimitReached("seconds", room.per_day.seconds)
        case -4:
            return QueueTooLarge(room.max_bytes)
    lowered = job.priority.next_lower if answer == 2 else None
    return lowered or job.priority
