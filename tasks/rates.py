"""How often a client calls, counted in the job store, for all API processes together.

key                           type  what                                                lifetime
requests:<client>:<endpoint>  list  when its requests came, oldest first, in µs         the window
"""

from __future__ import annotations

from tasks.store import JobStore

WINDOW = 60  # s

_HIT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local begin = now - ARGV[2] * 1000000
for _ = 1, 2 do
  local oldest = redis.call('LINDEX', KEYS[1], 0)
  if oldest and tonumber(oldest) <= begin then redis.call('LPOP', KEYS[1]) end
end
local last = redis.call('LINDEX', KEYS[1], -ARGV[1])
if last and tonumber(last) > begin then return last - begin end
redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
"""
"""requests; limit, window in s -> 0 if the request is allowed, else µs until the next one is.

Of the old ones two go with each request: so the list is hardly longer than what came in the window, and no
request has to wait until thousands have gone.
"""


class Rates:
    """Counts requests by client and endpoint: exactly those of the last `window` seconds.

    Args:
        store: where they are counted, by its clock.
        window: seconds that a limit is about.
    """

    def __init__(self, store: JobStore, window: int = WINDOW) -> None:
        self.window = window
        self._store = store

    def hit(self, client: str, endpoint: str, limit: int) -> float | None:
        """Count a request, in one round trip; one that is refused does not count.

        Args:
            client: id of the client.
            endpoint: name of the endpoint.
            limit: requests that are allowed in the window, at least 1.

        Returns:
            None: allowed. Else the seconds after which the next one is.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        key = f"requests:{client}:{endpoint}"
        (wait,) = self._store.run([(_HIT, [key], [limit, self.window])])
        return wait / 1_000_000 if wait else None
