"""The list of one's jobs, on a real Redis."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import history
from tasks.history import list_jobs
from tasks.jobs import Job, JobState, Result
from tasks.records import UNFINISHED_LIFETIME
from tasks.store import JobStore

NOW = 1_800_000_000.0


@pytest.fixture
def store(redis_server):
    return JobStore.from_url(redis_server.socket_url)


def add(store, name, accepted, owner="me", endpoint="echo", deadline=NOW + 60):
    job = Job(name, endpoint, "echo_cpu", {}, owner, accepted, deadline, 30.0)
    store.add(job, 10_000)
    return job


def finish(store, job, state=JobState.DONE, lifetime=30.0):
    store.start([job], "w@host#1", NOW)
    store.finish([(job, Result(state, job.accepted, NOW), {})])


def pages(store, owner="me", **wanted):
    """Turn the pages to the end; gives the ids of each."""
    cursor, found = None, []
    while True:
        page = list_jobs(store, owner, NOW, cursor=cursor, **wanted)
        found.append([job.id for job in page.jobs])
        if page.next is None:
            return found
        assert history.CURSOR.fullmatch(page.next)
        cursor = page.next


def test_jobs_are_listed_newest_first_with_what_is_known_of_them(store):
    one, _ = add(store, "a", 1.0), add(store, "b", 2.0, endpoint="other")
    finish(store, one)
    newest, oldest = list_jobs(store, "me", NOW, limit=10).jobs
    assert (newest.id, newest.endpoint, newest.state, newest.started) == (
        "b",
        "other",
        JobState.QUEUED,
        None,
    )
    assert (oldest.id, oldest.state, oldest.accepted, oldest.started) == ("a", JobState.DONE, 1.0, NOW)


def test_jobs_of_others_are_not_listed(store):
    add(store, "a", 1.0, "me")
    add(store, "b", 2.0, "you")
    assert pages(store, limit=10) == [["a"]]
    assert pages(store, "nobody", limit=10) == [[]]


def test_a_job_that_comes_meanwhile_moves_no_page(store):
    for number in range(4):
        add(store, str(number), float(number))
    first = list_jobs(store, "me", NOW, limit=2)
    add(store, "new", 9.0)
    second = list_jobs(store, "me", NOW, limit=2, cursor=first.next)
    assert [job.id for page in (first, second) for job in page.jobs] == ["3", "2", "1", "0"]


def test_filters_and_pages_go_together(store):
    for number in range(6):
        job = add(store, str(number), float(number), endpoint="ab"[number % 2])
        if number < 4:
            finish(store, job, JobState.FAILED)
    assert pages(store, limit=1, state=JobState.FAILED, endpoint="a") == [["2"], ["0"], []]
    assert pages(store, limit=10, state=JobState.QUEUED) == [["5", "4"]]


def test_a_rare_kind_of_job_is_looked_for_in_portions(store, monkeypatch):
    monkeypatch.setattr("tasks.history.LOOKED_AT", 3)
    finish(store, add(store, "0", 0.0))
    for number in range(1, 6):
        add(store, str(number), float(number))
    assert pages(store, limit=5, state=JobState.DONE) == [[], [], ["0"]]


def test_forgotten_jobs_leave_the_list(store, redis_server):
    for name in "abc":
        add(store, name, 1.0)
    with redis_server.client() as client:
        client.delete("job:b")
        assert pages(store, limit=10) == [["c", "a"]]
        assert client.zcard("jobs:me") == 2
        assert 0 < client.ttl("jobs:me") <= UNFINISHED_LIFETIME


def test_a_job_past_its_deadline_is_listed_as_what_it_becomes(store):
    add(store, "a", 1.0, deadline=NOW - 1)
    assert list_jobs(store, "me", NOW, limit=10).jobs[0].state is JobState.LAPSED
    add(store, "b", 2.0, deadline=NOW - 1)
    assert pages(store, limit=10, state=JobState.QUEUED) == [[]]


def test_of_each_key_the_newest_jobs_are_remembered(store, monkeypatch, redis_server):
    monkeypatch.setattr("tasks.room.JOBS_LISTED", 3)
    for number in range(5):
        add(store, str(number), float(number))
    assert pages(store, limit=10) == [["4", "3", "2"]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
def test_pages_hold_every_job_once_also_those_of_one_moment(store, redis_server, moments, limit):
    redis_server.flush()
    for number, moment in enumerate(moments):
        add(store, f"{number:02d}", float(moment))
    listed = [job_id for page in pages(store, limit=limit) for job_id in page]
    assert listed == sorted(listed, key=lambda i: (moments[int(i)], i), reverse=True)
    assert len(listed) == len(moments)


def test_a_page_costs_the_same_however_many_jobs_there_are(store):
    def cost() -> float:
        begin = time.perf_counter()
        for _ in range(50):
            list_jobs(store, "me", NOW, limit=20)
        return time.perf_counter() - begin

    for number in range(20):
        add(store, str(number), float(number))
    few = cost()
    for number in range(20, 4000):
        add(store, str(number), float(number))
    assert cost() < 5 * few + 0.2  # reading all 4000 would take 100 times as long
