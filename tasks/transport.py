"""Connections to RabbitMQ that read ahead: what has come is read at once.

py-amqp reads each frame in three calls to `recv`. Connections with TLS are its own.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from struct import unpack_from
from typing import Any

from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import TRANSPORT_ALIASES, _transport_cache, pyamqp

CHUNK = 16 * 1024  # bytes that are read at once, if they are there
FRAME_HEAD = 7  # bytes; AMQP 0-9-1, section 4.2.3
FRAME_END = 0xCE


def register(transport: str = "tasks.transport:Transport") -> None:
    """Let kombu use this transport for amqp:// URLs."""
    TRANSPORT_ALIASES["amqp"] = transport
    _transport_cache.pop("amqp", None)  # it may have been asked for before


class BufferedTransport(TCPTransport):
    """A TCP connection that reads ahead."""

    _read_buffer: bytes
    _flags = 0  # of recv

    def _setup_transport(self) -> None:
        super()._setup_transport()
        self._quick_recv: Callable[[int], bytes] = self._receive
        self._drained = False  # whether the last read took all that was there

    def _receive(self, wanted: int) -> bytes:
        size = max(wanted, CHUNK)
        data: bytes = self.sock.recv(size, self._flags)
        self._drained = len(data) < size
        return data

    @property
    def empty(self) -> bool:
        """Whether there is nothing to handle until the socket tells of more."""
        return self._drained and not self.has_frame()

    def take_frame(self) -> tuple[int, int, bytes] | None:
        """Take a frame that was read already: its type, channel and payload; None: there is no whole one.

        Raises:
            UnexpectedFrame: it is none.
        """
        buffer: bytes = self._read_buffer
        if len(buffer) < FRAME_HEAD:
            return None
        kind, channel, size = unpack_from(">BHI", buffer)
        end = FRAME_HEAD + size
        if len(buffer) <= end:
            return None
        if buffer[end] != FRAME_END:
            raise UnexpectedFrame(f"a frame ends with {buffer[end]:#04x}")
        self._read_buffer = buffer[end + 1 :]
        return kind, channel, buffer[FRAME_HEAD:end]

    def has_frame(self) -> bool:
        """Whether a whole frame was read that nobody has taken."""
        buffer = self._read_buffer
        if len(buffer) < FRAME_HEAD:
            return False
        (size,) = unpack_from(">I", buffer, 3)
        return len(buffer) > FRAME_HEAD + int(size)


class Connection(pyamqp.Connection):
    """An AMQP connection; what comes with TLS is read as py-amqp does it."""

    Plain = BufferedTransport

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

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Handle the next frame; tells whether a method has come with it."""
        transport = self.transport
        frame = transport.take_frame() if isinstance(transport, BufferedTransport) else None
        return super().blocking_read(timeout) if frame is None else self.on_inbound_frame(frame)

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
        transport = SSLTransport if ssl else self.Plain
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
    """What kombu takes for the URLs that begin with amqp://.

    In an event loop it handles all that has come before the loop waits again. kombu handles one message and
    asks the loop for another turn, but the loop waits for the socket first, which does not tell of what was
    read ahead.
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
