"""The worker's end of the model host.

A host takes messages by `send`, gives messages to a callback, and its last message is always `Died`.
`ProcessHost` is the real one; the tests have one that is a thread, for which the same holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from workers.messages import Died, FromHost, Started, ToHost
from workers.pipe import Pipe, packed

logger = logging.getLogger(__name__)

SOON = 2.0  # ms in which an outcome must follow its start, to be passed on with it


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
        self._pipe = Pipe(ours)
        self._readable = _poll(self._pipe.fileno())
        self._unsent: deque[bytes] = deque()  # what the pipe did not take at once
        self._more = threading.Semaphore(0)
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
        """Give it a message; never blocks: what a full pipe does not take is left to a thread."""
        data = packed(message)
        try:
            if self._unsent or (data := self._pipe.send_some(data)):
                self._unsent.append(data)
                self._more.release()
        except OSError:
            pass  # it died; the reader says so

    def kill(self) -> None:
        """End it by force, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while self._more.acquire() and self._unsent:
                self._pipe.send_all(self._unsent[0])
                self._unsent.popleft()  # now `send` may send again

    def _read(self) -> None:
        """Pass on messages until the process has ended: a grandchild may hold the socket open."""
        try:
            either = _poll(self._pipe.fileno(), self._pidfd)
            while self._pidfd not in dict(either.poll()):
                self._pass_on()
            while self._readable.poll(0):
                self._pass_on()
        except (EOFError, OSError):
            pass
        self.kill()
        status = self._process.wait()
        self._more.release()
        self._pipe.close()
        os.close(self._pidfd)
        self._on_message(Died(_in_words(status)))

    def _pass_on(self) -> None:
        """Pass on what is there; a start waits for its outcome, so that one turn takes both."""
        messages = self._pipe.receive()
        if messages and isinstance(messages[-1], Started) and self._readable.poll(SOON):
            with contextlib.suppress(EOFError, OSError):  # the next to receive is told again
                messages += self._pipe.receive()
        for message in messages:
            self._on_message(message)


def _poll(*fds: int) -> select.poll:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll


def _in_words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
