"""The job store on a real Redis."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time

import pytest
import redis

from tasks import replies
from tasks.errors import DayLimitReached, QueueFull, QueueTooLarge, StoreUnavailable, TooManyJobs
from tasks.jobs import Job, JobState, Priority, Progress, Result, WorkerInfo
from tasks.records import estimate, waiting_key
from tasks.replies import ReplyListener
from tasks.room import DayLimits, Room
from tasks.store import JobStore
from tasks.store.running import Claim
from tests.services import wait_until


@pytest.fixture
def store(redis_server):
    store = JobStore.from_url(redis_server.socket_url)
    yield store
    store.close()


def job(job_id="a", **changes):
    now = time.time()
    return dataclasses.replace(
        Job(job_id, "echo", "echo_cpu", {"text": "x"}, "me", now, now + 60, 30.0), **changes
    )


def done(job, **changes):
    return dataclasses.replace(Result(JobState.DONE, job.accepted, time.time(), {"text": "x"}), **changes)


def test_waiting_jobs_have_positions_in_the_order_of_arrival(store):
    for n, name in enumerate("abc"):
        store.add(job(name, accepted=1000.0 + n), 10)
    assert [s.queue_position for s in store.get_many("abc")] == [1, 2, 3]
    store.start([job("a")], "w#1", 5.0)
    assert (store.get("a").started, store.get("a").worker) == (5.0, "w")
    assert [(s.state, s.queue_position) for s in store.get_many("abc")] == [
        (JobState.PROCESSING, 0),
        (JobState.QUEUED, 1),
        (JobState.QUEUED, 2),
    ]


def test_start_and_end_in_one_go_leave_what_they_leave_one_after_the_other(store):
    one, other = job("a"), job("b")
    for each in (one, other):
        store.add(each, 10)
    end = done(one, started=5.0, worker="w")
    store.start([one], "w#1", 5.0)
    store.finish([(one, end, {})])
    assert store.record([other], [], [(other, end, {})], "w#1", 5.0) == [True]
    a, b = (dataclasses.replace(status, id="", accepted=0.0, revision=0) for status in store.get_many("ab"))
    assert a == b and (a.state, a.started, a.worker) == (JobState.DONE, 5.0, "w")
    assert store.queue_length("echo_cpu") == 0


def test_last_progress_of_a_job_that_starts_and_ends_in_one_go_is_kept(store):
    one = job()
    store.add(one, 10)
    store.report([(one, Progress(1.0))])  # of no effect yet, but Redis knows the script from here on
    store.record([one], [(one, Progress(90.0))], [(one, done(one, started=5.0), {})], "w#1", 5.0)
    assert store.get("a").progress.percent == 90.0


def test_of_jobs_that_start_together_those_that_had_ended_are_told_apart(store):
    quick, ended, slow = jobs = [job(name) for name in "abc"]
    for each in jobs:
        store.add(each, 10)
    store.cancel("b")
    taken = store.record([ended, quick, slow], [], [(quick, done(quick, started=5.0), {})], "w#1", 5.0)
    assert taken == [False, True, True]
    assert [s.state for s in store.get_many("abc")] == [JobState.DONE, JobState.CANCELED, JobState.PROCESSING]


def test_higher_priority_stands_before_what_came_earlier(store):
    for n, priority in enumerate([Priority.BULK, Priority.NORMAL, Priority.HIGH, Priority.HIGH]):
        store.add(job(f"{n}", accepted=1000.0 + n, priority=priority), 10)
    assert [s.queue_position for s in store.get_many("0123")] == [4, 3, 1, 2]


def test_job_that_starts_while_it_is_looked_up_is_never_queued_without_a_position(store, monkeypatch):
    store.add(job("a"), 10)

    def start_it_first(queue):
        monkeypatch.undo()
        store.start([job("a")], "w#1", 5.0)
        return waiting_key(queue)

    monkeypatch.setattr("tasks.store.waiting.waiting_key", start_it_first)
    found = store.get("a")
    assert (found.state, found.queue_position) == (JobState.PROCESSING, 0)


def test_full_queue_refuses_and_records_nothing(store):
    store.add(job("a"), 1)
    with pytest.raises(QueueFull, match="max length 1"):
        store.add(job("b"), 1)
    assert store.get("b") is None and store.queue_length("echo_cpu") == 1


def test_a_job_that_is_added_twice_waits_once(store):
    assert store.add_all([(job("a"), Room(1))]) == [Priority.NORMAL]
    first, second = store.add_all([(job("a"), Room(1)), (job("b"), Room(1))])
    assert first is Priority.NORMAL and isinstance(second, QueueFull)
    assert store.queue_length("echo_cpu") == 1


def test_a_job_that_was_withdrawn_before_it_was_added_never_waits(store):
    store.withdraw(job("a"))
    assert store.add_all([(job("a"), Room(1))]) == [Priority.NORMAL]
    assert store.get("a").state is JobState.CANCELED
    assert store.queue_length("echo_cpu") == 0


def test_jobs_of_several_queues_are_added_together(store):
    one, two = Room(1), Room(2)
    jobs = [(job("a"), two), (job("x", queue="other"), one), (job("b"), two), (job("y", queue="other"), one)]
    *added, refused = store.add_all(jobs)
    assert added == [Priority.NORMAL] * 3 and isinstance(refused, QueueFull)
    assert store.get("b").queue_position == 2


def test_of_jobs_that_come_together_each_has_its_own_limits(store):
    limited = DayLimits(bytes=100)
    jobs = [
        (job("a", size=80), Room(10, per_day=limited)),
        (job("b", size=80), Room(10, per_day=limited)),
        (job("c", owner="other", webhook="{}", blobs=[[["text"], "blob"]]), Room(10, share=1)),
        (job("d", owner="other"), Room(10, share=1)),
        (job("e", owner="third"), Room(10, jobs_at_once=1)),
        (job("f", owner="third"), Room(10, jobs_at_once=1)),
        (job("g", size=10**6), Room(10, max_bytes=10**6 + 1)),
        (job("h", size=10**6), Room(10, max_bytes=10**6 + 1)),
    ]
    answers = store.add_all(jobs)
    told = [answer if isinstance(answer, Priority) else type(answer) for answer in answers]
    normal = Priority.NORMAL
    assert told == [
        normal, DayLimitReached, normal, Priority.BULK, normal, TooManyJobs, normal, QueueTooLarge
    ]  # fmt: skip
    assert [status and status.id for status in store.get_many("abcdefgh")] == [
        "a", None, "c", "d", "e", None, "g", None
    ]  # fmt: skip


@pytest.mark.parametrize("priority", Priority)
def test_lapsed_jobs_make_room_in_a_full_queue(store, priority):
    store.add(job("old", accepted=1.0, deadline=2.0, priority=priority), 1)
    store.add(job("new"), 1)
    assert store.get("old").state is JobState.LAPSED
    assert store.get("new").state is JobState.QUEUED


def test_job_past_its_deadline_lapses_when_it_is_looked_at(store):
    store.add(job("a", deadline=time.time() + 10), 10)
    assert store.get("a").state is JobState.QUEUED
    status = store.get("a", now=time.time() + 11)
    assert status.state is JobState.LAPSED and "lapsed" in status.result.error
    assert store.queue_length("echo_cpu") == 0


def test_running_job_never_lapses(store):
    one = job("a", deadline=time.time() + 10)
    store.add(one, 10)
    store.start([one], "w#1", time.time())
    assert store.get("a", now=time.time() + 3600).state is JobState.PROCESSING


def test_first_outcome_wins(store):
    one = job()
    store.add(one, 10)
    store.start([one], "w#1", 5.0)
    assert store.finish([(one, done(one), {})]) == [True]
    assert store.finish([(one, done(one, state=JobState.FAILED, error="late"), {})]) == [False]
    store.start([one], "w2#1", 6.0)
    store.report([(one, Progress(50.0))])
    status = store.get("a")
    assert (
        status.state is JobState.DONE
        and status.result.outputs == {"text": "x"}
        and status.progress.percent == 0
    )


def test_result_can_be_read_again_until_its_lifetime_ends(store, redis_server):
    one = job(result_lifetime=30)
    store.add(one, 10)
    store.finish([(one, done(one), {})])
    assert store.get("a") == store.get("a")
    assert 0 < redis_server.client().ttl("job:a") <= 30


def test_result_of_a_job_whose_record_was_lost_can_be_read(store, redis_server):
    one = job()
    store.add(one, 10)
    redis_server.flush()
    store.start([one], "w#1", 5.0)
    store.finish([(one, done(one), {})])
    assert store.get("a").state is JobState.DONE and store.get("a").owner == "me"


def test_withdrawn_job_is_ended_so_that_a_worker_drops_it(store):
    store.add(job(), 10)
    store.withdraw(job())
    assert [claim.state for claim in store.claim(["a", "unknown"], "w#1")] == [JobState.CANCELED, None]
    assert store.queue_length("echo_cpu") == 0


def test_waiting_job_is_canceled_at_once(store):
    store.add(job(), 10)
    assert store.cancel("a") is JobState.CANCELED
    assert store.get("a").state is JobState.CANCELED and store.queue_length("echo_cpu") == 0
    assert store.cancel("unknown") is None


def test_running_job_is_canceled_when_its_worker_has_stopped_it(store):
    store.add(job(), 10)
    assert store.claim(["a"], "w#1")[0].state is JobState.QUEUED
    store.start([job()], "w#1", 5.0)
    assert store.cancel("a") is JobState.PROCESSING
    assert store.get("a").state is JobState.PROCESSING
    assert store.tend(["a"], "w#1") == ["a"]


def test_job_that_a_worker_holds_is_canceled_by_that_worker(store):
    store.add(job(), 10)
    store.claim(["a"], "w#1")
    assert store.cancel("a") is JobState.QUEUED
    assert store.claim(["a"], "w2#1")[0].canceled


def test_ended_job_cannot_be_canceled(store):
    store.finish([(job(), done(job()), {})])
    assert store.cancel("a") is JobState.DONE


def test_job_that_runs_elsewhere_may_not_run_here_until_its_lease_ends(store, redis_server):
    store.add(job(), 10)
    store.start([job()], "w1@h#1", 5.0)
    assert 8 <= store.claim(["a"], "w2@h#1")[0].wait <= 10
    store.cancel("a")
    assert not store.claim(["a"], "w2@h#1")[0].canceled  # it runs there
    redis_server.client().hdel("job:a", "canceled")
    redis_server.client().hset("job:a", "lease", 1)
    assert store.claim(["a"], "w2@h#1")[0] == Claim(JobState.PROCESSING, deaths=1)


def test_worker_that_was_restarted_under_its_name_takes_its_jobs_at_once(store):
    store.add(job(), 10)
    store.start([job()], "w1@h#1", 5.0)
    assert store.claim(["a"], "w1@h#2")[0] == Claim(JobState.PROCESSING, deaths=1)
    assert store.claim(["a"], "w1@h#2")[0] == Claim(JobState.PROCESSING, deaths=1)


def test_only_a_worker_that_ran_the_job_counts_as_having_died_with_it(store, redis_server):
    store.add(job(), 10)
    store.start([job()], "w0@h#1", 5.0)
    for n in (1, 2, 3):
        redis_server.client().hset("job:a", "lease", 1)
        assert store.claim(["a"], f"w{n}@h#1")[0].deaths == 1


def test_job_that_was_given_back_is_canceled_at_once_and_blames_nobody(store):
    store.add(job(), 10)
    store.add(job("b"), 10)
    store.claim(["a", "b"], "w#1")
    store.start([job("b")], "w#1", 5.0)
    store.release(["a", "b"], "w#1")
    assert store.cancel("a") is JobState.CANCELED
    assert store.claim(["b"], "w2#1")[0] == Claim(JobState.PROCESSING)


def test_job_is_given_back_by_its_holder_only(store):
    store.add(job(), 10)
    store.start([job()], "w#1", 5.0)
    store.release(["a"], "other#1")
    assert 0 < store.claim(["a"], "other#1")[0].wait <= 10


def test_canceled_job_is_remembered_as_long_as_its_message_may_come(store, redis_server):
    store.add(job(deadline=time.time() + 3600, result_lifetime=1.0), 10)
    store.cancel("a")
    assert redis_server.client().ttl("job:a") > 3600


def test_outcome_that_is_dropped_leaves_the_session_alone(store):
    one = job(session="s1")
    store.add(one, 10)
    store.cancel("a")
    assert store.finish([(one, done(one), {"counter": 9})]) == [False]
    assert store.session_vars("s1", "echo") == {}


def test_scripts_are_loaded_again_after_the_server_forgot_them(store, redis_server):
    store.add(job(), 10)
    redis_server.client().script_flush()
    store.start([job()], "w#1", 5.0)
    assert store.finish([(job(), done(job()), {})]) == [True]


def test_session_variables_are_kept_per_session_and_endpoint(store):
    one = job(session="s1")
    store.finish([(one, done(one), {"counter": 4})])
    assert store.session_vars("s1", "echo") == {"counter": 4}
    assert store.session_vars("s2", "echo") == {} and store.session_vars("s1", "other") == {}


def test_worker_is_listed_until_it_retires_or_falls_silent(store):
    store.announce(WorkerInfo("w1@h", 8, seconds_per_job=0.5), ["q"], now=100.0)
    store.announce(WorkerInfo("w2@h", 8, seconds_per_job=0.5), ["q"], now=110.0)
    assert [w.name for w in store.workers("q", now=111.0)] == ["w1@h", "w2@h"]
    assert [w.name for w in store.workers("q", now=116.0)] == ["w2@h"]
    assert estimate(store.workers("q", now=116.0), 4) == 2.0
    store.retire(WorkerInfo("w2@h"), ["q"])
    assert store.workers("q", now=116.0) == [] and estimate([], 4) == -1.0


def test_store_that_is_away_is_said_within_a_second(store, redis_server):
    redis_server.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.add(job(), 10)
    assert time.monotonic() - began < 1
    redis_server.start()
    wait_until(lambda: store.ping() is None, 5, "the store to come back")


def test_store_that_is_held_up_by_a_script_is_away_until_that_has_ended(store, redis_server):
    def run_endlessly():
        with redis_server.client() as client, contextlib.suppress(redis.ResponseError):  # it is killed
            client.eval("while true do end", 0)

    def is_busy():
        try:
            return store.ping()
        except StoreUnavailable as error:
            return "BUSY" in str(error)

    with redis_server.client() as client:
        client.config_set("lua-time-limit", 10)
        script = threading.Thread(target=run_endlessly)
        script.start()
        try:
            wait_until(is_busy, 10, "the script to hold Redis up")
            with pytest.raises(StoreUnavailable, match="BUSY"):
                store.claim(["a"], "w#1")
        finally:
            client.script_kill()
            script.join()
            client.config_set("lua-time-limit", 5000)
    assert store.claim(["a"], "w#1") == [Claim(None)]


class TestReplies:
    @pytest.fixture
    def listener(self, store):
        listener = ReplyListener(store, resync=0.2)
        yield listener
        listener.close()

    def test_result_wakes_who_waits(self, store, listener):
        one = job(reply_to=listener.channel)
        with listener.expect("a") as waiter:
            store.add(one, 10)
            threading.Timer(0.05, lambda: store.finish([(one, done(one), {})])).start()
            assert waiter.wait(5).outputs == {"text": "x"}

    def test_wait_ends_with_nothing_after_its_timeout(self, listener):
        with listener.expect("a") as waiter:
            assert waiter.wait(0.01) is None

    def test_result_that_was_not_published_is_found_in_the_store(self, store, listener):
        one = job()  # says nowhere that somebody waits, as if the message had been lost
        with listener.expect("a") as waiter:
            store.add(one, 10)
            store.finish([(one, done(one), {})])
            assert waiter.wait(8).outputs == {"text": "x"}

    def test_result_that_came_while_the_store_restarted_is_delivered(self, store, listener, redis_server):
        one = job(reply_to=listener.channel)
        with listener.expect("a") as waiter:
            store.add(one, 10)
            redis_server.kill()
            redis_server.start()
            wait_until(lambda: store.ping() is None, 5, "the store to come back")
            store.finish([(one, done(one), {})])
            assert waiter.wait(8).outputs == {"text": "x"}

    def test_results_that_come_together_reach_all_who_wait(self, store, listener):
        jobs = [job(f"{n}", reply_to=listener.channel) for n in range(300)]
        with contextlib.ExitStack() as waiting:
            waiters = [waiting.enter_context(listener.expect(one.id)) for one in jobs]
            store.add_all([(one, Room(1000)) for one in jobs])
            store.finish([(one, done(one, outputs={"text": one.id * 1000}), {}) for one in jobs])
            results = [waiter.wait(8) for waiter in waiters]
        assert [result.outputs["text"] for result in results] == [one.id * 1000 for one in jobs]

    def test_result_whose_connection_was_cut_is_delivered(self, store, redis_server):
        listener = ReplyListener(store, resync=60)
        one, two = job("a", reply_to=listener.channel), job("b", reply_to=listener.channel)
        with listener.expect("a") as first, listener.expect("b") as second:
            store.add_all([(one, Room(10)), (two, Room(10))])
            with redis_server.client() as client:
                assert client.client_kill_filter(_type="pubsub") == 1
            store.finish([(one, done(one), {})])  # perhaps before it listens again
            assert first.wait(8).outputs == {"text": "x"}
            store.finish([(two, done(two), {})])
            assert second.wait(8).outputs == {"text": "x"}
        listener.close()

    def test_a_channel_on_which_nothing_comes_is_given_up(self, store, monkeypatch, redis_server):
        listen, deaf = replies._next_answer, threading.Event()

        def next_answer(connection, timeout):
            if deaf.is_set():  # as where a firewall drops what the server sends
                return time.sleep(timeout)
            return listen(connection, timeout)

        monkeypatch.setattr(replies, "_next_answer", next_answer)
        listener = ReplyListener(store, resync=0.1)
        one = job(reply_to=listener.channel)
        with listener.expect("a"), redis_server.client() as client:
            (before,) = client.client_list(_type="pubsub")
            deaf.set()

            def is_another():
                found = client.client_list(_type="pubsub")
                return found and before["id"] not in {connection["id"] for connection in found}

            wait_until(is_another, 10, "another connection")
            deaf.clear()
        with listener.expect("a") as waiter:
            store.add(one, 10)
            store.finish([(one, done(one), {})])
            assert waiter.wait(8).outputs == {"text": "x"}
        listener.close()

    def test_who_has_waited_is_forgotten(self, store, listener):
        one = job(reply_to=listener.channel)
        with listener.expect("a") as waiter:
            store.add(one, 10)
            store.finish([(one, done(one), {})])
            assert waiter.wait(8)
        with contextlib.suppress(ZeroDivisionError), listener.expect("b"):
            raise ZeroDivisionError
        assert listener._waiters == {}

    def test_what_nobody_waits_for_disturbs_nobody(self, store, listener):
        one = job(reply_to=listener.channel)
        with listener.expect("a") as waiter:
            for text in ("", "b", "b {", "a"):
                store.publish(listener.channel, text)
            store.add(one, 10)
            store.finish([(one, done(one), {})])
            assert waiter.wait(8).outputs == {"text": "x"}

    def test_lapse_reaches_who_waits(self, store, listener):
        one = job(reply_to=listener.channel, deadline=time.time() + 0.2)
        with listener.expect("a") as waiter:
            store.add(one, 10)
            assert waiter.wait(8).state is JobState.LAPSED


def test_outputs_that_no_store_takes_fail_their_job(store, monkeypatch):
    monkeypatch.setattr("tasks.records.LARGEST_RESULT", 1000)
    store.add(job(), 10)
    assert store.finish([(job(), done(job(), outputs={"numbers": [0.5] * 300}), {})]) == [True]
    result = store.get("a").result
    assert (result.state, result.outputs) == (JobState.FAILED, {})
    assert "at most 1000" in result.error
