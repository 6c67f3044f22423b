"""Which jobs run next, together."""

from workers.queueing import Batcher, Limits


class batcher(Batcher):  # noqa: N801 - reads like the function that it stands for
    """A batcher whose groups have their limits by name."""

    def __init__(self, **limits):
        super().__init__()
        self.limits = {name: Limits(*values) for name, values in limits.items()}

    def add(self, number, group, now, cost=1.0):
        super().add(number, group, self.limits[group], now, cost)


def test_full_batch_runs_without_waiting():
    b = batcher(a=(2, 10.0))
    b.add(1, "a", now=0)
    assert b.take(now=0) == []
    b.add(2, "a", now=0)
    assert b.take(now=0) == [1, 2]


def test_partial_batch_runs_when_its_oldest_job_has_waited_max_wait():
    b = batcher(a=(8, 0.5))
    b.add(1, "a", now=0)
    b.add(2, "a", now=0.4)
    assert b.next_due() == 0.5
    assert b.take(now=0.49) == []
    assert b.take(now=0.5) == [1, 2]
    assert len(b) == 0 and b.next_due() is None


def test_batch_never_exceeds_its_limit_and_keeps_the_order():
    b = batcher(a=(3, 0.0))
    for number in range(7):
        b.add(number, "a", now=0)
    assert [b.take(0), b.take(0), b.take(0), b.take(0)] == [[0, 1, 2], [3, 4, 5], [6], []]


def test_groups_never_share_a_batch_and_the_older_ready_one_goes_first():
    b = batcher(a=(4, 0.0), b=(4, 0.0))
    b.add(1, "b", now=0)
    b.add(2, "a", now=0)
    b.add(3, "b", now=0)
    assert b.take(0) == [1, 3]
    assert b.take(0) == [2]


def test_ready_group_does_not_wait_for_an_older_one_that_is_not():
    b = batcher(slow=(4, 10.0), fast=(1, 0.0))
    b.add(1, "slow", now=0)
    b.add(2, "fast", now=1)
    assert b.take(1) == [2]
    assert b.take(9.9) == []
    assert b.take(10) == [1]


def test_job_that_must_run_alone_waits_for_nobody_and_takes_nobody_along():
    b = batcher(a=(4, 10.0))
    b.add(1, "a", now=0)
    b.add_alone(2, now=0)
    b.add(3, "a", now=0)
    assert b.take(0) == [2]
    assert b.take(10) == [1, 3]


def test_removed_job_never_runs():
    b = batcher(a=(2, 0.0))
    b.add(1, "a", now=0)
    b.add(2, "a", now=0)
    assert b.remove(1) and not b.remove(1)
    assert b.take(0) == [2]


def test_clear_gives_all_jobs_back():
    b = batcher(a=(2, 5.0))
    b.add(1, "a", now=0)
    b.add_alone(2, now=0)
    assert b.clear() == [1, 2]
    assert b.take(100) == []


def test_batch_costs_no_more_than_its_limit():
    b = batcher(a=(8, 10.0, 100))
    for number, cost in enumerate([40, 40, 30, 10], 1):
        b.add(number, "a", now=0, cost=cost)
    assert b.take(0) == [1, 2]  # full, since the next one does not fit
    assert b.take(9) == []
    assert b.take(10) == [3, 4]


def test_job_that_costs_more_than_the_limit_runs_alone_and_does_not_starve():
    b = batcher(a=(8, 1.0, 100))
    b.add(1, "a", now=0, cost=500)
    b.add(2, "a", now=0, cost=1)
    assert b.take(0) == [1]
    assert b.take(1) == [2]


def test_cheap_jobs_do_not_overtake_an_expensive_one_for_ever():
    b = batcher(a=(8, 0.0, 100))
    b.add(1, "a", now=0, cost=60)
    b.add(2, "a", now=0, cost=60)
    for number in range(3, 9):
        b.add(number, "a", now=0, cost=10)
    assert b.take(0) == [1]
    assert b.take(0) == [2, 3, 4, 5, 6]
