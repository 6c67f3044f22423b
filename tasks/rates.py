"""How often a client calls, counted in Redis by the library `limits`, for all API processes together."""

from __future__ import annotations

import time

import redis
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from tasks.errors import StoreUnavailable

WINDOW = 60  # s


class Rates:
    """Counts requests by client and endpoint: exactly those of the last `window` seconds."""

    def __init__(self, pool: redis.ConnectionPool, window: int = WINDOW) -> None:
        """Count in the Redis of `pool`. Opens no connection.

        Args:
            pool: connections to Redis.
            window: seconds that a limit is about.
        """
        self.window = window
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix="rate", wrap_exceptions=True)
        self._limiter = MovingWindowRateLimiter(storage)

    def hit(self, client: str, endpoint: str, limit: int) -> float | None:
        """Count a request, in one round trip; one that is refused does not count.

        Args:
            client: id of the client.
            endpoint: name of the endpoint.
            limit: requests that are allowed in the window.

        Returns:
            None: allowed. Else the seconds after which the next one is.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        item = RateLimitItemPerSecond(limit, self.window, namespace="")
        try:
            if self._limiter.hit(item, client, endpoint):
                return None
            return max(0.0, self._limiter.get_window_stats(item, client, endpoint).reset_time - time.time())
        except StorageError as error:
            raise StoreUnavailable(f"the job store does not answer: {error.storage_error}") from error
