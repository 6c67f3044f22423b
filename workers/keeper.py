"""Keeps one model host there: starts it, ends what takes too long, and knows why it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.host import Host
from workers.messages import FromHost, Stop, ToHost
from workers.verdict import Cause

RESPAWN = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # s before the next host, by deaths without an outcome between
MAX_IDLE_DEATHS = 8  # of hosts in a row that started no batch
CANCEL_GRACE = 5.0  # s that a canceled job has to stop by itself before its host is killed


class Keeper:
    """The one model host of a worker, and the next one when it dies. Times are of the monotonic clock.

    Args:
        spawn: starts a host that tells its messages to the given callback.
        on_message: takes them, from another thread.
    """

    def __init__(
        self,
        spawn: Callable[[Callable[[FromHost], None]], Host],
        on_message: Callable[[FromHost], None],
    ) -> None:
        self._spawn, self._on_message = spawn, on_message
        self._host: Host | None = None
        self._deaths = 0  # since the last outcome
        self._idle_deaths = 0  # since a batch was started
        self._spawn_at: float | None = 0.0
        self._batch_deadline: float | None = None
        self._cancel_deadline: float | None = None
        self._cause = Cause.ITSELF
        self.ready = False  # whether this host has loaded its models

    @property
    def alive(self) -> bool:
        """Whether there is a host."""
        return self._host is not None

    @property
    def pid(self) -> int:
        """Process id of the host; 0 between two."""
        return self._host.pid if self._host else 0

    def next_due(self) -> float | None:
        """When `act` has something to do."""
        dues = (self._spawn_at, self._batch_deadline, self._cancel_deadline)
        return min((due for due in dues if due is not None), default=None)

    def act(self, now: float) -> None:
        """Start the next host, or kill one that takes too long, if it is time."""
        if _is_due(self._spawn_at, now):
            self._spawn_at, self.ready = None, False
            self._host = self._spawn(self._on_message)
        elif _is_due(self._batch_deadline, now):
            self._kill(Cause.TIMEOUT)
        elif _is_due(self._cancel_deadline, now):
            self._kill(Cause.CANCEL)

    def send(self, message: ToHost) -> bool:
        """Give the host a message; False if there is none now."""
        if self._host is None:
            return False
        self._host.send(message)
        return True

    def batch_started(self, max_runtime: float) -> None:
        """Let the host be killed unless the batch is done in `max_runtime` seconds."""
        self._batch_deadline = time.monotonic() + max_runtime
        self._idle_deaths = 0

    def batch_done(self) -> None:
        """Note that the host works."""
        self._batch_deadline = self._cancel_deadline = None
        self._deaths = 0
        if self._cause is Cause.TIMEOUT:  # it was done just before the kill: what runs now is not to blame
            self._cause = Cause.CANCEL

    def cancel_asked(self) -> None:
        """Let the host be killed unless its batch is done in time, since a job of it is canceled."""
        if self._cancel_deadline is None:
            self._cancel_deadline = time.monotonic() + CANCEL_GRACE

    def died(self) -> Cause:
        """Note that the host is gone, plan the next one; gives why it is gone."""
        cause, self._cause = self._cause, Cause.ITSELF
        self._host = self._batch_deadline = self._cancel_deadline = None
        self._spawn_at = time.monotonic() + RESPAWN[min(self._deaths, len(RESPAWN) - 1)]
        self._deaths += 1
        self._idle_deaths += 1
        return cause

    @property
    def hopeless(self) -> bool:
        """Whether one host after the other dies before it has started anything: no job is to blame."""
        return self._idle_deaths >= MAX_IDLE_DEATHS

    def stop(self) -> None:
        """Start no more hosts, and let this one finish its batch; one that loads listens to nobody."""
        self._spawn_at = None
        if self.ready:
            self.send(Stop())
        else:
            self.kill()

    def kill(self) -> None:
        """End the host by force."""
        if self._host:
            self._host.kill()

    def _kill(self, cause: Cause) -> None:
        self._batch_deadline = self._cancel_deadline = None
        self._cause = cause
        self.kill()


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now
