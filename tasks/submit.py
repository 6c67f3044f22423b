"""From an accepted request to a message in the queue of its model."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery, Task
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from schemas import Endpoint
from tasks.blobs import pack
from tasks.celery import queue_name
from tasks.errors import BrokerUnavailable, StoreUnavailable
from tasks.jobs import Job, Priority
from tasks.store import JobStore

ATTEMPTS = 3
RETRY_WITHIN = 0.5  # s; a broker that takes longer to fail is not stale but silent
CONFIRM_WITHIN = 5.0  # s; a broker that stands still holds no request for longer


def submit(
    celery: Celery,
    store: JobStore,
    endpoint: Endpoint,
    inputs: dict[str, Any],
    *,
    owner: str,
    job_id: str | None = None,
    reply_to: str | None = None,
    session: str | None = None,
    priority: Priority = Priority.NORMAL,
    jobs_at_once: int = 0,
) -> Job:
    """Accept a job: record it as waiting, then publish it durably.

    When this returns, the broker has confirmed the message: the job will end in one terminal state.
    When it raises, nothing waits: if the message got through all the same, a worker will drop it.

    Args:
        celery: the app of `create_celery`.
        store: the job store.
        endpoint: what the client called.
        inputs: validated inputs, session variables merged in.
        owner: id of the client's API key.
        job_id: a UUID; default: a new one.
        reply_to: channel to publish the result on.
        session: id of the client's session.
        priority: which jobs it lets go first.
        jobs_at_once: jobs of this owner that may wait or run at this endpoint; 0: any number.

    Raises:
        QueueFull: the endpoint's queue is full.
        TooManyJobs: `jobs_at_once` is reached.
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
    )
    with _kept(store, texts):
        store.add(job, endpoint.max_queue_length, jobs_at_once)
        try:
            _publish(celery, endpoint, job)
        except BaseException:  # whatever it was, also the end of this greenlet: it must not count as waiting
            store.withdraw(job)
            raise
    return job


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


def _publish(celery: Celery, endpoint: Endpoint, job: Job) -> None:
    """Publish and wait for the broker's confirm.

    A kept connection may have gone stale since it was last used (the broker restarted), so a failure is
    tried again on a fresh one. Should both messages arrive, the worker drops the second by its job id.
    """
    broker_errors = _errors_of(celery.amqp.producer_pool.connections.connection)
    begin = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with celery.producer_pool.acquire(block=True, timeout=CONFIRM_WITHIN) as producer:
                return _publish_by(producer, celery.tasks[endpoint.task_name], job)
        except broker_errors as error:
            if attempt == ATTEMPTS or time.monotonic() - begin > RETRY_WITHIN:
                raise BrokerUnavailable(f"the message broker did not take the job: {error}") from error


def _publish_by(producer: Producer, task: Task, job: Job) -> None:
    try:
        task.apply_async(
            (job.to_wire(),),
            task_id=job.id,
            queue=queue_name(job.queue, job.priority),
            producer=producer,
            retry=False,
            timeout=CONFIRM_WITHIN,
            confirm_timeout=CONFIRM_WITHIN,
            argsrepr=f"({job.id},)",  # what Flower and the logs show: never a prompt
            kwargsrepr="{}",
        )
    except BaseException:
        # A confirm that comes late would be taken for that of the next message on this connection.
        producer.connection.collect(socket_timeout=1)
        raise


def ping_broker(celery: Celery) -> None:
    """Ask whether the broker takes connections.

    Raises:
        BrokerUnavailable: it does not.
    """
    with celery.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
        except _errors_of(connection) as error:
            raise BrokerUnavailable(f"the message broker cannot be reached: {error}") from error


def _errors_of(connection: Connection) -> tuple[type[Exception], ...]:
    # A refused password is a channel error to py-amqp.
    return (KombuError, OSError, MessageNacked, *connection.connection_errors, *connection.channel_errors)
