"""The commands of `stoker` that speak to a running installation."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from stoker import main
from tasks.jobs import Job
from tasks.store import JobStore


@pytest.fixture
def stoker(redis_server, stoker_home):
    env = {
        "STOKER_HOME": str(stoker_home),
        "STOKER_BROKER_URL": redis_server.broker_url,
        "STOKER_STORE_URL": redis_server.socket_url,
    }
    return lambda *arguments: CliRunner().invoke(main, arguments, env=env)


def test_demo_key_is_made_once_and_printed(stoker, stoker_home):
    first = stoker("demo-key")
    assert first.exit_code == 0 and len(first.output.strip()) >= 40
    assert stoker("demo-key").output == first.output
    assert (stoker_home / "demo-key").stat().st_mode & 0o777 == 0o600


def test_waiting_job_is_canceled(stoker, redis_server):
    now = time.time()
    store = JobStore.from_url(redis_server.socket_url)
    store.add(Job("a", "embed", "embed_cpu", {}, "me", now, now + 60, 60), 10)
    assert stoker("cancel", "a").output == "canceled\n"


def test_unknown_job_cannot_be_canceled(stoker):
    answer = stoker("cancel", "nope")
    assert answer.exit_code == 2 and "there is no job nope" in answer.output


def test_store_that_is_away_is_told_in_a_sentence(stoker, redis_server):
    redis_server.kill()
    answer = stoker("cancel", "a")
    assert answer.exit_code == 2 and "does not answer" in answer.output
