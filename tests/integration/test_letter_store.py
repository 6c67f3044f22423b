"""Dead letters in Redis: buried once, kept, requeued, dropped."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest
import redis
from click.testing import CliRunner

from schemas import load_endpoints
from stoker import main
from tasks import deadletters
from tasks.blobs import pack, unpack
from tasks.celery import create_celery
from tasks.deadletters import DeadLetters
from tasks.errors import BrokerUnavailable, StoreUnavailable
from tasks.history import list_jobs
from tasks.jobs import Job, JobState, Result
from tasks.letters import read_letter
from tasks.publisher import Publisher
from tasks.replies import ReplyListener
from tasks.scripts import letters, running
from tasks.settings import Settings
from tasks.store import JobStore
from tests.services import ROOT, wait_until

DEATH = {"reason": "delivery_limit", "queue": "trial_cpu", "count": 1}


@pytest.fixture
def env(redis_server, stoker_home):
    return {
        "STOKER_HOME": str(stoker_home),
        "STOKER_BROKER_URL": redis_server.broker_url,
        "STOKER_STORE_URL": redis_server.socket_url,
        "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
    }


@pytest.fixture
def stoker(env):
    return lambda *arguments: CliRunner().invoke(main, arguments, env=env)


@pytest.fixture
def store(redis_server):
    return JobStore.from_url(redis_server.socket_url)


@pytest.fixture
def dead(redis_server):
    return DeadLetters(JobStore.from_url(redis_server.socket_url))


@pytest.fixture
def publish_by(env, store):
    """Publisher and endpoint to requeue with."""
    settings = Settings.from_env(env)
    endpoints = load_endpoints(settings.endpoint_folders)
    publisher = Publisher(create_celery(settings, endpoints), store)
    yield publisher, endpoints["trial"]
    publisher.close()


def accepted(store, job_id, **fields):
    now = time.time()
    job = Job(job_id, "trial", "trial_cpu", {"text": "secret words"}, "me", now, now + 60, 60)
    store.add(job := replace(job, **fields), 1000)
    return job


def die(dead, job, at=None):
    """Bury what RabbitMQ would put into stoker.dead."""
    at = time.time() if at is None else at
    body = json.dumps([[job.to_wire()], {}, {}])
    return dead.bury(read_letter(body, {"x-death": [DEATH]}, at), body, at)


def test_dead_job_fails_and_who_waits_is_told(store, dead):
    replies = ReplyListener(store)
    with replies.expect("a") as waiter:
        job = accepted(store, "a", reply_to=replies.channel)
        assert die(dead, job)
        result = waiter.wait(3)
    replies.close()
    assert result.state is JobState.FAILED and "21 times" in result.error
    assert store.get("a").result == result and store.queue_length("trial_cpu") == 0


def test_letter_that_comes_twice_is_kept_once(store, dead):
    job = accepted(store, "a")
    assert die(dead, job, 1e9) and die(dead, job, 2e9)
    assert [letter.died for letter in dead.letters(["a"])] == [1e9]
    assert store.get("a").result.finished == 1e9


def test_letter_is_kept_by_a_server_that_knows_only_some_scripts(store, dead, redis_server):
    other = accepted(store, "other")
    with redis_server.client() as client:
        client.script_flush()
    store.finish([(other, Result(JobState.DONE, other.accepted, time.time()), {})])
    assert die(dead, accepted(store, "a"))
    assert store.get("a").state is JobState.FAILED and [letter.id for letter in dead.letters()] == ["a"]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.CANCELED, JobState.FAILED])
def test_job_that_had_ended_stays_as_it_was(store, dead, state):
    job = accepted(store, "a")
    result = Result(state, job.accepted, time.time(), error="this")
    store.finish([(job, result, {})])
    assert die(dead, job)
    assert store.get("a").result == result and dead.letters() == []


def test_job_that_ends_while_it_is_buried_keeps_its_outcome(store, dead, monkeypatch):
    job = accepted(store, "a")
    result = Result(JobState.DONE, job.accepted, time.time())
    monkeypatch.setattr(deadletters, "_is_over", lambda *_: store.finish([(job, result, {})]) and False)
    assert die(dead, job)
    assert store.get("a").result == result and dead.letters() == []


def test_burial_that_breaks_off_is_done_again(store, dead, monkeypatch):
    job = accepted(store, "a")
    with monkeypatch.context() as patch:
        patch.setattr(running, "FINISH", "return redis.error_reply('broken off')")
        with pytest.raises(redis.ResponseError):
            die(dead, job)
    assert store.get("a").state is JobState.QUEUED
    assert die(dead, job)
    assert store.get("a").state is JobState.FAILED and [letter.id for letter in dead.letters()] == ["a"]


def test_job_that_a_living_worker_runs_is_left_to_it(store, dead):
    job = accepted(store, "a")
    store.claim(["a"], "w@h#1")
    store.start([job], "w@h#1", time.time())
    assert not die(dead, job)
    assert store.get("a").state is JobState.PROCESSING
    store.release(["a"], "w@h#1")
    assert die(dead, job)
    assert store.get("a").state is JobState.FAILED


def test_job_that_the_store_has_forgotten_is_kept_too(store, dead):
    die(dead, Job("a", "trial", "trial_cpu", {}, "me", time.time(), time.time(), 60))
    assert store.get("a").state is JobState.FAILED
    assert [letter.id for letter in dead.letters()] == ["a"]


def test_job_whose_message_cannot_be_read_fails_by_the_id_of_its_task(store, dead):
    accepted(store, "a")
    body = "not a job of this version"
    assert dead.bury(read_letter(body, {"id": "a", "x-death": [DEATH]}, 1.0), body, time.time())
    assert "holds no job" in store.get("a").result.error


def test_oldest_letters_are_forgotten_when_there_are_too_many(store, dead, monkeypatch, redis_server):
    monkeypatch.setattr(deadletters, "MOST", 3)
    now = time.time()
    for n in range(5):
        die(dead, accepted(store, f"j{n}"), now + n)
    assert [letter.id for letter in dead.letters()] == ["j2", "j3", "j4"]
    monkeypatch.setattr(deadletters, "MOST_BYTES", 1)
    die(dead, accepted(store, "j5"), now + 5)
    assert [letter.id for letter in dead.letters()] == ["j5"]
    dead.drop("j5")
    with redis_server.client() as client:
        assert int(client.get("dead:bytes")) == 0
        assert not client.exists("dead:times", "dead:letters", "dead:bodies")


def test_letters_older_than_a_week_are_forgotten(store, dead, redis_server):
    now = time.time()
    die(dead, accepted(store, "old"), now - 8 * 86400)
    assert dead.letters() == []
    die(dead, accepted(store, "new"), now)
    assert [letter.id for letter in dead.letters()] == ["new"] and dead.letters(["old"]) == []
    with redis_server.client() as client:
        assert all(0 < client.ttl(key) <= 7 * 86400 for key in deadletters.KEYS)


def test_requeued_job_waits_again_with_a_new_deadline(store, dead, publish_by):
    job = accepted(store, "a", deadline=time.time() - 1, accepted=time.time() - 100)
    die(dead, job)
    (letter,) = dead.letters()
    assert dead.requeue(*publish_by, letter) is JobState.QUEUED
    status = store.get("a")
    assert (status.state, status.queue_position, status.result) == (JobState.QUEUED, 1, None)
    assert dead.letters() == []


def test_letter_of_before_a_requeue_says_nothing_of_the_requeued_job(store, dead, publish_by):
    job = accepted(store, "a")
    die(dead, job)
    dead.requeue(*publish_by, dead.letters()[0])
    assert die(dead, job)  # the broker delivers it again, since its reader died before the ack
    assert store.get("a").state is JobState.QUEUED and dead.letters() == []


def test_requeue_that_broke_off_can_be_done_again(store, dead, publish_by, monkeypatch):
    die(dead, accepted(store, "a"))
    (letter,) = dead.letters()
    published = []
    monkeypatch.setattr(publish_by[0], "publish", lambda job, *_, **__: published.append(job))
    with monkeypatch.context() as patch:
        patch.setattr(letters, "FORGET", "return 0")
        dead.requeue(*publish_by, letter)
    assert store.get("a").state is JobState.QUEUED and dead.letters() == [letter]
    assert dead.requeue(*publish_by, letter) is JobState.QUEUED
    assert dead.letters() == [] and store.queue_length("trial_cpu") == 1
    assert die(dead, published[1]) and store.get("a").state is JobState.FAILED  # it counts as the last one


def test_requeue_that_the_broker_does_not_take_changes_nothing(store, dead, publish_by, monkeypatch):
    die(dead, accepted(store, "a"))
    (letter,) = dead.letters()

    def refuse(*_, **__):
        raise BrokerUnavailable("away")

    monkeypatch.setattr(publish_by[0], "_deliver", refuse)
    with pytest.raises(BrokerUnavailable):
        dead.requeue(*publish_by, letter)
    assert dead.letters() == [letter]
    assert store.get("a").state is JobState.FAILED and "21 times" in store.get("a").result.error
    assert store.queue_length("trial_cpu") == 0


def test_large_inputs_outlive_the_death_and_come_back(store, dead, publish_by, monkeypatch, redis_server):
    text = "secret words " * 10_000
    light, blobs, texts = pack({"text": text, "action": "echo"})
    store.put_texts(texts)
    die(dead, accepted(store, "a", inputs=light, blobs=blobs))
    with redis_server.client() as client:
        assert client.keys("blob:*") == []  # as at the end of any job
        assert int(client.get("dead:bytes")) > len(text)
    published = []
    monkeypatch.setattr(publish_by[0], "publish", lambda job, *_, **__: published.append(job))
    dead.requeue(*publish_by, dead.letters()[0])
    (job,) = published
    assert unpack(job.inputs, job.blobs, store.texts([name for _, name in job.blobs]))["text"] == text
    store.finish([(job, Result(JobState.DONE, job.accepted, time.time()), {})])
    with redis_server.client() as client:
        assert client.keys("blob:*") == []


def test_requeued_job_is_listed_by_its_owner_and_followed(store, dead, publish_by, redis_server):
    job = accepted(store, "a", result_lifetime=1)
    before = store.get("a").revision
    die(dead, job)
    with redis_server.client() as client:
        client.delete("job:a", "jobs:me")  # the record is forgotten before the letter
    dead.requeue(*publish_by, dead.letters()[0])
    assert [row.id for row in list_jobs(store, "me", time.time(), limit=5).jobs] == ["a"]
    assert store.get("a").revision > before


def test_job_that_ended_since_is_not_requeued(store, dead, publish_by, monkeypatch):
    job = accepted(store, "a")
    die(dead, job)
    (letter,) = dead.letters()
    with monkeypatch.context() as patch:
        patch.setattr(letters, "FORGET", "return 0")
        dead.requeue(*publish_by, letter)
    store.finish([(job, Result(JobState.DONE, job.accepted, time.time()), {})])
    assert dead.requeue(*publish_by, letter) is JobState.DONE
    assert store.get("a").state is JobState.DONE and dead.letters() == []


def test_letter_of_a_death_after_the_requeue_stays(store, dead, publish_by, monkeypatch):
    job = accepted(store, "a")
    die(dead, job, 1e9)
    (letter,) = dead.letters(["a"])
    monkeypatch.setattr(publish_by[0], "publish", lambda again, *_, **__: die(dead, again, time.time()))
    dead.requeue(*publish_by, letter)
    assert [letter.id for letter in dead.letters()] == ["a"] and store.get("a").state is JobState.FAILED


def test_store_that_is_away_is_told(dead, redis_server):
    redis_server.kill()
    for action in (dead.letters, lambda: dead.drop("a")):
        with pytest.raises(StoreUnavailable):
            action()


def test_burying_in_two_workers_at_once_keeps_the_letter(store, redis_server):
    for n in range(30):
        job = accepted(store, f"j{n}")
        both = [DeadLetters(JobStore.from_url(redis_server.socket_url)) for _ in range(2)]
        threads = [
            threading.Thread(target=die, args=(dead, job, time.time() + k)) for k, dead in enumerate(both)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(both[0].letters([job.id])) == 1


# -- the commands


def test_table_of_dead_jobs_shows_no_inputs(store, dead, stoker):
    assert stoker("jobs", "list").output.split() == ["JOB", "ENDPOINT", "QUEUE", "DIED", "WHY"]
    die(dead, accepted(store, "a"))
    dead.bury(read_letter("secret words", {}, time.time()), "secret words", time.time())
    shown = stoker("jobs", "list").output
    assert "a  " in shown and "trial_cpu" in shown and "delivery_limit: The job was given to workers" in shown
    assert "message-" in shown and "holds no job" in shown
    assert "secret" not in shown + stoker("jobs", "list", "--json").output


def test_unknown_ids_are_named_all_at_once_and_nothing_is_done(store, dead, stoker):
    die(dead, accepted(store, "a"))
    for command in ("requeue", "drop"):
        answer = stoker("jobs", command, "x", "a", "y")
        assert answer.exit_code == 2
        assert answer.output.splitlines() == ["there is no dead job x", "there is no dead job y"]
    assert [letter.id for letter in dead.letters()] == ["a"]
    assert store.get("a").state is JobState.FAILED


@pytest.mark.parametrize("command", ["requeue", "drop"])
@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_command_wants_ids_or_all(stoker, command, arguments):
    answer = stoker("jobs", command, *arguments)
    assert answer.exit_code == 2 and "ids, or --all" in answer.output


def test_what_cannot_be_requeued_is_named_all_at_once_and_nothing_is_done(store, dead, stoker):
    die(dead, accepted(store, "a"))
    die(dead, accepted(store, "b", endpoint="gone"))
    dead.bury(read_letter("nothing", {"id": "c"}, time.time()), "nothing", time.time())
    answer = stoker("jobs", "requeue", "--all")
    assert answer.exit_code == 2
    assert "b is for endpoint gone" in answer.output and "c holds no job" in answer.output
    assert store.get("a").state is JobState.FAILED and len(dead.letters()) == 3


def test_dropped_job_stays_failed(store, dead, stoker):
    die(dead, accepted(store, "a"))
    die(dead, accepted(store, "b"))
    assert stoker("jobs", "drop", "a", "a").output == "a dropped\n"
    assert stoker("jobs", "drop", "--all").output == "b dropped\n"
    assert dead.letters() == [] and store.get("a").state is JobState.FAILED


def test_requeue_by_command(store, dead, stoker, redis_server):
    die(dead, accepted(store, "a"))
    assert stoker("jobs", "requeue", "--all").output == "a queued\n"
    with redis_server.client() as client:
        wait_until(lambda: client.llen("trial_cpu") == 1, 3, "the message")


def test_commands_say_that_the_store_is_away(stoker, redis_server):
    redis_server.kill()
    for command in (("list",), ("requeue", "a"), ("drop", "--all")):
        answer = stoker("jobs", *command)
        assert answer.exit_code == 2 and "does not answer" in answer.output
