from __future__ import annotations

import pytest

from tests.unit.models.conftest import Recorded
from workers.models.example import Example


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def example(clock):
    return Example(sleep=clock.sleep, clock=clock)


def job(duration=1.0, steps=4, counter=0, **kwargs):
    return Recorded(prompt="hi", sleep_duration=duration, progress_steps=steps, counter=counter, **kwargs)


def test_waits_as_long_as_asked_for(example, clock):
    example.predict([job(duration=2.5)])

    assert clock.now == pytest.approx(1002.5)


def test_reports_each_step(example):
    single = job(steps=4)

    example.predict([single])

    assert [percent for percent, _ in single.reports] == [0, 25, 50, 75, 100]
    assert single.reports[1] == (25, {"status": "step 1 of 4"})


def test_jobs_of_a_batch_wait_side_by_side(example, clock):
    jobs = [job(duration=duration, steps=duration) for duration in (3, 1, 2)]

    example.predict(jobs)

    assert clock.now == pytest.approx(1003)
    assert [single.reports[-1][0] for single in jobs] == [100, 100, 100]


def test_counts_the_requests_of_a_session(example):
    results = example.predict([job(counter=0), job(counter=41)])

    assert [result["counter"] for result in results] == [1, 42]
    assert "hi" in results[0]["text"]


def test_canceled_job_is_not_waited_for(example, clock):
    canceled, short = job(duration=60, steps=1, cancel_after=1), job(duration=1)

    example.predict([canceled, short])

    assert clock.now == pytest.approx(1001)
    assert [percent for percent, _ in canceled.reports] == [0]


def test_no_duration_needs_no_time(example, clock):
    example.predict([job(duration=0)])

    assert clock.now == 1000
