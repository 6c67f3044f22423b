"""Celery's consumer, with three changes that a BatchPool needs."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import bootsteps
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.tasks import Tasks

from tasks.celery import VISIBILITY_TIMEOUT, dead_letter_queue
from workers.transport import BufferedTransport

logger = logging.getLogger(__name__)

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class DeadLetters(bootsteps.StartStopStep):
    """Declares the dead-letter queue: without it RabbitMQ drops what reaches the delivery limit."""

    requires = (Tasks,)

    def include_if(self, consumer: Any) -> bool:
        """Only RabbitMQ has dead letters."""
        return consumer.app.connection_for_read().transport.driver_type == "amqp"

    def start(self, consumer: Any) -> None:
        """Declare the queue, on each connection."""
        dead_letter_queue().bind(consumer.connection.default_channel).declare()


class KeepVisible(bootsteps.StartStopStep):
    """Tells the embedded broker, as long as this worker lives, that its messages are being worked on.

    Redis knows no connections: it gives a message back after a timeout. With this one the timeout can be
    short, whatever a job takes, so that the jobs of a killed worker run again soon.
    """

    requires = (Tasks,)

    def include_if(self, consumer: Any) -> bool:
        """Only Redis needs it."""
        return consumer.app.connection_for_read().transport.driver_type == "redis"

    def start(self, consumer: Any) -> None:
        """Begin, on each connection; Celery's loop forgets the timers of a lost one."""
        consumer.timer.call_repeatedly(VISIBILITY_TIMEOUT / 3, self._touch, (consumer,))

    def _touch(self, consumer: Any) -> None:
        """Let the time of all messages that are not acked begin anew."""
        channel = consumer.task_consumer and consumer.task_consumer.channel
        if not channel or not (tags := set(channel.qos._delivered) - channel.qos._dirty):
            return
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, dict.fromkeys(tags, time.time()), xx=True)


class Consumer(CeleryConsumer):
    """Acks at once, tells the pool of a lost connection, and declares no delay queues."""

    class Blueprint(CeleryConsumer.Blueprint):
        """The stock steps, less the 28 queues for delayed tasks: jobs have no countdown."""

        default_steps = [  # noqa: RUF012 - a class attribute in Celery too
            *(step for step in CeleryConsumer.Blueprint.default_steps if step != DELAYED_DELIVERY),
            DeadLetters,
            KeepVisible,
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pool.attach(self)

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Ack now: we are on the loop's thread, and a callback of the hub would wait for its next poll."""
        return p(*args, **kwargs)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Tell the pool before anything else: the broker gives our unacked messages to others now."""
        self.pool.connection_lost()
        with warnings.catch_warnings():  # Celery announces a change of a default that we have set
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the acks of this context in one piece, where the connection can."""
        transport = getattr(self.connection and self.connection.connection, "transport", None)
        if not isinstance(transport, BufferedTransport):
            yield
            return
        try:
            with transport.together():
                yield
        except OSError as error:  # the loop finds out by itself; what was not acked is delivered again
            logger.warning("acks could not be sent: %r", error)

    def flush_events(self) -> None:
        """Send buffered events now; for a shutdown, when the hub does not turn any more."""
        if self.event_dispatcher:
            self.event_dispatcher.flush()
