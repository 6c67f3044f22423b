"""Jobs that are followed, on a real Redis."""

from __future__ import annotations

import dataclasses
import time

import pytest

from tasks.events import EventListener
from tasks.jobs import Job, JobState, Progress, Result
from tasks.store import JobStore
from tests.services import wait_until

HOLDER = "w@host#1"


@pytest.fixture
def store(redis_server):
    return JobStore.from_url(redis_server.socket_url)


@pytest.fixture
def listener(store):
    listener = EventListener(store)
    yield listener
    listener.close()


def added(store, job_id="a", **changes):
    now = time.time()
    job = Job(job_id, "echo", "echo_cpu", {}, "me", now, now + 60, 30.0)
    job = dataclasses.replace(job, **changes)
    store.add(job, 10_000)
    return job


def done(job):
    return Result(JobState.DONE, job.accepted, time.time(), {"text": "x"})


def channels(redis_server):
    with redis_server.client() as client:
        return set(client.pubsub_channels("job:*"))


def test_every_step_of_a_job_is_told(store, listener, monkeypatch):
    for name in ("LOOK_WAITING", "LOOK_RUNNING"):
        monkeypatch.setattr(f"tasks.events.{name}", 3600)
    job = added(store)
    with listener.follow(store.get("a")) as follower:
        store.start([job], HOLDER, time.time())
        running = follower.wait(5)
        assert (running.state, running.worker, running.queue_position) == (
            JobState.PROCESSING,
            "w@host",
            0,
        )
        assert abs(running.started - time.time()) < 5
        store.report([(job, Progress(50.0, {"text": "half"}))])
        half = follower.wait(5)
        assert half.progress == Progress(50.0, {"text": "half"})
        store.finish([(job, done(job), {})])
        ended = follower.wait(5)
        assert ended.result.outputs == {"text": "x"}
        assert ended.revision > half.revision > running.revision > 0


def test_what_happened_before_the_channel_was_listened_to_is_told_too(store, listener):
    job = added(store)
    seen = store.get("a")
    store.start([job], HOLDER, time.time())
    with listener.follow(seen) as follower:
        assert follower.wait(5).state is JobState.PROCESSING


def test_two_processes_and_two_streams_of_one_follow_the_same_job(store, listener):
    job, other = added(store), EventListener(store)
    seen = store.get("a")
    try:
        with listener.follow(seen) as one, listener.follow(seen) as two, other.follow(seen) as three:
            store.start([job], HOLDER, time.time())
            assert [f.wait(5).state for f in (one, two, three)] == [JobState.PROCESSING] * 3
    finally:
        other.close()


def test_a_stream_that_joins_late_is_told_what_the_others_know(store, listener):
    job = added(store)
    seen = store.get("a")
    with listener.follow(seen) as first:
        store.start([job], HOLDER, time.time())
        assert first.wait(5)
        with listener.follow(seen) as late:
            assert late.wait(0.1).state is JobState.PROCESSING


def test_the_place_in_the_queue_is_told_as_it_changes(store, listener):
    first, _ = added(store, "a", accepted=1.0), added(store, "b", accepted=2.0)
    with listener.follow(store.get("b")) as follower:
        store.start([first], HOLDER, time.time())
        assert follower.wait(5).queue_position == 1


def test_canceled_and_lapsed_jobs_end_their_streams(store, listener):
    added(store, "a")
    added(store, "b", deadline=time.time() + 0.5, queue="other")
    with listener.follow(store.get("a")) as canceled, listener.follow(store.get("b")) as lapsed:
        store.cancel("a")
        assert canceled.wait(5).state is JobState.CANCELED
        assert lapsed.wait(5).state is JobState.LAPSED


def test_a_change_that_nobody_was_told_of_is_found(store, listener, redis_server, monkeypatch):
    monkeypatch.setattr("tasks.events.LOOK_RUNNING", 0.2)
    job = added(store)
    store.start([job], HOLDER, time.time())
    with listener.follow(store.get("a")) as follower, redis_server.client() as client:
        wait_until(lambda: channels(redis_server), 5, "the subscription")
        client.hset("job:a", mapping={"progress": '{"percent":70,"outputs":{}}', "revision": 9})
        assert follower.wait(5).progress.percent == 70


def test_streams_go_on_after_a_restart_of_the_store(store, listener, redis_server):
    job = added(store)
    with listener.follow(store.get("a")) as follower:
        wait_until(lambda: channels(redis_server), 5, "the subscription")
        redis_server.restart()
        store.start([job], HOLDER, time.time())
        assert follower.wait(10).state is JobState.PROCESSING
        store.report([(job, Progress(50.0))])
        assert follower.wait(10).progress.percent == 50


def test_a_job_that_the_store_has_lost_ends_its_streams(store, listener, redis_server):
    added(store)
    with listener.follow(store.get("a")) as follower:
        redis_server.flush()
        assert follower.wait(10) is None and follower.gone


def test_nobody_listens_to_jobs_that_are_followed_no_more(store, listener, redis_server):
    for name in "ab":
        added(store, name)
    with listener.follow(store.get("b")):
        with listener.follow(store.get("a")), listener.follow(store.get("a")):
            wait_until(lambda: len(channels(redis_server)) == 2, 5, "both subscriptions")
        wait_until(lambda: channels(redis_server) == {b"job:b"}, 5, "the end of one subscription")
    wait_until(lambda: not channels(redis_server), 5, "the end of the other")


def test_channels_on_which_nothing_comes_are_given_up(store, listener, redis_server, monkeypatch):
    def hear_nothing(pubsub):  # as where a firewall drops what the server sends
        pubsub.health_check_response_counter += 1
        time.sleep(0.01)
        return []

    added(store)
    with listener.follow(store.get("a")), redis_server.client() as client:
        wait_until(lambda: channels(redis_server) == {b"job:a"}, 5, "it to listen")
        (before,) = client.client_list(_type="pubsub")
        monkeypatch.setattr("tasks.events._changed", hear_nothing)

        def is_another():
            found = client.client_list(_type="pubsub")
            return found and before["id"] not in {connection["id"] for connection in found}

        wait_until(is_another, 10, "another connection")
        monkeypatch.undo()


def test_a_thousand_jobs_are_followed_at_once(store, listener):
    jobs = [added(store, str(number)) for number in range(1000)]
    contexts = [listener.follow(status) for status in store.get_many([job.id for job in jobs])]
    followers = [context.__enter__() for context in contexts]
    store.start(jobs, HOLDER, time.time())
    store.finish([(job, done(job), {}) for job in jobs])
    end = time.monotonic() + 20
    for follower in followers:
        while (status := follower.wait(end - time.monotonic())) and not status.state.terminal:
            pass
        assert status.state is JobState.DONE
    for context in contexts:
        context.__exit__(None, None, None)
