"""A client with many jobs does not make the others wait for all of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks.jobs import Job, JobState, JobStatus, Priority, Result
from tasks.records import share_key
from tasks.store import JobStore
from tests.conftest import StartWorker
from tests.services import RedisServer
from tests.services.submitter import Submitter

BATCH = 32


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[JobStore]:
    store = JobStore.from_url(redis_server.socket_url)
    yield store
    store.close()


def job(owner: str = "a", seconds: float = 60, **values: Any) -> Job:
    now = time.time()
    times: dict[str, Any] = {"accepted": now, "deadline": now + seconds, "result_lifetime": 60}
    return Job(
        uuid.uuid4().hex,
        **{"endpoint": "echo", "queue": "q", "inputs": {}, "owner": owner, **times, **values},
    )


def add(store: JobStore, one: Job, share: int = 2) -> Priority:
    return store.add(one, 100, share=share)


def end(store: JobStore, ended: Job) -> None:
    assert store.finish([(ended, Result(JobState.DONE, ended.accepted, time.time()), {})]) == [True]


def test_what_is_over_the_share_goes_one_class_lower_and_others_pass(store: JobStore) -> None:
    jobs = [job() for _ in range(4)]
    assert [add(store, one) for one in jobs] == [Priority.NORMAL] * 2 + [Priority.BULK] * 2
    other = job("b")
    assert add(store, other) is Priority.NORMAL
    assert [store.get(one.id).queue_position for one in (*jobs, other)] == [1, 2, 4, 5, 3]
    assert add(store, job(queue="r")) is Priority.NORMAL
    assert add(store, jobs[3]) is Priority.BULK  # recorded once, whoever asks again


def test_a_job_that_ends_gives_its_place_back(store: JobStore) -> None:
    jobs = [job() for _ in range(3)]
    assert [add(store, one) for one in jobs][2] is Priority.BULK
    store.start(jobs, "w#1", time.time())
    assert add(store, job()) is Priority.BULK
    for one in jobs:
        end(store, one)
    assert add(store, job()) is Priority.NORMAL


def test_high_becomes_normal_and_bulk_stays(store: JobStore) -> None:
    for priority, lowered in ((Priority.HIGH, Priority.NORMAL), (Priority.BULK, Priority.BULK)):
        given = [add(store, job(priority, priority=priority), share=1) for _ in range(2)]
        assert given == [priority, lowered]


def test_without_a_limit_nothing_is_kept(store: JobStore, redis_server: RedisServer) -> None:
    assert [add(store, job(), share=0) for _ in range(3)] == [Priority.NORMAL] * 3
    with redis_server.client() as client:
        assert not client.exists(share_key("a", "q"))


def test_jobs_whose_deadline_has_passed_unseen_do_not_count(store: JobStore) -> None:
    late = [job(seconds=0.05), job(seconds=0.05)]
    for one in late:
        add(store, one)
    time.sleep(max(0.0, late[1].deadline - time.time()))
    assert add(store, job()) is Priority.NORMAL


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def started(status: JobStatus | None) -> float:
    assert status and status.result and status.result.state is JobState.DONE and status.result.started
    return status.result.started


def test_a_light_client_waits_for_a_few_batches_and_the_order_of_a_heavy_one_stays(
    submitter: Submitter, start_worker: StartWorker, crowd: ThreadPoolExecutor
) -> None:
    owners = ["a"] * 800 + ["b", "c"] * 100
    heavy = list(crowd.map(lambda owner: submitter.submit("simgpu", owner=owner, text="x"), owners))
    start_worker("simgpu")
    light = submitter.submit("simgpu", owner="light", text="x")
    submitter.results([light, *heavy])
    mine, *others = submitter.store.get_many([light, *heavy])
    passed = [1 for status in others if status and mine and mine.accepted < started(status) < started(mine)]
    assert len(passed) <= 8 * BATCH  # of 32 that wait

    of_a = [status for status in others if status and status.owner == "a"]
    accepted = sorted(of_a, key=lambda status: status.accepted)
    ran = {status.id: place for place, status in enumerate(sorted(accepted, key=started))}
    moved = max(abs(ran[status.id] - place) for place, status in enumerate(accepted))
    assert moved <= 4 * BATCH  # as many as were submitted at the same time, and a batch
