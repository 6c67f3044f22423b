"""Thousands of jobs while parts of the installation die: `make chaos`; too long for `make test`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tasks.jobs import JobState

pytestmark = [
    pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True),
    pytest.mark.timeout(600),
]
JOBS = 2000


def submit_all(submitter, log, seconds=0.01, count=JOBS):
    return [
        submitter.submit(text=f"j{n}", action="sleep", seconds=seconds, log=str(log)) for n in range(count)
    ]


def judge(submitter, ids, log: Path, what):
    results = submitter.results(ids, timeout=300)
    assert Counter(result.state for result in results) == {JobState.DONE: len(ids)}
    assert [result.outputs["text"] for result in results] == [f"j{n}" for n in range(len(ids))]
    runs = Counter(log.read_text().split())
    assert len(runs) == len(ids)
    again = sum(runs.values()) - len(ids)
    sys.stdout.write(f"{what}: {len(ids)} jobs done, {again} of their runs were repeated\n")


def test_workers_that_are_killed_again_and_again_lose_no_job(submitter, start_worker, tmp_path):
    log = tmp_path / "runs"
    ids = submit_all(submitter, log)
    workers = [start_worker("trial_cpu") for _ in range(3)]
    kills = 0
    while submitter.states(ids)[JobState.DONE] < JOBS and kills < 20:
        time.sleep(2)
        workers[kills % 3].kill9()
        workers[kills % 3] = start_worker("trial_cpu", ready=False)
        kills += 1
    judge(submitter, ids, log, f"{kills} workers killed")
    assert kills >= 3


def test_broker_that_restarts_twice_loses_no_job(submitter, rabbitmq, start_worker, tmp_path):
    log = tmp_path / "runs"
    ids = submit_all(submitter, log)
    for _ in range(3):
        start_worker("trial_cpu")
    for _ in range(2):
        time.sleep(2)
        rabbitmq.stop_app()
        rabbitmq.start_app()
    judge(submitter, ids, log, "2 restarts")


def test_store_that_is_killed_twice_loses_no_job(submitter, redis_server, start_worker, tmp_path):
    log = tmp_path / "runs"
    ids = submit_all(submitter, log)
    for _ in range(3):
        start_worker("trial_cpu")
    for _ in range(2):
        time.sleep(2)
        redis_server.kill()
        time.sleep(1)
        redis_server.start()
    judge(submitter, ids, log, "2 restarts")


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
