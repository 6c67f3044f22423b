"""The list of jobs that have ended and are not in the database yet, for one reader at a time.

key             type    what                               lifetime
usage           list    a line for each job, oldest first  -
usage:lease     string  the process that reads             `LEASE`
usage:dropped   string  lines that found the list full     until it is asked for
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from tasks.records import USAGE
from tasks.store import JobStore

LEASE = 5  # s; so long after its last question a reader counts as gone

_LEASE, _DROPPED = f"{USAGE}:lease", f"{USAGE}:dropped"

_TAKE = """
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return false end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
"""
"""usage, its lease; who asks, lifetime of the lease, most -> the oldest; none if another one has the lease.
"""

_DONE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('LINDEX', KEYS[1], 0) ~= ARGV[3] then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
local dropped = redis.call('GET', KEYS[3])
redis.call('DEL', KEYS[3])
return tonumber(dropped or 0)
"""
"""usage, its lease, number of dropped ones; who asks, how many of the oldest are done, the first of them ->
how many were dropped since this was asked before.

The first one tells whether it ran already: it runs again if the connection broke before its answer came."""


class UsageQueue:
    """The list, as one process sees it. Every method raises `StoreUnavailable` if Redis does not answer."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._name = uuid.uuid4().hex

    def take(self, most: int) -> list[str]:
        """Give the oldest lines, which stay until they are `done`; none while another process reads."""
        keys = [USAGE, _LEASE]
        (lines,) = self._store.run([(_TAKE, keys, [self._name, LEASE, most])])
        return lines or []

    def done(self, lines: Sequence[str]) -> int:
        """Take lines out that `take` gave, unless another process reads by now.

        Returns:
            How many lines were dropped since this was asked before.
        """
        keys = [USAGE, _LEASE, _DROPPED]
        (dropped,) = self._store.run([(_DONE, keys, [self._name, len(lines), lines[0]])])
        return int(dropped)
