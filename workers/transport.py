"""RabbitMQ's connection of a worker, with fewer system calls.

py-amqp reads each frame in three calls to `recv` between two to `settimeout`, and writes each ack by itself:
sixteen system calls for a message, at each of which Celery's thread lets others have the interpreter and
waits to get it back. Here a call reads what is there, and one ack answers for many messages.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import unpack_from
from typing import Any

from amqp.exceptions import RecoverableConnectionError
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import pyamqp

CHUNK = 16 * 1024  # bytes that are read at once, if they are there
FRAME_HEAD, FRAME_END = 7, 1  # bytes; AMQP 0-9-1, section 4.2.3


class BufferedTransport(TCPTransport):
    """A TCP connection that reads ahead."""

    def _setup_transport(self) -> None:
        super()._setup_transport()
        self._quick_recv: Callable[[int], bytes] = self._receive
        self._flags = 0
        self._drained = False  # whether the last read took all that was there

    def _receive(self, wanted: int) -> bytes:
        size = max(wanted, CHUNK)
        data: bytes = self.sock.recv(size, self._flags)
        self._drained = len(data) < size
        return data

    @contextmanager
    def having_timeout(self, timeout: float | None) -> Iterator[Any]:
        """Set a timeout for what follows, unless the next frame is here and nothing will be waited for."""
        if self.has_frame():
            yield self.sock
        elif timeout == 0 and self.sock.gettimeout() is None:
            self._flags = socket.MSG_DONTWAIT  # for a call less before and after
            try:
                yield self.sock
            finally:
                self._flags = 0
        else:
            with super().having_timeout(timeout) as sock:
                yield sock

    @property
    def empty(self) -> bool:
        """Whether there is nothing to handle until the socket tells of more."""
        return self._drained and not self.has_frame()

    def has_frame(self) -> bool:
        """Whether a whole frame was read that nobody has taken."""
        buffer = self._read_buffer
        if len(buffer) < FRAME_HEAD + FRAME_END:
            return False
        (size,) = unpack_from(">I", buffer, 3)
        return len(buffer) >= FRAME_HEAD + int(size) + FRAME_END


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


class Connection(pyamqp.Connection):
    """An AMQP connection; what comes with TLS is read as py-amqp does it."""

    Channel = Channel

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle the next method that comes.

        py-amqp begins to wait anew at each frame, also at the broker's heartbeats: who waits for a second
        while one comes every second waits for ever, sends none, and loses the connection.

        Args:
            timeout: s; None: without end.

        Raises:
            TimeoutError: none came in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self.blocking_read(until if until is None else max(0.0, until - time.monotonic())):
            pass

    def Transport(  # noqa: N802 - py-amqp calls it so
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        socket_settings: Any = None,
        **options: Any,
    ) -> Any:
        """Connect to `host`; times in seconds."""
        transport = SSLTransport if ssl else BufferedTransport
        return transport(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            socket_settings=socket_settings,
            **options,
        )


class Transport(pyamqp.Transport):
    """What kombu takes for the URLs that begin with amqp:// in a worker: see `workers/main.py`.

    It handles all that has come before the loop waits again. kombu handles one message and asks the loop for
    another turn, but the loop waits for the socket first, which does not tell of what was read ahead.
    """

    Connection = Connection

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Read whenever the socket has something, or what waited for an answer has left something."""
        super().register_with_event_loop(connection, loop)

        def on_tick() -> None:
            if not connection.connected:
                loop.on_tick.discard(on_tick)
            elif isinstance(connection.transport, BufferedTransport) and connection.transport.has_frame():
                self.on_readable(connection, loop)

        loop.on_tick.add(on_tick)

    def on_readable(self, connection: Any, loop: Any) -> None:
        """Handle all that is there.

        Raises:
            RecoverableConnectionError: the connection is lost.
        """
        try:
            while connection.connected:
                connection.drain_events(timeout=0)
                if isinstance(connection.transport, BufferedTransport) and connection.transport.empty:
                    return
        except TimeoutError:
            return
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            raise
        raise RecoverableConnectionError("the connection was closed")
