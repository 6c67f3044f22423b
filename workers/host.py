"""The worker's end of the model host.

A host takes messages by `send`, gives messages to a callback, and its last message is always `Died`.
`ProcessHost` is the real one; the tests have one that is a thread, for which the same holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Protocol

from workers.messages import Died, FromHost, ToHost

logger = logging.getLogger(__name__)


class Host(Protocol):
    """What a worker needs of a model host."""

    @property
    def pid(self) -> int:
        """Process id of the host."""

    def send(self, message: ToHost) -> None:
        """Give it a message; never blocks."""

    def kill(self) -> None:
        """End it by force."""


class ProcessHost:
    """A model host in a child process, spawned as a program of its own.

    The calling thread must live as long as the host: Linux ties the child's life to it (PDEATHSIG).

    Args:
        queues: names of the queues whose models it loads.
        on_message: is called from one thread with each message in order.
    """

    def __init__(self, queues: Sequence[str], on_message: Callable[[FromHost], None]) -> None:
        ours, theirs = socket.socketpair()
        self._on_message = on_message
        self._connection = Connection(ours.detach())
        self._outbox: queue.SimpleQueue[ToHost | None] = queue.SimpleQueue()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.hostchild", str(theirs.fileno()), str(os.getpid()), *queues],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))},
                start_new_session=True,  # a group of its own: what it starts is killed with it
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        threading.Thread(target=self._write, name="host-writer", daemon=True).start()
        threading.Thread(target=self._read, name="host-reader", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the host."""
        return self._process.pid

    def send(self, message: ToHost) -> None:
        """Give it a message; never blocks: a full pipe must not stop the caller."""
        self._outbox.put(message)

    def kill(self) -> None:
        """End it by force, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:
                return  # it died; the reader says so

    def _read(self) -> None:
        """Pass on messages until the process has ended: a grandchild may hold the socket open."""
        try:
            while self._pidfd not in wait([self._connection, self._pidfd]):
                self._on_message(self._connection.recv())
            while self._connection.poll():
                self._on_message(self._connection.recv())
        except (EOFError, OSError):
            pass
        self.kill()
        status = self._process.wait()
        self._outbox.put(None)
        os.close(self._pidfd)
        self._on_message(Died(_in_words(status)))


def _in_words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
