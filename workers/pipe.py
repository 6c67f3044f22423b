"""One end of the connection between worker and model host: messages, each behind its length."""

from __future__ import annotations

import pickle
import socket
import threading
from struct import Struct
from typing import Any

HEAD = Struct("!Q")  # bytes of the message that follows
CHUNK = 64 * 1024  # bytes that are read at once, if they are there


class Pipe:
    """Sends and receives messages over a connected socket, whose other end has a pipe, too."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._sending = threading.Lock()
        self._received = bytearray()

    def fileno(self) -> int:
        """The file descriptor, to be polled."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, message: Any) -> None:
        """Send a message; from any thread.

        Raises:
            OSError: the other end is closed.
        """
        data = packed(message)
        with self._sending:
            self._socket.sendall(data)

    def send_some(self, data: bytes) -> bytes:
        """Send as much of packed messages as goes without waiting; gives the rest.

        Raises:
            OSError: the other end is closed.
        """
        try:
            return data[self._socket.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data

    def send_all(self, data: bytes) -> None:
        """Send packed messages, or the rest of them.

        Raises:
            OSError: the other end is closed.
        """
        self._socket.sendall(data)

    def receive(self) -> list[Any]:
        """Wait until something comes; gives the messages that are whole with it.

        Raises:
            EOFError: the other end is closed.
            OSError: it was closed before it had read everything.
        """
        data = self._socket.recv(CHUNK)
        if not data:
            raise EOFError
        self._received += data
        messages, begin = [], 0
        with memoryview(self._received) as received:
            while (body := begin + HEAD.size) <= len(received):
                end = body + HEAD.unpack_from(received, begin)[0]
                if end > len(received):
                    break
                messages.append(pickle.loads(received[body:end]))
                begin = end
        del self._received[:begin]
        return messages


def packed(message: Any) -> bytes:
    """Give a message as it travels."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(body)) + body
