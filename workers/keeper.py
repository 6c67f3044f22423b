"""Keeps one model host there: starts it, ends it by force when it must be, and knows why it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from workers.host import Host
from workers.messages import FromHost, Stop, ToHost
from workers.verdict import Cause

RESPAWN = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # s before the next host, by deaths without an outcome between
MAX_IDLE_DEATHS = 8  # of hosts in a row that started no batch


class Keeper:
    """The one model host of a worker, and the next one when it dies. Times are of the monotonic clock.

    Args:
        spawn: starts a host that tells its messages to the given callback.
        on_message: takes them, from another thread.
        max_load_time: seconds after which a host that loads its models still is killed.
    """

    def __init__(
        self,
        spawn: Callable[[Callable[[FromHost], None]], Host],
        on_message: Callable[[FromHost], None],
        max_load_time: float,
    ) -> None:
        self._spawn, self._on_message = spawn, on_message
        self._max_load_time = max_load_time
        self._host: Host | None = None
        self._deaths = 0  # since the last outcome
        self._idle_deaths = 0  # since a batch was started
        self._spawn_at = 0.0
        self._loaded_by = math.inf
        self._cause = Cause.ITSELF
        self.ready = False  # whether this host has loaded its models

    @property
    def alive(self) -> bool:
        """Whether there is a host."""
        return self._host is not None

    @property
    def pid(self) -> int:
        """Process id of the host; 0 between two."""
        host = self._host  # other threads ask too
        return host.pid if host else 0

    def next_due(self) -> float:
        """When `act` has something to do."""
        return min(self._spawn_at, self._loaded_by)

    def act(self, now: float) -> None:
        """Start the next host, or kill one that takes too long to load, if it is time."""
        if self._spawn_at <= now:
            self._spawn_at, self._loaded_by = math.inf, now + self._max_load_time
            self._host = self._spawn(self._on_message)
        elif self._loaded_by <= now:
            self.kill(Cause.LOADING)

    def send(self, message: ToHost) -> None:
        """Give the host a message, if there is one."""
        if self._host is not None:
            self._host.send(message)

    def loaded(self) -> None:
        """Note that the host has loaded its models."""
        self.ready, self._loaded_by = True, math.inf

    def started(self) -> None:
        """Note that the host runs jobs."""
        self._idle_deaths = 0

    def worked(self) -> None:
        """Note that the host gave an outcome."""
        self._deaths = 0

    def leaves(self) -> None:
        """Note that the host ends in order."""
        self._cause = Cause.WORN

    def died(self) -> Cause:
        """Note that the host is gone, plan the next one; gives why it is gone."""
        cause, self._cause = self._cause, Cause.ITSELF
        self._host, self.ready, self._loaded_by = None, False, math.inf
        self._spawn_at = time.monotonic() + RESPAWN[min(self._deaths, len(RESPAWN) - 1)]
        if cause is not Cause.WORN:
            self._deaths += 1
            self._idle_deaths += 1
        return cause

    @property
    def hopeless(self) -> bool:
        """Whether one host after the other dies before it has started anything: no job is to blame."""
        return self._idle_deaths >= MAX_IDLE_DEATHS

    def stop(self) -> None:
        """Start no more hosts, and let this one finish what it runs; one that loads listens to nobody."""
        self._spawn_at = math.inf
        if self.ready:
            self.send(Stop())
        else:
            self.kill()

    def kill(self, cause: Cause = Cause.ITSELF) -> None:
        """End the host by force."""
        if self._host:
            self._cause = cause
            self._host.kill()
