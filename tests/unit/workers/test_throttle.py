"""Progress on its way to the store."""

import math

from tasks.jobs import Progress
from workers.progress import Throttle


def test_first_report_passes_at_once_and_the_next_waits_for_the_interval():
    throttle = Throttle(interval=0.1)
    throttle.offer(1, Progress(1), now=0)
    assert throttle.take(0) == [(1, Progress(1))]
    throttle.offer(1, Progress(2), now=0.01)
    assert throttle.take(0.01) == [] and throttle.next_due() == 0.1
    assert throttle.take(0.1) == [(1, Progress(2))]


def test_of_many_reports_only_the_latest_is_written():
    throttle = Throttle(interval=0.1)
    written = []
    for step in range(1000):
        throttle.offer(1, Progress(step / 10), now=step / 1000)
        written += throttle.take(step / 1000)
    assert 9 <= len(written) <= 10
    assert throttle.forget(1) == Progress(99.9)


def test_runs_do_not_hold_each_other_back():
    throttle = Throttle(interval=0.1)
    throttle.offer(1, Progress(1), now=0)
    throttle.take(0)
    throttle.offer(2, Progress(5), now=0.01)
    assert throttle.take(0.01) == [(2, Progress(5))]


def test_nothing_is_due_when_nothing_is_held_back():
    throttle = Throttle()
    assert throttle.next_due() == math.inf
    assert throttle.forget(7) is None
