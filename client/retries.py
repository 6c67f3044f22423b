"""When a failed call is sent again, and when it is given up. Pure: chance is an argument."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from .errors import ConnectionFailed, ServerBusy, ServerError, StokerClientError, Timeout

_FIRST = 0.5  # s
_LONGEST = 8.0  # s
_LONGEST_ASKED_FOR = 60.0  # s of `Retry-After`: who is told to come back later is told to the caller
_GATEWAY = frozenset({502, 504})


@dataclass(frozen=True)
class Retries:
    """How failed calls are repeated: nothing runs twice by it, since each job has an `Idempotency-Key`.

    Attributes:
        most: how many failures in a row are followed by another try.
        chance: a number from 0 to 1, another one each time, so that clients do not come back all at once.
    """

    most: int = 6
    chance: Callable[[], float] = random.random

    def pause(self, failures: int, error: StokerClientError) -> float | None:
        """Give the seconds to wait before the next try; None: the error is final.

        Args:
            failures: how many calls in a row have failed, with this one.
            error: how the last one failed.
        """
        if failures > self.most or not is_passing(error):
            return None
        longest = min(_FIRST * 2.0 ** (failures - 1), _LONGEST)
        asked_for = error.retry_after if isinstance(error, ServerBusy) else None
        if asked_for is None:
            return longest * (0.5 + 0.5 * self.chance())
        if asked_for > _LONGEST_ASKED_FOR:
            return None
        return asked_for + 0.5 * longest * self.chance()


def is_passing(error: StokerClientError) -> bool:
    """Tell whether the same call may succeed in a moment."""
    if isinstance(error, ServerBusy):
        return error.code != "endpoint_disabled"
    if isinstance(error, ServerError):
        return error.status in _GATEWAY
    return isinstance(error, ConnectionFailed | Timeout)
