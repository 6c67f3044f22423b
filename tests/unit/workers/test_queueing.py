"""Which jobs run next, together."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tasks.jobs import Priority
from workers.queueing import PASSES, Batcher, Limits, Running, Waiting


class batcher(Batcher):  # noqa: N801 - reads like the function that it stands for
    """A batcher whose groups have their limits by name."""

    def __init__(self, **limits):
        super().__init__()
        self.limits = {name: Limits(*values) for name, values in limits.items()}

    def add(self, number, group, now, cost=1.0, priority=Priority.NORMAL, lane=None):
        super().add(number, Waiting(group, self.limits[group], now, cost, priority, lane))

    def take(self, now, running=None):
        return list(super().take(now, running))


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
    assert len(b) == 0 and b.next_due() == math.inf


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


def test_removed_job_never_runs():
    b = batcher(a=(2, 0.0))
    b.add(1, "a", now=0)
    b.add(2, "a", now=0)
    assert b.remove(1) and not b.remove(1)
    assert b.take(0) == [2]


def test_clear_gives_all_jobs_back():
    b = batcher(a=(2, 5.0))
    b.add(1, "a", now=0)
    b.add(2, "a", now=0)
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


def test_higher_priority_goes_first_and_of_equals_the_oldest():
    b = batcher(a=(1, 0.0))
    for number, priority in enumerate([Priority.BULK, Priority.NORMAL, Priority.HIGH, Priority.HIGH]):
        b.add(number, "a", now=0, priority=priority)
    assert [b.take(0) for _ in range(4)] == [[2], [3], [1], [0]]


def test_lower_priorities_fill_up_a_batch():
    b = batcher(a=(3, 0.0))
    b.add(1, "a", now=0, priority=Priority.BULK)
    b.add(2, "a", now=0, priority=Priority.HIGH)
    b.add(3, "a", now=0, priority=Priority.NORMAL)
    assert b.take(0) == [2, 3, 1]


def test_priority_that_was_passed_over_often_enough_goes_first_once():
    b = batcher(a=(1, 0.0), b=(1, 0.0))
    b.add(0, "a", now=0, priority=Priority.BULK)
    b.add(1, "b", now=0, priority=Priority.NORMAL)
    order = []
    for number in range(2, 2 + PASSES[Priority.BULK] + 2):
        b.add(number, "a", now=number, priority=Priority.HIGH)
        order += b.take(now=number)
    assert order.index(1) == PASSES[Priority.NORMAL]
    assert order.index(0) <= PASSES[Priority.BULK]


@given(
    st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_no_job_starves_whatever_comes_after_it(priorities, size):
    b = batcher(a=(size, 0.0))
    for number, priority in enumerate(priorities):
        b.add(number, "a", now=0, priority=priority)
    waiting = set(range(len(priorities)))
    turns = 0
    while waiting:
        for extra in range(size):  # more high ones than can ever run
            b.add(1000 + turns * size + extra, "a", now=turns, priority=Priority.HIGH)
        waiting -= set(b.take(now=turns))
        turns += 1
        assert turns <= (PASSES[Priority.BULK] + 1) * len(priorities) + len(priorities)


def open_lane(group="a", size=1, cost=1.0):
    return {"lane": Running(group, size, cost)}


def test_jobs_join_what_runs_while_there_is_room():
    b = batcher(a=(3, 0.0))
    for number in range(4):
        b.add(number, "a", now=0, lane="lane")
    assert b.take(0, open_lane(size=1)) == [0, 1]
    assert b.take(0, open_lane(size=3)) == []
    assert b.take(0) == [2, 3]


def test_join_keeps_to_the_cost_that_is_left():
    b = batcher(a=(8, 0.0, 10.0))
    b.add(1, "a", now=0, cost=4.0, lane="lane")
    b.add(2, "a", now=0, cost=4.0, lane="lane")
    assert b.take(0, open_lane(cost=5.0)) == [1]
    assert b.take(0, open_lane(cost=9.0)) == []


def test_first_job_of_another_group_keeps_younger_ones_out_until_the_lane_is_empty():
    b = batcher(a=(8, 0.0), b=(8, 0.0), c=(8, 0.0))
    b.add(1, "b", now=0, lane="lane")
    b.add(2, "a", now=1, lane="lane")
    b.add(3, "c", now=2)  # another lane
    assert b.take(2, open_lane("a")) == [3]
    assert b.take(2, open_lane("a")) == []
    assert b.take(2) == [1]


def test_job_of_another_group_does_not_join_though_it_fits():
    b = batcher(a=(8, 0.0), b=(8, 0.0))
    b.add(1, "a", now=0, lane="lane")
    b.add(2, "b", now=0, lane="lane")
    assert b.take(0, open_lane("a")) == [1]
    assert b.take(0, open_lane("a", size=2)) == []
