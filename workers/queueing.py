"""Which jobs run next, together. Pure: time is an argument, in seconds of any monotonic clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How batches of one endpoint are formed.

    Attributes:
        max_batch_size: jobs in one batch at most.
        max_wait: seconds that the oldest job waits for company.
    """

    max_batch_size: int = 1
    max_wait: float = 0.0


@dataclass(frozen=True)
class _Waiting:
    group: str
    since: float
    alone: bool


class Batcher:
    """Forms batches of jobs of one group (an endpoint), oldest first.

    Args:
        limits: for each group.
    """

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        self._limits = limits
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, number: int, group: str, now: float, alone: bool = False) -> None:
        """Let job `number` wait; `alone`: in a batch of its own."""
        self._waiting[number] = _Waiting(group, now, alone)

    def remove(self, number: int) -> bool:
        """Take job `number` out; False if it does not wait."""
        return self._waiting.pop(number, None) is not None

    def clear(self) -> list[int]:
        """Take all jobs out and list them."""
        numbers = list(self._waiting)
        self._waiting.clear()
        return numbers

    def take(self, now: float) -> list[int]:
        """Take the next batch: full, or with its oldest job waiting for `max_wait`; else nothing.

        Of the groups that are ready, the one with the oldest job goes first.
        """
        for members in self._candidates():
            first = self._waiting[members[0]]
            limits = self._limits[first.group]
            if first.alone or len(members) == limits.max_batch_size or now >= first.since + limits.max_wait:
                for number in members:
                    del self._waiting[number]
                return members
        return []

    def next_due(self) -> float | None:
        """When `take` will give a batch though no job is added; None if none waits."""
        dues = [w.since + self._limits[w.group].max_wait for w in self._oldest()]
        return min(dues, default=None)

    def _oldest(self) -> list[_Waiting]:
        return [self._waiting[members[0]] for members in self._candidates()]

    def _candidates(self) -> list[list[int]]:
        """The batch that each group would form now, by age of its oldest job."""
        candidates: list[list[int]] = []
        open_batches: dict[str, list[int]] = {}
        for number, waiting in self._waiting.items():
            if waiting.alone:
                candidates.append([number])
                continue
            batch = open_batches.get(waiting.group)
            if batch is None:
                batch = open_batches[waiting.group] = []
                candidates.append(batch)
            if len(batch) < self._limits[waiting.group].max_batch_size:
                batch.append(number)
        return candidates
