"""What the pool does on Celery's loop, without Celery."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.jobs import JobState
from workers.events import Answer
from workers.pool import BatchPool


class Request:
    """A request whose ack may fail as kombu's does where the broker has gone."""

    def __init__(self, acked: list[int], number: int, broken: bool) -> None:
        self._acked, self.id, self._broken = acked, number, broken

    def acknowledge(self) -> None:
        if self._broken:
            raise BrokenPipeError
        self._acked.append(self.id)

    def send_event(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture
def pool() -> Iterator[Any]:
    pool: Any = BatchPool.__new__(BatchPool)
    pool._answers, pool._requests = deque(), {}
    pool._wake = os.eventfd(0, os.EFD_NONBLOCK)
    pool._consumer = SimpleNamespace(together=nullcontext)
    yield pool
    os.close(pool._wake)


def is_woken(pool: Any) -> bool:
    return bool(select.select([pool._wake], [], [], 0)[0])


def test_answers_behind_one_that_cannot_be_given_are_not_forgotten(pool: Any) -> None:
    acked: list[int] = []
    for number in (1, 2):
        pool._requests[number] = Request(acked, number, broken=number == 1)
        pool._reply([Answer(number, state=JobState.DONE)])
    with pytest.raises(BrokenPipeError):
        pool._handle_answers()
    pool._requests[3] = Request(acked, 3, broken=False)
    pool._reply([Answer(3, state=JobState.DONE)])  # over the next connection
    assert is_woken(pool)
    pool._handle_answers()
    assert acked == [2, 3] and not is_woken(pool)
