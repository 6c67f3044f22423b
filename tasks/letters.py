"""Dead letters: messages that no worker will run, and what they say. Pure.

RabbitMQ puts a message into the queue `stoker.dead` when it was handed out too often without an answer, or
was refused, or a policy ended it; with Redis as broker, workers put there what they refuse. RabbitMQ says
why in the header `x-death`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import NoneType
from typing import Any

from tasks.celery import DELIVERY_LIMIT
from tasks.jobs import Job

REFUSED = "rejected"  # RabbitMQ's word for what a worker refused
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAYBE = (str, NoneType)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "endpoint": str,
    "queue": str,
    "inputs": dict,
    "owner": str,
    "accepted": (int, float),
    "deadline": (int, float),
    "result_lifetime": (int, float),
    "reply_to": _MAYBE,
    "session": _MAYBE,
    "blobs": list,
    "key": str,
    "size": int,
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without its message.

    Attributes:
        id: the job's; for a message without one, "message-" and a digest.
        endpoint: that the job was for; None if the message does not say.
        queue: the broker's queue that the message died in; None if nobody says.
        reason: why, in RabbitMQ's words: delivery_limit, rejected, expired, maxlen.
        count: how often it died of that there.
        died: when, in seconds since 1970.
        holds_job: whether a job can be read from the message.
    """

    id: str
    endpoint: str | None
    queue: str | None
    reason: str
    count: int
    died: float
    holds_job: bool

    def explain(self) -> str:
        """Say what went wrong and, if something can be done, what."""
        if self.reason == REFUSED and self.holds_job:
            return (
                f"A worker of queue {self.queue} does not know endpoint {self.endpoint}: "
                "give it the endpoint files of the API"
            )
        if not self.holds_job:
            return "The message holds no job that a worker can read: are API and workers of one version?"
        return {
            "delivery_limit": f"The job was given to workers {DELIVERY_LIMIT + 1} times and never answered",
            "expired": f"The job waited longer than the broker's policy for queue {self.queue} allows",
            "maxlen": f"The broker's queue {self.queue} was longer than its policy allows",
        }.get(self.reason, f"The message broker gave the job up: {self.reason}")

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Letter:
        """Build a letter from `to_wire()`."""
        return cls(**wire)


def job_in(payload: Any) -> Job | None:
    """Give the job that a Celery message's payload holds; None if it holds none that can be run."""
    try:
        (wire, *_), _, _ = payload
        if not all(isinstance(wire[name], types) for name, types in _TYPES.items() if name in wire):
            return None
        job = Job.from_wire(wire)
        whole = all(isinstance(path, list) and isinstance(name, str) for path, name in job.blobs)
        return job if whole and math.isfinite(job.accepted + job.deadline + job.result_lifetime) else None
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def job_of(body: str) -> Job | None:
    """Give the job in the body of a message; None if there is none."""
    try:
        return job_in(json.loads(body))
    except (ValueError, RecursionError):
        return None


def text_of(body: bytes | str | memoryview) -> str:
    """Give the body of a message as text; a job's is always UTF-8."""
    return body if isinstance(body, str) else bytes(body).decode(errors="replace")


def read_letter(body: str, headers: Mapping[str, Any], now: float) -> Letter:
    """Read what a message says of its job and its death. Anything may stand in it.

    Args:
        body: of the message.
        headers: of the message: Celery's, and RabbitMQ's `x-death`.
        now: time of death if the message does not tell, in seconds since 1970.
    """
    job = job_of(body)
    death = _last_death(headers)
    named = headers.get("id")
    job_id = job.id if job else named if isinstance(named, str) and _ID.fullmatch(named) else None
    count = death.get("count")
    died = death.get("time")
    return Letter(
        id=job_id or f"message-{sha256(body.encode(errors='replace')).hexdigest()[:16]}",
        endpoint=job.endpoint if job else None,
        queue=_text(death.get("queue")),
        reason=_text(death.get("reason")) or "unknown",
        count=count if isinstance(count, int) else 1,
        died=died.replace(tzinfo=UTC).timestamp() if isinstance(died, datetime) else now,
        holds_job=job is not None,
    )


def refused(headers: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """Give the headers of a message that a worker refused, as RabbitMQ would write them."""
    return {"id": headers.get("id"), "x-death": [{"reason": REFUSED, "queue": queue, "count": 1}]}


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
