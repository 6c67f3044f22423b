"""The job store as everybody uses it: all its parts on the same connections."""

from __future__ import annotations

from tasks.store.clients import Clients
from tasks.store.roster import Roster
from tasks.store.running import RunningJobs
from tasks.store.texts import Texts
from tasks.store.waiting import WaitingJobs


class JobStore(WaitingJobs, RunningJobs, Texts, Clients, Roster):
    """Jobs, their progress and results, session variables and workers, in Redis.

    Every method raises `StoreUnavailable` if Redis does not answer. Times are in seconds since 1970.
    """
