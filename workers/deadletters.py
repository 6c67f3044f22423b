"""Reads the dead-letter queue: what no worker will run ends failed, and is kept for an operator."""

from __future__ import annotations

import logging
import threading
import time

from celery import Celery
from kombu import Consumer, Message

from tasks.brokerlink import broker_errors
from tasks.celery import dead_letter_queue
from tasks.deadletters import DeadLetters
from tasks.errors import StoreUnavailable
from tasks.letters import read_letter, text_of
from tasks.store import JobStore

logger = logging.getLogger(__name__)

HELD = 10  # letters at once, of those that wait for the store or for a job's last worker
TURN = 1.0  # s between two looks at those
RECONNECT = 1.0  # s between attempts


class LetterReader:
    """Reads in a thread with a broker connection of its own, so that Celery's loop never waits for the store.

    A letter is acked when the store has it: whatever dies before, another reader gets it again.

    Args:
        app: the worker's Celery app.

    Attributes:
        thread: reads until stopped; the owner starts it.
    """

    def __init__(self, app: Celery) -> None:
        self.thread = threading.Thread(target=self.run, name="dead letters", daemon=True)
        self._app = app
        self._letters = DeadLetters(JobStore.from_url(app.stoker_settings.store_url, connections=1))
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let it end within a turn; what is not acked goes back."""
        self._stopped.set()

    def run(self) -> None:
        """Read until stopped, on one connection after the other."""
        errors = broker_errors(self._app.connection_for_read())
        while not self._stopped.is_set():
            try:
                self._read()
            except errors as error:
                logger.info("the dead-letter queue cannot be read, connecting again: %s", error)
            except Exception:  # whatever a letter holds, the next ones are read
                logger.exception("a dead letter could not be handled, trying again")
            self._stopped.wait(RECONNECT)

    def _read(self) -> None:
        held: list[Message] = []
        with (
            self._app.connection_for_read(heartbeat=self._app.conf.broker_heartbeat) as connection,
            Consumer(
                connection,
                [dead_letter_queue()],
                on_message=held.append,
                on_decode_error=lambda message, error: held.append(message),
                prefetch_count=HELD,
            ),
        ):
            while not self._stopped.is_set():
                try:
                    connection.drain_events(timeout=TURN)
                except TimeoutError:
                    connection.heartbeat_check()
                held[:] = self._handle(held)

    def _handle(self, held: list[Message]) -> list[Message]:
        """Bury what can be buried; gives the rest."""
        rest: list[Message] = []
        for n, message in enumerate(held):
            now = time.time()
            body = text_of(message.body)
            try:
                done = self._letters.bury(read_letter(body, message.headers, now), body, now)
            except StoreUnavailable as error:
                logger.info("dead letters wait for the store: %s", error)
                return rest + held[n:]
            if done:
                message.ack()
            else:
                rest.append(message)
        return rest
