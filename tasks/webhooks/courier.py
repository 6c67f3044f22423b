"""Sends messages to clients' servers, and decides what becomes of those that do not arrive."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from tasks.errors import DatabaseUnavailable, OutgoingError, OutgoingRefused
from tasks.guard.client import Answer, Guard
from tasks.guard.rules import shown_url
from tasks.webhooks.hook import Webhook
from tasks.webhooks.message import body
from tasks.webhooks.outbox import DELIVERED, FAILED, PENDING, UNWANTED, Outbox, job_of
from tasks.webhooks.schedule import pause
from tasks.webhooks.signing import Rotation, secret_of, signed
from tasks.webhooks.turns import Turns

logger = logging.getLogger(__name__)

SEND_WITHIN = 15.0  # s
NO_DATABASE = 30.0  # s; pause when nobody can tell which secret counts
NO_TURN = (5.0, 15.0)  # s; pause, of a random length, of a client whose server is slow


class Courier:
    """Sends one message at a time; any number of threads may use it.

    Args:
        outbox: the messages.
        guard: sends requests.
        secret: of the installation.
        rotation: tells which of a client's secrets counts.
        delays: seconds between the attempts.
    """

    def __init__(
        self,
        outbox: Outbox,
        guard: Guard,
        secret: str,
        rotation: Callable[[str], Rotation],
        delays: Sequence[int],
    ) -> None:
        self._outbox = outbox
        self._guard = guard
        self._secret = secret
        self._rotation = rotation
        self._delays = delays
        self._turns = Turns()

    def deliver(self, name: str, attempts: int) -> None:
        """Send a message, unless somebody else does, and record how that went.

        Args:
            name: of the message.
            attempts: that were made before, as `Outbox.take` said.

        Raises:
            StoreUnavailable: the message will be due again.
        """
        record = self._outbox.begin(name, attempts)
        if not record:
            return
        hook, owner = Webhook.from_text(record["hook"]), record["owner"]
        if self._outbox.is_gone(owner, hook.url):
            self._outbox.end(name, UNWANTED, error="the server has said that it wants no more messages")
            return
        try:
            numbers = self._rotation(owner).numbers(time.time())
        except DatabaseUnavailable as error:
            logger.warning("message %s waits for the database: %s", name, error)
            self._outbox.end(name, PENDING, due=NO_DATABASE, attempts=attempts)
            return
        began = time.monotonic()
        if not self._turns.begin(owner, began):
            self._outbox.end(name, PENDING, due=random.uniform(*NO_TURN), attempts=attempts)
            return
        try:
            self._send(name, record, hook, [secret_of(self._secret, owner, number) for number in numbers])
        finally:
            self._turns.end(owner, began, time.monotonic())

    def _send(self, name: str, record: dict[str, str], hook: Webhook, secrets: Sequence[bytes]) -> None:
        content = body(job_of(name), record)
        headers = {"Content-Type": "application/json"} | signed(name, int(time.time()), content, secrets)
        answer, reason, final = None, "", False
        try:
            answer = self._guard.post(hook.url, headers, content, SEND_WITHIN)
            reason = f"its server answers with status {answer.status}"
        except OutgoingError as error:
            reason, final = str(error), isinstance(error, OutgoingRefused)
        made = int(record["attempts"])
        if answer is not None and 200 <= answer.status < 300:
            self._outbox.end(name, DELIVERED, status=answer.status)
            logger.info("message %s to %s: delivered", name, shown_url(hook.url))
            return
        if answer is not None and answer.status == HTTPStatus.GONE:
            self._outbox.set_gone(record["owner"], hook.url)
            self._outbox.end(name, UNWANTED, status=answer.status, error=reason)
        else:
            self._again(name, made, answer, reason, final)
        logger.warning("message %s to %s, attempt %d: %s", name, shown_url(hook.url), made, reason)

    def _again(self, name: str, made: int, answer: Answer | None, reason: str, final: bool) -> None:
        wish = None if answer is None else answer.retry_after
        seconds = None if final else pause(made, self._delays, random.random(), wish)
        self._outbox.end(
            name,
            FAILED if seconds is None else PENDING,
            due=seconds,
            status=None if answer is None else answer.status,
            error=reason,
        )
