"""Many jobs while parts of the installation die: some hundreds in `make test`, thousands in `make chaos`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tasks.errors import BrokerUnavailable, StoreUnavailable
from tasks.jobs import JobState
from tests.services import wait_until

pytestmark = pytest.mark.timeout(600)
ON_RABBITMQ = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
EMBEDDED = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
JOBS = int(os.environ.get("CHAOS_JOBS", "300"))
BROKERS = ["rabbitmq", "embedded"] if JOBS > 1000 else ["rabbitmq"]  # Redis gives back after 30 s
KILLS = max(3, JOBS // 200)  # of workers
PER_JOB = 0.01 if JOBS > 1000 else 0.05  # s; so that there is work left when a part dies


def submit_lot(submitter, log, numbers):
    """Submit jobs with these numbers, each as soon as the broker takes it; gives their ids."""

    def accepted(n):
        with suppress(BrokerUnavailable, StoreUnavailable):
            return submitter.submit(text=f"j{n}", action="sleep", seconds=PER_JOB, log=str(log))

    return [wait_until(partial(accepted, n), 30, "the broker to take jobs") for n in numbers]


def wait_for_share(submitter, ids, share):
    """Wait until this share of the jobs is done, and see that others are not."""
    wait_until(
        lambda: submitter.states(ids)[JobState.DONE] >= share * len(ids), 300, f"{share:.0%} to be done"
    )
    assert submitter.states(ids)[JobState.DONE] < len(ids) - 20


def submit_with_restarts(submitter, log, restart):
    """Submit the jobs in two lots, with a restart when some of each are done; gives their ids."""
    ids = []
    for numbers in (range(JOBS // 2), range(JOBS // 2, JOBS)):
        lot = submit_lot(submitter, log, numbers)
        wait_for_share(submitter, lot, 0.2)
        restart()
        ids += lot
    return ids


def judge(submitter, ids, log: Path, what):
    results = submitter.results(ids, timeout=300)
    assert Counter(result.state for result in results) == {JobState.DONE: len(ids)}
    assert [result.outputs["text"] for result in results] == [f"j{n}" for n in range(len(ids))]
    runs = Counter(log.read_text().split())
    assert len(runs) == len(ids)
    again = sum(runs.values()) - len(ids)
    sys.stdout.write(f"{what}: {len(ids)} jobs done, {again} of their runs were repeated\n")


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_workers_that_are_killed_again_and_again_lose_no_job(submitter, start_worker, tmp_path):
    log = tmp_path / "runs"
    workers = [start_worker("trial_cpu") for _ in range(3)]
    ids = submit_lot(submitter, log, range(JOBS))
    for n in range(KILLS):
        wait_for_share(submitter, ids, (n + 1) / (KILLS + 2))
        workers[n % 3].kill9()
        workers[n % 3] = start_worker("trial_cpu", ready=False)
    judge(submitter, ids, log, f"{KILLS} workers killed")


@ON_RABBITMQ
def test_broker_that_restarts_twice_loses_no_job(submitter, rabbitmq, start_worker, tmp_path):
    log = tmp_path / "runs"
    for _ in range(3):
        start_worker("trial_cpu")

    def restart():
        rabbitmq.stop_app()
        rabbitmq.start_app()

    ids = submit_with_restarts(submitter, log, restart)
    judge(submitter, ids, log, "2 restarts")


@ON_RABBITMQ
def test_store_that_is_killed_twice_loses_no_job(submitter, redis_server, start_worker, tmp_path):
    log = tmp_path / "runs"
    for _ in range(3):
        start_worker("trial_cpu")

    def restart():
        redis_server.kill()
        time.sleep(1)  # batches end while it is away
        redis_server.start()

    ids = submit_with_restarts(submitter, log, restart)
    judge(submitter, ids, log, "2 restarts")


@EMBEDDED
def test_embedded_redis_that_is_killed_twice_under_load_loses_no_job(submitter, redis_server, start_worker):
    workers = [start_worker("trial_cpu") for _ in range(2)]
    accepted: dict[str, str] = {}

    def load():
        for n in range(JOBS):
            try:
                job_id = submitter.submit(text=f"j{n}", action="sleep", seconds=PER_JOB / 3)
            except (BrokerUnavailable, StoreUnavailable):
                time.sleep(0.05)
            else:
                accepted[job_id] = f"j{n}"

    thread = threading.Thread(target=load)
    thread.start()
    for part in (1, 2):
        wait_until(lambda part=part: len(accepted) >= JOBS * part / 3, 120, "jobs to be accepted", 0.005)
        redis_server.kill()
        time.sleep(0.5)  # jobs are refused while it is away
        redis_server.start()
    thread.join()
    results = submitter.results(list(accepted), timeout=300)
    assert Counter(result.state for result in results) == {JobState.DONE: len(accepted)}
    assert [result.outputs["text"] for result in results] == list(accepted.values())
    assert [worker.returncode for worker in workers] == [None, None]
    assert submitter.call(text="afterwards").state is JobState.DONE
    sys.stdout.write(f"2 restarts: {len(accepted)} of {JOBS} jobs accepted, all of them done\n")


@ON_RABBITMQ
def test_poison_among_good_jobs_harms_only_itself(submitter, start_worker, rabbitmq, broker):
    good = [submitter.submit(text=f"j{n}") for n in range(100)]
    poison = submitter.submit(action="kill")
    good += [submitter.submit(text=f"j{n}") for n in range(100)]
    worker = start_worker("trial_cpu")
    results = submitter.results([*good, poison], timeout=120)
    assert Counter(result.state for result in results[:-1]) == {JobState.DONE: 200}
    assert results[-1].state is JobState.FAILED and "SIGKILL" in results[-1].error
    assert worker.returncode is None
    assert rabbitmq.queue_length("stoker.dead", broker.url) == 0
