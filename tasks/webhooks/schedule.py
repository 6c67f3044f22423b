"""When a message is sent again that did not arrive. Pure."""

from __future__ import annotations

from collections.abc import Sequence

JITTER = 0.2  # of a pause, at most, comes on top: what failed together does not come back together
LONGEST_WISH = 3600.0  # s; a server that asks for more (`Retry-After`) is asked sooner


def pause(attempts: int, delays: Sequence[int], chance: float, wish: float | None = None) -> float | None:
    """Give the seconds until the next attempt; None: there shall be no other.

    Args:
        attempts: that were made, at least 1.
        delays: seconds after the first attempt, the second, and so on.
        chance: a random number from 0 to 1.
        wish: seconds that the server asked for.
    """
    if attempts > len(delays):
        return None
    return max(delays[attempts - 1] * (1 + JITTER * chance), min(wish or 0.0, LONGEST_WISH))
