"""Which jobs run next, together. Pure: time is an argument, in seconds of any monotonic clock."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from tasks.jobs import Priority

PASSES = {Priority.HIGH: 0, Priority.NORMAL: 8, Priority.BULK: 32}
"""So often in a row jobs of a higher priority go first while one of this priority waits."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits.

    Attributes:
        group: only jobs of equal groups share a batch.
        limits: how batches of its endpoint are formed.
        since: when it came.
        cost: its share of `max_batch_cost`.
        priority: of those that could go, the higher ones do; see `PASSES`.
        lane: where it runs; a lane in which a batch is running takes more jobs of the same group only.
    """

    group: Hashable
    limits: Limits
    since: float
    cost: float = 1.0
    priority: Priority = Priority.NORMAL
    lane: Hashable = None


@dataclass(frozen=True, slots=True)
class Running:
    """What runs in a lane already."""

    group: Hashable
    size: int
    cost: float


@dataclass(slots=True)
class _Candidate:
    """What a group would run now, led by the job that comes first."""

    first: Waiting
    size: int = 0
    cost: float = 0.0
    members: list[int] = field(default_factory=list)
    full: bool = False
    since: float = math.inf

    def offer(self, number: int, waiting: Waiting) -> None:
        """Take a job along if it fits. One that does not fit makes the batch full and leads a later one."""
        if self.full:
            return
        fits = self.size < waiting.limits.max_batch_size
        fits = fits and (self.size == 0 or self.cost + waiting.cost <= waiting.limits.max_batch_cost)
        if fits:
            self.members.append(number)
            self.since = min(self.since, waiting.since)
            self.size += 1
            self.cost += waiting.cost
        self.full = not fits or self.size == waiting.limits.max_batch_size

    def due(self) -> float:
        """When it runs, though nobody joins."""
        if not self.members:
            return math.inf
        return self.since if self.full else self.since + self.first.limits.max_wait


class Batcher:
    """Forms batches of jobs of one group: by priority, and of equal ones the oldest first.

    So no job starves: of its priority it becomes the oldest, and a priority that was passed over too often
    goes first once.
    """

    def __init__(self) -> None:
        self._waiting: dict[Priority, dict[int, Waiting]] = {priority: {} for priority in Priority}
        self._passed = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, number: int, waiting: Waiting) -> None:
        """Let job `number` wait."""
        self._waiting[waiting.priority][number] = waiting

    def remove(self, number: int) -> Waiting | None:
        """Take job `number` out; None if it does not wait."""
        removed = [found for jobs in self._waiting.values() if (found := jobs.pop(number, None))]
        return removed[0] if removed else None

    def clear(self) -> list[int]:
        """Take all jobs out and list them."""
        numbers = [number for number, _ in self._in_order()]
        for jobs in self._waiting.values():
            jobs.clear()
        return numbers

    def take(self, now: float, running: Mapping[Hashable, Running] | None = None) -> dict[int, Waiting]:
        """Take the next batch: full, or with its oldest job waiting for `max_wait`; else nothing.

        Of the groups that are ready, the one whose first job comes first goes.

        Args:
            now: the time.
            running: lanes in which jobs run that more may join. The first job that waits for such a lane
                either joins or keeps all others out until the lane is empty.
        """
        for candidate in self._candidates(running or {}):
            if now >= candidate.due():
                self._count(candidate.first.priority)
                taken = {number: self.remove(number) for number in candidate.members}
                return {number: waiting for number, waiting in taken.items() if waiting}
        return {}

    def next_due(self) -> float:
        """When `take` will give a batch though no job is added and nothing runs; infinite if none waits."""
        return min((candidate.due() for candidate in self._candidates({})), default=math.inf)

    def _in_order(self) -> Iterator[tuple[int, Waiting]]:
        """Give all jobs, those that go first first."""
        overdue = [p for p in Priority if PASSES[p] and self._passed[p] >= PASSES[p]]
        for priority in [*reversed(overdue), *(p for p in Priority if p not in overdue)]:
            yield from self._waiting[priority].items()

    def _candidates(self, running: Mapping[Hashable, Running]) -> list[_Candidate]:
        """What each group would run now, by its first job."""
        candidates: dict[Hashable, _Candidate] = {}
        leaders: dict[Hashable, Hashable] = {}  # lane in which jobs run -> group of the first that waits
        for number, waiting in self._in_order():
            here = running.get(waiting.lane)
            if here is not None:
                leader = leaders.setdefault(waiting.lane, waiting.group)
                if not leader == here.group == waiting.group:
                    continue
            if waiting.group not in candidates:
                load = (here.size, here.cost) if here else ()
                candidates[waiting.group] = _Candidate(waiting, *load)
            candidates[waiting.group].offer(number, waiting)
        return list(candidates.values())

    def _count(self, served: Priority) -> None:
        """Count how often each priority was passed over."""
        self._passed[served] = 0
        for priority, jobs in self._waiting.items():
            if PASSES[priority] > PASSES[served]:
                self._passed[priority] = self._passed[priority] + 1 if jobs else 0
