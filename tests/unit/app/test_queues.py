"""How long a new job would wait, and how often the store is asked."""

from __future__ import annotations

from typing import Any

from app.queues import Queues
from tasks.jobs import Priority, WorkerInfo


class Store:
    """Counts how often it is asked; while it is, other requests go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.queues = Queues(self)  # type: ignore[arg-type]
        self.seen_meanwhile: list[float] = []

    def workers(self, queue: str) -> list[WorkerInfo]:
        self.asked += 1
        self.seen_meanwhile.append(self.queues.wait(queue, Priority.NORMAL))
        return [WorkerInfo("w", seconds_per_job=2.0)]

    def queue_length(self, queue: str, *rest: Any) -> int:
        return 3


def test_one_request_looks_and_the_others_take_what_was_seen() -> None:
    store = Store()
    assert store.queues.wait("q", Priority.NORMAL) == 6.0
    assert store.queues.wait("q", Priority.NORMAL) == 6.0
    assert (store.asked, store.seen_meanwhile) == (1, [0.0])
