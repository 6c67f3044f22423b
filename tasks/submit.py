"""From an accepted request to a message in the queue of its model."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery

from schemas import Endpoint
from tasks.blobs import pack
from tasks.brokerlink import connect
from tasks.errors import StoreUnavailable
from tasks.jobs import Job, Priority
from tasks.publisher import Publisher
from tasks.records import dumps
from tasks.room import NO_LIMITS, DayLimits
from tasks.store import JobStore
from tasks.webhooks.hook import Webhook
from tasks.webhooks.outbox import Outbox


def submit(
    publisher: Publisher,
    endpoint: Endpoint,
    inputs: dict[str, Any],
    *,
    owner: str,
    job_id: str | None = None,
    reply_to: str | None = None,
    session: str | None = None,
    priority: Priority = Priority.NORMAL,
    jobs_at_once: int = 0,
    per_day: DayLimits = NO_LIMITS,
    key: str = "",
    webhook: Webhook | None = None,
    max_bytes: int = 0,
) -> Job:
    """Accept a job: record it as waiting, then publish it durably.

    When this returns, the broker has confirmed the message: the job will end in one terminal state.
    When it raises, nothing waits: if the message got through all the same, a worker will drop it.

    Args:
        publisher: of this process.
        endpoint: what the client called.
        inputs: validated inputs, session variables merged in.
        owner: id of the client.
        job_id: a UUID; default: a new one.
        reply_to: channel to publish the result on.
        session: id of the client's session.
        priority: which jobs it lets go first.
        jobs_at_once: jobs of this owner that may wait or run at this endpoint; 0: any number.
        per_day: what this owner may use of this endpoint.
        key: id of the API key, for the records of usage.
        webhook: which server of the client is told of the job.
        max_bytes: of the large jobs that may wait or run at this endpoint; 0: any number.

    Raises:
        QueueFull: the endpoint's queue is full, or `max_bytes` is reached.
        TooManyJobs: `jobs_at_once` is reached.
        DayLimitReached: what `per_day` allows is used up.
        BrokerUnavailable: the broker did not take the message.
        StoreUnavailable: the store did not record the job.
    """
    light, blobs, texts = pack(inputs)
    now = time.time()
    job = Job(
        id=job_id or str(uuid.uuid4()),
        endpoint=endpoint.name,
        queue=endpoint.queue,
        inputs=light,
        owner=owner,
        accepted=now,
        deadline=now + endpoint.max_time_in_queue,
        result_lifetime=endpoint.result_lifetime,
        reply_to=reply_to,
        session=session,
        priority=priority,
        blobs=blobs,
        key=key,
        size=_bytes(dumps(light)) + sum(map(_bytes, texts.values())),
        webhook=None if webhook is None else webhook.to_text(),
    )
    if webhook is not None:
        Outbox(publisher.store).watch(job)
    with _kept(publisher.store, texts):
        publisher.publish(job, endpoint, jobs_at_once, per_day, max_bytes)
    return job


def _bytes(text: str) -> int:
    """Count the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


@contextmanager
def _kept(store: JobStore, texts: dict[str, str]) -> Iterator[None]:
    """Keep the large inputs of a job if it is accepted in this context."""
    if not texts:
        yield
        return
    store.put_texts(texts)
    try:
        yield
    except BaseException:
        with suppress(StoreUnavailable):  # then they are forgotten when their lifetime is over
            store.drop_texts(list(texts))
        raise


def ping_broker(celery: Celery) -> None:
    """Ask whether the broker takes connections.

    Raises:
        BrokerUnavailable: it does not.
    """
    connect(celery).close()
