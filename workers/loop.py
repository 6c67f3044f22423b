"""The loop of a model host: gives the model its next jobs at the moment it is free for them.

It knows neither Celery nor pipes: messages come by `deliver`, from any thread, and go by `emit`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.finisher import Finisher
from workers.messages import (
    Cancel,
    Done,
    Dropped,
    FromHost,
    Item,
    Jobs,
    Leaving,
    Outcome,
    Recall,
    Returned,
    Started,
    Stop,
    ToHost,
)
from workers.queueing import Batcher, Limits, Running, Waiting
from workers.runner import Runner
from workers.session import Session

OVERTIME = 5.0  # s beyond max_runtime until a continuous model, which is asked between steps, counts as hung


@dataclass(frozen=True)
class Service:
    """One endpoint as a host serves it.

    Attributes:
        runner: runs its batches.
        limits: how they are formed.
        session: where its jobs run if the model is a continuous one; endpoints of one model share it.
    """

    runner: Runner
    limits: Limits
    session: Session | None = None


class ModelLoop:
    """Runs jobs until it is told to stop.

    Args:
        services: by endpoint name.
        emit: takes what the host has to say, from any thread.
        worn_out: is asked after each outcome with the number of jobs so far; gives why the host shall be
            replaced, or None.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        emit: Callable[[FromHost], None],
        worn_out: Callable[[int], str | None] = lambda jobs: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._sessions = list({id(s.session): s.session for s in services.values() if s.session}.values())
        self._emit = emit
        self._worn_out = worn_out
        self._clock = clock
        self._changed = threading.Condition()  # guards all that follows
        self._arrived: dict[int, Item] = {}
        self._batcher = Batcher()
        self._items: dict[int, Item] = {}
        self._started: set[int] = set()
        self._canceled: set[int] = set()
        self._finisher = Finisher()
        self._jobs = 0
        self._leaving: str | None = None
        self._stopping = False

    def deliver(self, message: ToHost) -> None:
        """Take a message; from any thread, also while the model works."""
        with self._changed:
            match message:
                case Jobs():
                    self._arrived |= {item.number: item for item in message.items}
                case Recall():
                    self._drop([number for number in message.numbers if self._remove(number)])
                case Cancel():
                    self._canceled |= self._started.intersection(message.numbers)
                case Stop():
                    self._stopping = True
            self._changed.notify()

    def is_canceled(self, number: int) -> bool:
        """Whether the run of that number shall end early; from any thread."""
        return number in self._canceled

    def run(self) -> None:
        """Run jobs; returns when what runs has ended after `Stop`, or when the host is worn out."""
        while (batch := self._next()) is not None:
            self._start(batch)
            for session in self._sessions:
                if session.running:
                    self._step(session)
        self._finisher.wait()

    # -- what comes next, under the lock: a job is either dropped or started

    def _next(self) -> list[tuple[Item, Waiting]] | None:
        """Wait until there is something to do; gives the jobs to start; None at the end."""
        with self._changed:
            while True:
                busy = self._busy()
                if self._stopping or self._leaving:
                    if busy:
                        return []
                    self._end()
                    return None
                self._sort_in()
                taken = self._batcher.take(self._clock(), busy)
                if taken or busy:
                    return self._to_start(taken, busy)
                due = self._batcher.next_due()
                self._changed.wait(None if due == math.inf else max(0.0, due - self._clock()))

    @property
    def _more(self) -> bool:
        """Whether jobs wait."""
        with self._changed:
            return bool(self._arrived or len(self._batcher))

    def _busy(self) -> dict[Hashable, Running]:
        return {id(session): running for session in self._sessions if (running := session.running)}

    def _sort_in(self) -> None:
        """Let the jobs that came wait among the others."""
        while self._arrived:
            number = next(iter(self._arrived))
            item = self._arrived.pop(number)
            service = self._services.get(item.endpoint)
            if service is None:  # its file has gone since the worker read it
                self._done(
                    [Outcome(number, error=f"This worker has no model for endpoint {item.endpoint}")], 0.0
                )
                continue
            self._items[number] = item
            self._batcher.add(number, self._waiting(item, service))

    def _waiting(self, item: Item, service: Service) -> Waiting:
        lane, now = id(service.session) if service.session else None, self._clock()
        if item.alone:
            return Waiting(("alone", item.number), Limits(), now, priority=item.priority, lane=lane)
        runner, limits = service.runner, service.limits
        group = (lane or item.endpoint, runner.group(item))
        return Waiting(group, limits, now, runner.cost(item), item.priority, lane)

    def _to_start(
        self, taken: dict[int, Waiting], busy: dict[Hashable, Running]
    ) -> list[tuple[Item, Waiting]]:
        lanes = {waiting.lane for waiting in taken.values()} & busy.keys()
        together = len(taken) + sum(busy[lane].size for lane in lanes)
        batch = [(self._items.pop(number), waiting) for number, waiting in taken.items()]
        self._started.update(taken)
        by_time: dict[float, list[int]] = {}
        for item, _ in batch:
            service = self._services[item.endpoint]
            allowed = service.runner.max_runtime + (OVERTIME if service.session else 0.0)
            by_time.setdefault(allowed, []).append(item.number)
        for allowed, numbers in by_time.items():
            self._emit(Started(numbers, time.time(), allowed, together))
        return batch

    def _remove(self, number: int) -> bool:
        """Take a job out that has not started; False if it has."""
        if self._arrived.pop(number, None):
            return True
        return bool(self._batcher.remove(number) and self._items.pop(number))

    def _drop(self, numbers: list[int]) -> None:
        if numbers:
            self._emit(Dropped(numbers))

    def _end(self) -> None:
        """Drop what waits; a host that is replaced is not asked what it still had."""
        if self._leaving:
            self._emit(Leaving(self._leaving))
            return
        numbers = [*self._batcher.clear(), *self._arrived]
        self._items.clear()
        self._arrived.clear()
        self._drop(numbers)

    # -- the work, without the lock

    def _start(self, batch: Sequence[tuple[Item, Waiting]]) -> None:
        if not batch:
            return
        service = self._services[batch[0][0].endpoint]
        if service.session is None:
            items = [item for item, _ in batch]
            began = self._clock()
            answers = service.runner.run(items)
            took = self._clock() - began
            self._count(items)
            self._finisher.finish(
                lambda: self._say_done(service.runner.outcomes(items, answers), took), beside=self._more
            )
            return
        for item, waiting in batch:
            runner = self._services[item.endpoint].runner
            if outcome := service.session.admit(runner, item, waiting.group, waiting.cost):
                self._done([outcome], service.session.take_time())

    def _step(self, session: Session) -> None:
        outcomes, again = session.step()
        if outcomes:
            self._done(outcomes, session.take_time())
        if again:
            self._forget(again)
            self._emit(Returned(again))

    def _done(self, outcomes: list[Outcome], run_time: float) -> None:
        self._count(outcomes)
        self._say_done(outcomes, run_time)

    def _count(self, jobs: Sequence[object]) -> None:
        self._jobs += len(jobs)
        self._leaving = self._leaving or self._worn_out(self._jobs)

    def _say_done(self, outcomes: list[Outcome], run_time: float) -> None:
        self._forget(outcome.number for outcome in outcomes)
        self._emit(Done(outcomes, run_time, at=time.time()))

    def _forget(self, numbers: Iterable[int]) -> None:
        over = set(numbers)
        with self._changed:
            self._started -= over
            self._canceled -= over
