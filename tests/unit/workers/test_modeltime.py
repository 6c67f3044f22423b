"""How the time of a model is shared out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.modeltime import ModelTime


def test_the_jobs_of_a_batch_share_its_time() -> None:
    time = ModelTime()
    for number in range(4):
        time.started(number, 100.0)
    assert [time.ended(number, 102.0) for number in range(4)] == [0.5] * 4


def test_a_job_takes_less_while_others_run_beside_it() -> None:
    time = ModelTime()
    time.started(1, 10.0)
    time.started(2, 11.0)
    assert time.ended(1, 13.0) == 1 + 1
    assert time.ended(2, 14.0) == 1 + 1


def test_a_job_that_never_ran_takes_nothing_and_a_model_at_rest_costs_nobody() -> None:
    time = ModelTime()
    assert time.ended(1, 5.0) == 0
    time.started(2, 10.0)
    assert time.ended(2, 11.0) == 1
    time.started(3, 50.0)
    assert time.ended(3, 50.5) == 0.5


def test_a_clock_that_goes_back_gives_no_time_back() -> None:
    time = ModelTime()
    time.started(1, 10.0)
    time.started(2, 9.0)
    assert time.ended(1, 12.0) == time.ended(2, 12.0) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 10)), max_size=40))
def test_shares_add_up_to_the_time_for_which_anything_ran(steps: list[tuple[int, float]]) -> None:
    time, now, running, busy, shared = ModelTime(), 0.0, set[int](), 0.0, 0.0
    for number, seconds in [*steps, *((n, 1.0) for n in range(6))]:
        now += seconds
        busy += seconds if running else 0
        if number in running:
            running.remove(number)
            shared += time.ended(number, now)
        elif len(steps):
            running.add(number)
            time.started(number, now)
    for number in running:
        shared += time.ended(number, now)
    assert shared == pytest.approx(busy)
