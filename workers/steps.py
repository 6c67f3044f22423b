"""What a worker's consumer does on each connection besides Celery's own steps."""

from __future__ import annotations

import time
from typing import Any

from celery import bootsteps
from celery.worker.consumer.events import Events
from celery.worker.consumer.tasks import Tasks

from tasks.celery import VISIBILITY_TIMEOUT, dead_letter_queue
from workers.deadletters import LetterReader

EVENTS_DELAY = 0.1  # s that an event for Flower waits for others
MOST_EVENTS = 1000  # that wait together


class GatheredEvents(bootsteps.StartStopStep):
    """Sends the events of jobs ten times a second: by themselves they would be a message for each turn."""

    requires = (Events,)

    def start(self, consumer: Any) -> None:
        """Begin, on each connection."""
        dispatcher = consumer.event_dispatcher
        due = False

        def flush() -> None:
            nonlocal due
            due = False
            dispatcher.flush()

        def on_buffered() -> None:
            nonlocal due
            if not due:
                due = True
                consumer.timer.call_after(EVENTS_DELAY, flush)

        if dispatcher.on_send_buffered:
            dispatcher.buffer_limit, dispatcher.on_send_buffered = MOST_EVENTS, on_buffered


class DeadLetters(bootsteps.StartStopStep):
    """Declares the dead-letter queue, without which RabbitMQ drops what dies, and has it read."""

    requires = (Tasks,)
    _reader: LetterReader | None = None

    def start(self, consumer: Any) -> None:
        """Begin, on each connection."""
        dead_letter_queue().bind(consumer.connection.default_channel).declare()
        self._reader = LetterReader(consumer.app)
        self._reader.thread.start()

    def stop(self, consumer: Any) -> None:
        """Stop reading: the connection is lost, or the worker ends."""
        if self._reader:
            self._reader.stop()

    def shutdown(self, consumer: Any) -> None:
        """Let the reader close its connection."""
        if self._reader:
            self._reader.thread.join(timeout=2)


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
        for tag in consumer.unacked:  # of the connection before: not by the timeout, but at once
            consumer.task_consumer.channel.qos.restore_by_tag(tag)
        consumer.unacked.clear()
        consumer.timer.call_repeatedly(VISIBILITY_TIMEOUT / 3, self._touch, (consumer,))

    def _touch(self, consumer: Any) -> None:
        """Let the time of all messages that are not acked begin anew."""
        channel = consumer.task_consumer and consumer.task_consumer.channel
        if not channel or not (tags := set(channel.qos._delivered) - channel.qos._dirty):
            return
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, dict.fromkeys(tags, time.time()), xx=True)
