"""The order in which a worker empties its queues on Redis; on RabbitMQ each queue has its own prefetch."""

from __future__ import annotations

from kombu.utils.scheduling import round_robin_cycle

from tasks.jobs import Priority

TURNS = {Priority.NORMAL: 4, Priority.BULK: 16}
"""Every so many messages it is this priority's turn, whatever waits above it."""


class PriorityCycle(round_robin_cycle):
    """Asks the queues of high priority first, and each of the others now and then."""

    def __init__(self, it: list[str] | None = None) -> None:
        super().__init__(it)
        self._taken = 0

    def consume(self, n: int) -> list[str]:
        """Give the queues in the order in which they are asked for one message."""
        first = [p for p, turn in TURNS.items() if self._taken % turn == turn - 1]
        order = [*reversed(first), *(p for p in Priority if p not in first)]
        return sorted(self.items, key=lambda name: order.index(_priority(name)))[:n]

    def rotate(self, last_used: str) -> str:
        """Note where a message came from; of equal queues another one is asked first the next time."""
        self._taken += 1
        return str(super().rotate(last_used))


def _priority(name: str) -> Priority:
    suffix = name.rpartition(".")[2]
    return Priority(suffix) if suffix in (Priority.HIGH, Priority.BULK) else Priority.NORMAL
