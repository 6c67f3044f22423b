"""Celery's consumer, with the changes that a BatchPool needs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Message, Producer

from tasks.celery import DEAD_LETTERS
from tasks.jobs import Job
from tasks.letters import job_in, refused
from workers.steps import DeadLetters, GatheredEvents, KeepVisible
from workers.transport import Channel

logger = logging.getLogger(__name__)

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(CeleryConsumer):
    """Refuses what holds no job, acks at once, tells the pool of a lost connection; no delay queues."""

    class Blueprint(CeleryConsumer.Blueprint):
        """The stock steps, less the 28 queues for delayed tasks: jobs have no countdown."""

        default_steps = [  # noqa: RUF012 - a class attribute in Celery too
            *(step for step in CeleryConsumer.Blueprint.default_steps if step != DELAYED_DELIVERY),
            GatheredEvents,
            DeadLetters,
            KeepVisible,
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.unacked: set[str] = set()
        super().__init__(*args, **kwargs)
        self.pool.attach(self)

    def start(self) -> None:
        """Fetch a third batch where batches are quick: it takes the broker longer to replace one."""
        if self.pool.quick and self.prefetch_multiplier == self.app.conf.worker_prefetch_multiplier:
            self.prefetch_multiplier += 1
            self.initial_prefetch_count += self.pool.num_processes
        super().start()

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Ack now: we are on the loop's thread, and a callback of the hub would wait for its next poll."""
        return p(*args, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Let Celery handle what holds a job of an endpoint that this worker knows."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            read = self._read(message)
            if isinstance(read, str):
                self._refuse(message, read)
            else:
                message.job = read  # for the pool
                handle(message)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Refuse what cannot be unpacked. Celery would log the message and ack it."""
        self._refuse(message, f"cannot be read ({type(exc).__name__})")

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Refuse what Celery cannot make a request of."""
        self._refuse(message, f"is no task ({type(exc).__name__})")

    def _read(self, message: Message) -> Job | str:
        """Give the job that a message holds, or what is wrong with it."""
        name = (message.headers or {}).get("task")
        if not name or "id" not in message.headers:
            return "is no task"
        try:
            job = job_in(message.payload)
        except Exception as error:  # whatever a message holds, the next one is handled
            return f"cannot be read ({type(error).__name__})"
        if job is None:
            return "holds no job"
        if name not in self.app.tasks:
            return f"is for endpoint {job.endpoint}, which {self.hostname} does not know: give it its file"
        return job

    def _refuse(self, message: Message, problem: str) -> None:
        """Send a message the way of what dies: `workers/deadletters.py` ends its job."""
        headers = message.headers or {}
        logger.error("message %s %s: dead-lettered", headers.get("id", "without an id"), problem)
        if self.connection.transport.driver_type == "redis":  # it has no dead letters of its own
            Producer(message.channel).publish(
                bytes(message.body),
                routing_key=DEAD_LETTERS,
                headers=refused(headers, message.delivery_info.get("routing_key", "")),
                content_type="application/data",
                content_encoding="binary",
            )
            message.ack()
        else:
            message.reject_log_error(logger, self.connection_errors)
        if self.event_dispatcher and "id" in headers:
            self.event_dispatcher.send("task-failed", uuid=headers["id"], exception=problem)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Tell the pool before anything else: the broker gives our unacked messages to others now."""
        self.pool.connection_lost()
        if self.conninfo.transport.driver_type == "redis" and self.task_consumer:
            # kombu would give them back here, to a broker that is away, and end the worker with an error.
            qos = self.task_consumer.channel.qos
            self.unacked |= set(qos._delivered) - qos._dirty
            qos._delivered.clear()
        with warnings.catch_warnings():  # Celery announces a change of a default that we have set
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the acks of this context together, where the connection can."""
        channel = self.task_consumer and self.task_consumer.channel
        if not isinstance(channel, Channel):
            yield
            return
        try:
            with channel.together():
                yield
        except self.connection_errors as error:  # the loop sees it too; what was not acked comes again
            logger.warning("acks could not be sent: %r", error)

    def flush_events(self) -> None:
        """Send buffered events now; for a shutdown, when the hub does not turn any more."""
        if self.event_dispatcher:
            self.event_dispatcher.flush()
