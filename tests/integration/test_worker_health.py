"""`stoker worker-health`: a worker is healthy when the broker reaches it and it consumes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from stoker import main
from tests.services import ROOT, wait_until


@pytest.fixture
def health(stoker_env):
    return lambda *arguments: CliRunner().invoke(main, ("worker-health", *arguments), env=stoker_env)


def test_worker_is_healthy_while_it_answers_and_consumes(health, start_worker, submitter, redis_server):
    worker = start_worker("trial_cpu")
    consumes = f"{worker.hostname} consumes trial_cpu, trial_cpu.high, trial_cpu.bulk\n"
    wait_until(lambda: submitter.store.workers("trial_cpu"), 5, "the worker to announce itself")
    for arguments in ((), ("--name", worker.hostname)):
        answer = health(*arguments)
        assert (answer.exit_code, answer.output) == (0, consumes)
    with redis_server.client() as client:
        client.delete("workers:trial_cpu")
    answer = health("--timeout", "0.5")  # by way of the broker alone
    assert (answer.exit_code, answer.output) == (0, consumes)

    answer = health("--name", worker.hostname, "--name", "z@host", "--timeout", "0.5")
    assert answer.exit_code == 1
    assert answer.output == f"{consumes}z@host did not answer within 0.5 s\n"

    worker.send_signal(signal.SIGSTOP)
    try:
        answer = health("--name", worker.hostname, "--timeout", "0.5")
    finally:
        worker.send_signal(signal.SIGCONT)
    assert (answer.exit_code, answer.output) == (1, f"{worker.hostname} did not answer within 0.5 s\n")

    for queue in ("trial_cpu", "trial_cpu.high", "trial_cpu.bulk"):
        submitter.celery.control.cancel_consumer(queue, destination=[worker.hostname], reply=True)
    answer = health("--name", worker.hostname)
    assert (answer.exit_code, answer.output) == (1, f"{worker.hostname} answers, but consumes no queue\n")


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_host_without_a_worker_is_not_healthy(health):
    answer = health("--timeout", "0.2")
    assert answer.exit_code == 1 and "no worker of" in answer.output


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_broker_that_is_away_is_the_reason(stoker_env):
    env = stoker_env | {"STOKER_BROKER_URL": "amqp://guest:guest@127.0.0.1:1//"}
    answer = CliRunner().invoke(main, ["worker-health"], env=env)
    assert answer.exit_code == 1 and "the message broker cannot be reached" in answer.output


def test_command_starts_without_the_http_api_and_models():
    code = "import sys, stoker, tasks.celery, tasks.store, tasks.submit; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"flask", "gevent", "numpy", "tokenizers"} & set(loaded.stdout.split())
