"""The loop of a model host: forms the next batch at the moment the model is free.

It knows neither Celery nor pipes: messages come by `deliver`, from any thread, and go by `emit`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping

from workers.messages import (
    Cancel,
    Done,
    Dropped,
    FromHost,
    Item,
    Jobs,
    Outcome,
    Recall,
    Started,
    Stop,
    ToHost,
)
from workers.queueing import Batcher, Limits
from workers.runner import Runner


class ModelLoop:
    """Runs batches until it is told to stop.

    Args:
        runners: by endpoint name.
        limits: how batches are formed, by endpoint name.
        emit: takes what the host has to say.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        runners: Mapping[str, Runner],
        limits: Mapping[str, Limits],
        emit: Callable[[FromHost], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runners = runners
        self._emit = emit
        self._clock = clock
        self._limits = limits
        self._batcher = Batcher()
        self._items: dict[int, Item] = {}
        self._inbox: queue.SimpleQueue[ToHost] = queue.SimpleQueue()
        self._stopping = False
        self._canceled: set[int] = set()

    def deliver(self, message: ToHost) -> None:
        """Take a message; from any thread."""
        if isinstance(message, Cancel):  # at once: the loop itself is in the model
            self._canceled.update(message.numbers)
        else:
            self._inbox.put(message)

    def is_canceled(self, number: int) -> bool:
        """Whether the run of that number shall end early; from any thread."""
        return number in self._canceled

    def run(self) -> None:
        """Run batches; returns after `Stop`, when what had not started was dropped."""
        while True:
            self._read()
            if self._stopping:
                self._drop(self._batcher.clear())
                return
            if batch := self._batcher.take(self._clock()):
                self._run([self._items.pop(number) for number in batch])

    def _read(self) -> None:
        """Handle all messages that are there; wait for one if there is nothing to run."""
        due = self._batcher.next_due()
        timeout = None if due is None else max(0.0, due - self._clock())
        try:
            self._handle(self._inbox.get(timeout=timeout))
            while True:
                self._handle(self._inbox.get_nowait())
        except queue.Empty:
            pass

    def _handle(self, message: ToHost) -> None:
        if isinstance(message, Jobs):
            for item in message.items:
                self._add(item)
        elif isinstance(message, Recall):
            self._drop([number for number in message.numbers if self._batcher.remove(number)])
        elif isinstance(message, Stop):
            self._stopping = True

    def _add(self, item: Item) -> None:
        if item.endpoint not in self._runners:  # its file has gone since the worker read it
            error = f"This worker has no model for endpoint {item.endpoint}"
            self._emit(Done([Outcome(item.number, error=error)], run_time=0.0, at=time.time()))
            return
        self._items[item.number] = item
        if item.alone:
            self._batcher.add_alone(item.number, self._clock())
            return
        runner = self._runners[item.endpoint]
        limits = self._limits[item.endpoint]
        self._batcher.add(item.number, runner.group(item), limits, self._clock(), runner.cost(item))

    def _drop(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._items[number]
        if numbers:
            self._emit(Dropped(numbers))

    def _run(self, items: list[Item]) -> None:
        self._emit(Started([item.number for item in items], at=time.time()))
        started = self._clock()
        outcomes = self._runners[items[0].endpoint].run(items)
        self._emit(Done(outcomes, run_time=self._clock() - started, at=time.time()))
        self._canceled.difference_update(item.number for item in items)
