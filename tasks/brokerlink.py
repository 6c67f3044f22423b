"""One connection to the broker, for publishing.

`RabbitLink` sends without waiting, and hears of each message later; `RedisLink` sends all in one round trip.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import amqp
from amqp import spec
from celery import Celery
from kombu import Connection
from kombu.exceptions import KombuError

from tasks.envelope import CONTENT_ENCODING, CONTENT_TYPE
from tasks.errors import BrokerUnavailable
from tasks.frames import publication
from tasks.pieces import in_pieces
from tasks.postings import Posting, Unconfirmed

logger = logging.getLogger(__name__)

CONNECT_WITHIN = 1.0  # s, and for each answer while a connection is set up
ANSWER_WITHIN = 5.0  # s; a broker that stands still for longer is given up
CLOSE_WITHIN = 1.0  # s

Lost = Callable[[Sequence[Posting], Exception], None]
"""Takes what the broker did not take, and why."""


def connect(celery: Celery, **transport_options: Any) -> Connection:
    """Connect to the broker; the caller closes.

    Raises:
        BrokerUnavailable: it takes no connection.
    """
    connection = celery.connection_for_write(transport_options=transport_options)
    try:
        return connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_WITHIN)
    except broker_errors(connection) as error:
        raise BrokerUnavailable(f"the message broker cannot be reached: {error}") from error


def broker_errors(connection: Connection) -> tuple[type[Exception], ...]:
    """Name what may be raised when something is wrong with the broker."""
    # A refused password is a channel error to py-amqp.
    return (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)


class RabbitLink:
    """A connection with one channel in confirm mode, and a thread that reads what the broker says.

    Attributes:
        alive: whether it can be used.
    """

    def __init__(self, celery: Celery, lost: Lost) -> None:
        self._celery = celery
        self._lost = lost
        self._declared: set[str] = set()
        self._unconfirmed = Unconfirmed()
        self._blocked = False
        self._sending = threading.Lock()
        connection = connect(celery)
        self._connection: amqp.Connection = connection.connection
        self._socket = self._connection.sock
        try:
            self._channel = self._open_channel(connection)
        except broker_errors(connection) as error:
            self._connection.collect()
            raise BrokerUnavailable(f"the message broker does not answer: {error}") from error
        self.alive = True
        self._heard = time.monotonic()
        self._reader = threading.Thread(target=self._read, name="confirms", daemon=True)
        self._reader.start()

    def _open_channel(self, connection: Connection) -> Any:
        self._socket.settimeout(CONNECT_WITHIN)
        channel = connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._answer_close = channel._callbacks[spec.Channel.Close]
        channel._callbacks[spec.Channel.Close] = self._on_channel_close
        self._connection.on_blocked = lambda reason: self._set_blocked(True)
        self._connection.on_unblocked = lambda: self._set_blocked(False)
        self._socket.settimeout(None)
        return channel

    def declare(self, queue: str) -> None:
        """Make sure that the broker has this queue.

        It is done on a connection of its own: a broker that refuses closes the channel, and the messages of
        other queues would be lost with it.

        Raises:
            BrokerUnavailable: the broker refused, or takes no messages at the moment.
        """
        if self._blocked:
            raise BrokerUnavailable("the message broker takes no messages: its memory or its disk is full")
        if queue in self._declared:
            return
        with connect(self._celery) as connection:
            connection.connection.sock.settimeout(ANSWER_WITHIN)
            try:
                self._celery.amqp.queues[queue](connection.default_channel).declare()
            except broker_errors(connection) as error:
                connection.collect()
                raise BrokerUnavailable(f"the message broker has no queue {queue}: {error}") from error
        self._declared.add(queue)

    def send(self, postings: Sequence[Posting]) -> None:
        """Send messages to queues that were declared; each is settled, or lost, later."""
        with self._sending:
            alive = self.alive
            if alive:
                self._unconfirmed.sent(postings)
                try:
                    for piece in in_pieces(self._frames(postings)):
                        self._connection.transport.write(piece)
                except Exception:  # py-amqp raises all kinds when the connection ends under it
                    self._cut()  # and the reader gives up what was sent
        if not alive:
            self._lost(postings, ConnectionError("the connection was closed"))

    def _frames(self, postings: Sequence[Posting]) -> Iterator[bytes]:
        # Not `basic_publish`: that reads from the connection, which is what the other thread does.
        for posting in postings:
            message = posting.message
            body = message.body.encode(CONTENT_ENCODING)
            yield from publication(
                self._channel.channel_id, message.queue, message.packed, body, self._connection.frame_max
            )

    def check(self, since: float) -> None:
        """Give the connection up if nothing was heard on it since then, by the monotonic clock."""
        if self._heard < since and not self._blocked:
            self._cut()

    def close(self) -> None:
        """End the connection in good order; what is not confirmed by then is lost."""
        self.alive = False
        with suppress(Exception):
            self._connection.send_method(spec.Connection.Close, "BsBB", (0, "", 0, 0))
        self._reader.join(CLOSE_WITHIN)
        self._cut()

    def _cut(self) -> None:
        """End the connection at once: whoever reads or writes gets an error, and the reader clears up."""
        self.alive = False
        with suppress(Exception):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        reason: Exception = ConnectionError("the connection was closed")
        try:
            while self._connection.connected:
                self._connection.drain_events()
                self._heard = time.monotonic()
        except Exception as error:  # as above
            reason = error
        self._cut()
        with self._sending:  # whoever has it, gets an error now, and nothing can be sent from here on
            pass
        with suppress(Exception):
            self._connection.collect()
        rest = self._unconfirmed.take_all()
        if rest and isinstance(reason, amqp.ChannelError):
            # Only a message that is too large makes the broker close the channel.
            culprit = max(rest, key=lambda posting: posting.size)
            rest.remove(culprit)
            culprit.settle(BrokerUnavailable(f"the message broker refused the job: {reason}"))
        self._lost(rest, reason)

    def _on_channel_close(self, *reason: Any) -> None:
        """Let nothing follow the answer: the broker would end the connection, and not say why."""
        with self._sending:
            self.alive = False
        self._answer_close(*reason)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        unroutable = []
        for posting in self._unconfirmed.take(tag, multiple):
            if posting.unroutable:
                unroutable.append(posting)
            else:
                posting.settle()
        if unroutable:
            self._declared.difference_update(posting.message.queue for posting in unroutable)
            self._lost(unroutable, BrokerUnavailable("its queue is gone"))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._lost(self._unconfirmed.take(tag, multiple), BrokerUnavailable("the broker refused the message"))

    def _on_return(self, error: Exception, exchange: str, queue: str, message: amqp.Message) -> None:
        """Note what the broker had no queue for; it confirms that nevertheless, after this."""
        posting = self._unconfirmed.find(message.properties["correlation_id"])
        if posting is not None:
            posting.unroutable = True

    def _set_blocked(self, blocked: bool) -> None:
        logger.warning("the message broker %s", "takes no messages" if blocked else "takes messages again")
        self._blocked = blocked


class RedisLink:
    """A connection to Redis as a broker, which has no confirms: what it has answered it has.

    Attributes:
        alive: whether it can be used.
    """

    def __init__(self, celery: Celery, lost: Lost) -> None:
        self._celery = celery
        self._lost = lost
        self._declared: set[str] = set()
        self._connection = connect(
            celery, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=CONNECT_WITHIN
        )
        self._producer = celery.amqp.Producer(self._connection, auto_declare=False)
        self.alive = True

    def declare(self, queue: str) -> None:
        """Make sure that the broker has this queue.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if not self.alive:
            raise BrokerUnavailable("the connection to the message broker was lost")
        if queue not in self._declared:
            try:
                self._celery.amqp.queues[queue](self._producer.channel).declare()
            except broker_errors(self._connection) as error:
                self.close()
                raise BrokerUnavailable(f"the message broker does not answer: {error}") from error
            self._declared.add(queue)

    def send(self, postings: Sequence[Posting]) -> None:
        """Send messages in one round trip; each is settled or lost when this returns."""
        try:
            with self._producer.batch():
                for posting in postings:
                    self._send(posting)
        except broker_errors(self._connection) as error:
            self.close()
            self._lost(postings, error)
        else:
            for posting in postings:
                posting.settle()

    def _send(self, posting: Posting) -> None:
        message = posting.message
        self._producer.publish(
            message.body,
            exchange="",
            routing_key=message.queue,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            headers=message.headers,
            **message.properties,
        )

    def check(self, since: float) -> None:
        """Nothing to do: a round trip ends by itself."""

    def close(self) -> None:
        """End the connection."""
        self.alive = False
        self._connection.release()


Link = RabbitLink | RedisLink


def open_link(celery: Celery, lost: Lost) -> Link:
    """Connect to the broker of `celery`.

    Args:
        celery: the app of `create_celery`.
        lost: called with what was to be sent and did not arrive, for all that is known.

    Raises:
        BrokerUnavailable: it takes no connection.
    """
    with celery.connection_for_write() as unconnected:
        confirms = unconnected.transport.driver_type == "amqp"
    return RabbitLink(celery, lost) if confirms else RedisLink(celery, lost)
