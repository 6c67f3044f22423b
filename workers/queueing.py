"""Which jobs run next, together. Pure: time is an argument, in seconds of any monotonic clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """How batches of one endpoint are formed.

    Attributes:
        max_batch_size: jobs in one batch at most.
        max_wait: seconds that the oldest job waits for company.
        max_batch_cost: what the jobs of one batch may cost together; one job may always cost more.
    """

    max_batch_size: int = 1
    max_wait: float = 0.0
    max_batch_cost: float = math.inf


@dataclass(frozen=True)
class _Waiting:
    group: Hashable
    limits: Limits
    since: float
    cost: float


@dataclass
class _Candidate:
    """The batch that a group would form now, led by its oldest job."""

    first: _Waiting
    members: list[int] = field(default_factory=list)
    cost: float = 0.0
    full: bool = False

    def offer(self, number: int, waiting: _Waiting) -> None:
        """Take a job along if it fits. One that does not fit makes the batch full and leads a later one."""
        if self.full:
            return
        if self.members and self.cost + waiting.cost > self.first.limits.max_batch_cost:
            self.full = True
            return
        self.members.append(number)
        self.cost += waiting.cost
        self.full = len(self.members) == self.first.limits.max_batch_size

    def due(self) -> float:
        """When it runs, though nobody joins."""
        return self.first.since if self.full else self.first.since + self.first.limits.max_wait


class Batcher:
    """Forms batches of jobs of one group, oldest first: so no job starves."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, number: int, group: Hashable, limits: Limits, now: float, cost: float = 1.0) -> None:
        """Let job `number` wait.

        Args:
            number: the job.
            group: only jobs of equal groups share a batch.
            limits: how batches of this group are formed.
            now: the time.
            cost: its share of `max_batch_cost`.
        """
        self._waiting[number] = _Waiting(group, limits, now, cost)

    def add_alone(self, number: int, now: float) -> None:
        """Let job `number` wait for a batch of its own."""
        self._waiting[number] = _Waiting(("alone", number), Limits(), now, 1.0)

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
        for candidate in self._candidates():
            if now >= candidate.due():
                for number in candidate.members:
                    del self._waiting[number]
                return candidate.members
        return []

    def next_due(self) -> float | None:
        """When `take` will give a batch though no job is added; None if none waits."""
        return min((candidate.due() for candidate in self._candidates()), default=None)

    def _candidates(self) -> list[_Candidate]:
        """The batch that each group would form now, by age of its oldest job."""
        candidates: dict[Hashable, _Candidate] = {}
        for number, waiting in self._waiting.items():
            candidates.setdefault(waiting.group, _Candidate(waiting)).offer(number, waiting)
        return list(candidates.values())
