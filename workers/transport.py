"""RabbitMQ's connection of a worker, with fewer system calls.

py-amqp reads each frame in three calls to `recv` between two to `settimeout`, and writes each ack by itself:
sixteen system calls for a message, at each of which Celery's thread lets others have the interpreter and
waits to get it back. Here a call reads what is there (`tasks/transport.py`), and one ack answers for many
messages.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kombu.transport import pyamqp

from tasks import transport


class Channel(pyamqp.Channel):
    """A channel that answers for many deliveries at once, when told to. It must not `basic_get` meanwhile."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[int, None] = {}  # tags of deliveries that wait for their answer, oldest first
        self._held: list[int] | None = None
        super().__init__(*args, **kwargs)

    def _on_basic_deliver(self, consumer_tag: str, delivery_tag: int, *args: Any) -> None:
        if consumer_tag not in (self.no_ack_consumers or ()):
            self._open[delivery_tag] = None
        super()._on_basic_deliver(consumer_tag, delivery_tag, *args)

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **kwargs: Any) -> None:
        """Ack a delivery: see py-amqp; inside of `together` when that ends."""
        self._open.pop(delivery_tag, None)
        if self._held is None or multiple:
            super().basic_ack(delivery_tag, multiple=multiple, **kwargs)
        else:
            self._held.append(delivery_tag)

    def basic_reject(self, delivery_tag: int, requeue: bool, **kwargs: Any) -> None:
        """Reject a delivery: see py-amqp."""
        self._open.pop(delivery_tag, None)
        super().basic_reject(delivery_tag, requeue, **kwargs)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the acks of this context when it ends, in as few frames as can be."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            for tag, multiple in fewest_acks(held, next(iter(self._open), math.inf)):
                super().basic_ack(tag, multiple=multiple)


def fewest_acks(tags: Sequence[int], oldest: float) -> list[tuple[int, bool]]:
    """Give the acks that answer for all these deliveries, each with whether it does so for all before, too.

    Args:
        tags: what is to be acked.
        oldest: the first delivery of the channel that must not be.
    """
    done = [tag for tag in tags if tag < oldest]
    first = [(max(done), True)] if done else []
    return first + [(tag, False) for tag in tags if tag > oldest]


class BufferedTransport(transport.BufferedTransport):
    """Looks whether something has come with a call less before and after."""

    @contextmanager
    def having_timeout(self, timeout: float | None) -> Iterator[Any]:
        """Set a timeout for what follows."""
        if timeout == 0 and self.sock.gettimeout() is None:
            self._flags = socket.MSG_DONTWAIT  # not for gevent's sockets: they would wait all the same
            try:
                yield self.sock
            finally:
                self._flags = 0
        else:
            with super().having_timeout(timeout) as sock:
                yield sock


class Connection(transport.Connection):
    """A connection whose channels answer so."""

    Plain = BufferedTransport
    Channel = Channel


class Transport(transport.Transport):
    """What kombu takes for the URLs that begin with amqp:// in a worker: see `workers/main.py`."""

    Connection = Connection
