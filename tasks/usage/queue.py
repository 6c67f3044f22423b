"""The list of jobs that have ended and are not in the database yet, for one reader at a time.

key             type    what                               lifetime
usage           list    a line for each job, oldest first  -
usage:lease     string  the process that reads             `LEASE`
usage:dropped   string  lines that found the list full     until it is asked for
"""

from __future__ import annotations

import uuid

from tasks.records import USAGE
from tasks.scripts import USAGE_DONE, USAGE_TAKE
from tasks.store import JobStore

LEASE = 5  # s; so long after its last question a reader counts as gone

_LEASE, _DROPPED = f"{USAGE}:lease", f"{USAGE}:dropped"


class UsageQueue:
    """The list, as one process sees it. Every method raises `StoreUnavailable` if Redis does not answer."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._name = uuid.uuid4().hex

    def take(self, most: int) -> list[str]:
        """Give the oldest lines, which stay until they are `done`; none while another process reads."""
        keys = [USAGE, _LEASE]
        (lines,) = self._store.run([(USAGE_TAKE, keys, [self._name, LEASE, most])])
        return lines or []

    def done(self, count: int) -> int:
        """Take the oldest `count` lines out, unless another process reads by now.

        Returns:
            How many lines were dropped since this was asked before.
        """
        keys = [USAGE, _LEASE, _DROPPED]
        (dropped,) = self._store.run([(USAGE_DONE, keys, [self._name, count])])
        return int(dropped)
