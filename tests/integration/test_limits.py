"""Limits of clients, counted in a real Redis by several processes."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks.errors import QueueFull, StoreUnavailable, TooManyJobs
from tasks.jobs import Job, JobState, Priority, Result
from tasks.rates import Rates
from tasks.records import job_key, open_key
from tasks.store import JobStore
from tests.services import RedisServer, free_port, wait_until


@pytest.fixture
def stores(redis_server: RedisServer) -> Iterator[list[JobStore]]:
    """Two processes' views of one store."""
    stores = [JobStore.from_url(redis_server.socket_url) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def store(stores: list[JobStore]) -> JobStore:
    return stores[0]


def job(owner: str = "me", endpoint: str = "echo", seconds: float = 60, **values: Any) -> Job:
    now = time.time()
    fields: dict[str, Any] = {
        "queue": "q",
        "inputs": {},
        "accepted": now,
        "deadline": now + seconds,
        "result_lifetime": 60,
    }
    return Job(**{"id": uuid.uuid4().hex, "endpoint": endpoint, "owner": owner, **fields, **values})


def end(store: JobStore, ended: Job, state: JobState = JobState.DONE) -> None:
    now = time.time()
    assert store.finish([(ended, Result(state, ended.accepted, now), {})]) == [True]


# -- requests per minute


def test_all_processes_count_together_and_exactly(stores: list[JobStore]) -> None:
    rates = [Rates(store.connection_pool) for store in stores]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: rates[n % 2].hit("me", "echo", 30), range(100)))
    assert sum(answer is None for answer in answers) == 30
    assert all(0 < answer <= 60 for answer in answers if answer is not None)


def test_each_client_and_endpoint_has_a_count_of_its_own(store: JobStore) -> None:
    rates = Rates(store.connection_pool)
    assert rates.hit("me", "echo", 1) is None
    assert rates.hit("me", "echo", 1) is not None
    assert rates.hit("you", "echo", 1) is None
    assert rates.hit("me", "text", 1) is None


def test_who_waits_as_long_as_told_gets_on(store: JobStore) -> None:
    rates = Rates(store.connection_pool, window=1)
    begin = time.monotonic()
    accepted = 0
    while accepted < 9:
        wait = rates.hit("me", "echo", 3)
        if wait is None:
            accepted += 1
        else:
            assert wait <= 1
            time.sleep(wait + 0.002)
    # 3 at once, and from then on 3 in any second.
    assert 1.6 <= time.monotonic() - begin <= 4


def test_who_saves_requests_for_the_end_of_a_window_gets_no_more_of_them(store: JobStore) -> None:
    rates, limit = Rates(store.connection_pool, window=1), 10
    sent: list[float] = []
    answered: list[float] = []
    began = time.monotonic()
    while (now := time.monotonic() - began) < 2:
        saves = 0 < len(sent) < limit and now < 0.9
        if not saves and rates.hit("me", "echo", limit) is None:
            sent.append(began + now)
            answered.append(time.monotonic())
    assert len(sent) > limit
    # Between a request and the one that is `limit` places later there is always a whole window.
    pairs = zip(sent, answered[limit:], strict=False)
    assert all(later - earlier >= 1 for earlier, later in pairs)


def test_a_refused_request_does_not_count(store: JobStore) -> None:
    rates = Rates(store.connection_pool, window=1)
    assert rates.hit("me", "echo", 1) is None
    begin = time.monotonic()
    wait_until(lambda: rates.hit("me", "echo", 1) is None, 5, "the end of the window", interval=0.01)
    assert time.monotonic() - begin < 2.5


def test_counters_end_by_themselves(store: JobStore, redis_server: RedisServer) -> None:
    Rates(store.connection_pool).hit("me", "echo", 5)
    with redis_server.client() as client:
        (key,) = client.keys("*")
        assert key.startswith(b"rate:") and 0 < client.ttl(key) <= 60


def test_without_redis_nobody_is_let_through() -> None:
    rates = Rates(JobStore.from_url(f"redis://127.0.0.1:{free_port()}").connection_pool)
    with pytest.raises(StoreUnavailable):
        rates.hit("me", "echo", 5)


def test_counting_goes_on_after_a_restart_of_redis(store: JobStore, redis_server: RedisServer) -> None:
    rates = Rates(store.connection_pool)
    assert rates.hit("me", "echo", 2) is None
    redis_server.restart()
    assert rates.hit("me", "echo", 2) is None
    assert rates.hit("me", "echo", 2) is not None


# -- jobs at once


def test_no_more_jobs_than_allowed_however_many_try_at_once(stores: list[JobStore]) -> None:
    def add(number: int) -> bool:
        try:
            stores[number % 2].add(job(), 1000, 5)
        except TooManyJobs as error:
            assert error.limit == 5
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(60))) == 5
    assert stores[0].queue_length("q") == 5


def test_other_clients_and_other_endpoints_are_not_concerned(store: JobStore) -> None:
    store.add(job(), 10, 1)
    store.add(job(owner="you"), 10, 1)
    store.add(job(endpoint="text"), 10, 1)
    with pytest.raises(TooManyJobs):
        store.add(job(), 10, 1)
    store.add(job(), 10)


def test_a_job_makes_room_when_it_ends_however_it_ends(store: JobStore) -> None:
    def refused() -> bool:
        try:
            store.add(job(), 10, 1)
        except TooManyJobs:
            return True
        return False

    for ending in ("done", "failed", "canceled", "withdrawn", "lapsed"):
        one = job(seconds=0.05 if ending == "lapsed" else 60)
        store.add(one, 10, 1)
        if ending == "lapsed":
            time.sleep(max(0.0, one.deadline - time.time()))
        else:
            assert refused()
        if ending in ("done", "failed"):
            store.start([one], "worker@x#1", time.time())
            assert refused()
            end(store, one, JobState(ending))
        elif ending == "canceled":
            assert store.cancel(one.id) is JobState.CANCELED
        elif ending == "withdrawn":
            store.withdraw(one)
        last = job()
        store.add(last, 10, 1)
        end(store, last)


def test_a_running_job_whose_deadline_has_passed_still_counts(store: JobStore) -> None:
    one = job(seconds=0.01)
    store.add(one, 10, 1)
    store.start([one], "worker@x#1", time.time())
    wait_until(lambda: time.time() > one.deadline, 1, "the deadline")
    with pytest.raises(TooManyJobs):
        store.add(job(), 10, 1)


def test_jobs_that_nobody_remembers_do_not_count_for_ever(store: JobStore, redis_server: RedisServer) -> None:
    lost = job(seconds=0.01)
    store.add(lost, 10, 1)
    with redis_server.client() as client:
        client.delete(job_key(lost.id))
    wait_until(lambda: time.time() > lost.deadline, 1, "the deadline")
    store.add(job(), 10, 1)


def test_nothing_is_left_of_a_client_without_jobs(store: JobStore, redis_server: RedisServer) -> None:
    one = job()
    store.add(one, 10, 1)
    with redis_server.client() as client:
        assert math.isclose(client.ttl(open_key("me", "echo")), 7 * 86400, abs_tol=5)
        end(store, one)
        assert not client.exists(open_key("me", "echo"))
        store.add(job(), 10)
        assert not client.exists(open_key("me", "echo"))


def test_a_refused_job_leaves_nothing_behind(store: JobStore, redis_server: RedisServer) -> None:
    store.add(job(), 10, 1)
    full = job(owner="you")
    with redis_server.client() as client:
        before = sorted(client.keys("*"))
        with pytest.raises(TooManyJobs):
            store.add(job(), 10, 1)
        with pytest.raises(QueueFull):
            store.add(full, 1, 1)
        assert sorted(client.keys("*")) == before


def test_a_queue_is_counted_by_priority(store: JobStore) -> None:
    for priority, number in ((Priority.HIGH, 1), (Priority.NORMAL, 2), (Priority.BULK, 3)):
        for _ in range(number):
            store.add(job(priority=priority), 100)
    counts = [
        store.queue_length("q", priority) for priority in (Priority.HIGH, Priority.NORMAL, Priority.BULK)
    ]
    assert counts == [1, 3, 6] and store.queue_length("q") == 6
