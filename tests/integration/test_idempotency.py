"""Idempotency keys, on a real Redis."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.errors import IdempotencyKeyReused, RequestInProgress
from tasks.idempotency import LIFETIME, PENDING, IdempotencyKeys
from tasks.jobs import Job
from tasks.store import JobStore


@pytest.fixture
def store(redis_server):
    return JobStore.from_url(redis_server.socket_url)


@pytest.fixture
def keys(store):
    return IdempotencyKeys(store)


def test_a_key_stands_for_the_first_job_once_that_is_accepted(keys):
    claim = keys.claim("me", "k", "body", "job1")
    assert claim.job_id == "job1"
    keys.accepted(claim)
    assert keys.claim("me", "k", "body", "job2").job_id == "job1"


def test_another_request_may_not_use_the_key(keys):
    claim = keys.claim("me", "k", "body", "job1")
    with pytest.raises(IdempotencyKeyReused):
        keys.claim("me", "k", "other body", "job2")
    keys.accepted(claim)
    with pytest.raises(IdempotencyKeyReused):
        keys.claim("me", "k", "other body", "job2")


def test_two_clients_may_use_the_same_key(keys):
    keys.claim("me", "k", "body", "job1")
    assert keys.claim("you", "k", "other body", "job2").job_id == "job2"


def test_a_key_whose_job_was_refused_is_free_again(keys):
    keys.release(keys.claim("me", "k", "body", "job1"))
    assert keys.claim("me", "k", "other body", "job2").job_id == "job2"


def test_only_the_holder_frees_a_key(keys):
    stale = keys.claim("me", "k", "body", "job1")
    keys.release(stale)
    keys.accepted(keys.claim("me", "k", "body", "job2"))
    keys.release(stale)
    assert keys.claim("me", "k", "body", "job3").job_id == "job2"


def test_of_twins_one_gets_the_job_and_the_other_waits_for_it(keys):
    first = keys.claim("me", "k", "body", "job1")
    waits = threading.Event()

    def sleep(seconds):
        waits.set()
        time.sleep(seconds)

    with ThreadPoolExecutor(1) as pool:
        twin = pool.submit(keys.claim, "me", "k", "body", "job2", sleep)
        assert waits.wait(5)
        assert not twin.done()
        keys.accepted(first)
        assert twin.result(5).job_id == "job1"


def test_a_claim_counts_though_the_answer_to_it_was_lost(keys, answers_are_lost):
    claim = keys.claim("me", "k", "body", "job1", lambda seconds: pytest.fail("it waits for itself"))
    assert claim.job_id == "job1" and claim.pending
    keys.accepted(claim)
    assert keys.claim("me", "k", "body", "job2").job_id == "job1"


def test_a_key_is_free_again_though_a_twin_took_its_job_for_accepted(keys, store):
    first = keys.claim("me", "k", "body", "job1")
    now = time.time()
    job = Job("job1", "echo", "echo_cpu", {}, "me", now, now + 60, 30.0)
    store.add(job, 10)
    twin = keys.claim("me", "k", "body", "job2", lambda seconds: None)
    assert twin.job_id == "job1" and not twin.pending
    store.withdraw(job)  # the broker has not taken it after all
    keys.release(first)
    assert keys.claim("me", "k", "body", "job3").job_id == "job3"


def test_a_twin_takes_over_if_the_first_was_refused(keys):
    first = keys.claim("me", "k", "body", "job1")

    def sleep(seconds):
        keys.release(first)

    claim = keys.claim("me", "k", "body", "job2", sleep)
    assert claim.job_id == "job2" and claim.pending


def test_while_nobody_knows_a_twin_is_told_to_come_back(keys):
    keys.claim("me", "k", "body", "job1")
    with pytest.raises(RequestInProgress):
        keys.claim("me", "k", "body", "job2", lambda seconds: None)


def test_a_job_that_was_recorded_before_its_process_died_is_the_one(keys, store):
    keys.claim("me", "k", "body", "job1")
    now = time.time()
    store.add(Job("job1", "echo", "echo_cpu", {}, "me", now, now + 60, 30.0), 10)
    assert keys.claim("me", "k", "body", "job2", lambda seconds: None).job_id == "job1"
    assert not keys.claim("me", "k", "body", "job3").pending


def test_a_job_that_was_withdrawn_is_not_the_one(keys, store):
    keys.claim("me", "k", "body", "job1")
    now = time.time()
    job = Job("job1", "echo", "echo_cpu", {}, "me", now, now + 60, 30.0)
    store.add(job, 10)
    store.withdraw(job)
    with pytest.raises(RequestInProgress):
        keys.claim("me", "k", "body", "job2", lambda seconds: None)


def test_keys_have_a_lifetime_and_are_not_stored_as_they_are(keys, redis_server):
    claim = keys.claim("me", "my secret key", "body", "job1")
    with redis_server.client() as client:
        (name,) = client.keys("idempotency:*")
        assert b"secret" not in name
        assert 0 < client.ttl(name) <= PENDING
        keys.accepted(claim)
        assert PENDING < client.ttl(name) <= LIFETIME


def test_of_many_twins_exactly_one_submits(keys):
    submitted = []

    def request(number):
        claim = keys.claim("me", "k", "body", f"job{number}")
        if claim.job_id == f"job{number}":
            submitted.append(claim.job_id)
            keys.accepted(claim)
        return claim.job_id

    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(request, range(64)))
    assert list(found) == submitted
