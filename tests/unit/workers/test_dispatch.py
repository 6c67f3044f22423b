"""The desk between broker, store and model host, with a host and a store that the tests play."""

import dataclasses
import queue
import threading
import time

import pytest

from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, WorkerInfo
from tasks.store.running import Claim
from workers.dispatch import Dispatcher
from workers.events import Answer, Fatal
from workers.messages import (
    Cancel,
    Died,
    Done,
    Dropped,
    Jobs,
    LoadFailed,
    Outcome,
    Ready,
    Recall,
    Report,
    Started,
    Stop,
)

WAIT = 5


@dataclasses.dataclass
class FakeEndpoint:
    name: str = "echo"
    max_load_time: float = 600.0


class FakeHost:
    pid = 4711

    def __init__(self, on_message):
        self.say = on_message
        self.heard = queue.SimpleQueue()
        self.killed = threading.Event()

    def send(self, message):
        self.heard.put(message)
        if isinstance(message, Stop):
            self.say(Died("exit status 0"))

    def kill(self):
        if not self.killed.is_set():
            self.killed.set()
            self.say(Died("killed by SIGKILL"))

    def next(self, kind):
        message = self.heard.get(timeout=WAIT)
        assert isinstance(message, kind), message
        return message

    def run(self, items, **outcome):
        numbers = [item.number for item in items]
        self.say(Started(numbers, 5.0, 60.0))
        self.say(Done([Outcome(n, **(outcome or {"outputs": {"n": n}})) for n in numbers], 0.01, 7.0))


class FakeStore:
    def __init__(self):
        self.down = False
        self.records, self.log, self.known, self.canceled = {}, [], {}, set()
        self.ended, self.released = set(), []

    def _check(self):
        if self.down:
            raise StoreUnavailable("down")

    def claim(self, ids, holder):
        self._check()
        return [self.known.get(i, Claim(JobState.QUEUED)) for i in ids]

    def tend(self, ids, holder):
        self._check()
        return [i for i in ids if i in self.canceled]

    def start(self, jobs, worker, now):
        self._check()
        jobs = list(jobs)
        self.log += [("start", job.id) for job in jobs]
        return [job.id not in self.ended for job in jobs]

    def release(self, ids, holder):
        self.released += ids

    def report(self, progress):
        self._check()
        self.log += [("report", job.id, p.percent) for job, p in progress]

    def finish(self, results):
        self._check()
        for job, result, _ in results:
            self.log.append(("finish", job.id, result.state))
            self.records[job.id] = result
        return [True] * len(results)

    def record(self, started, progress, results, holder, now):
        taken = self.start(started, holder, now) if started else []
        self.report(progress)
        self.finish(results)
        return taken

    def announce(self, info, queues, now):
        self._check()

    def retire(self, *args):
        pass


class Desk:
    """A dispatcher, its fakes, and what it answered."""

    def __init__(self, **endpoint):
        self.store, self.hosts, self.answers = FakeStore(), queue.SimpleQueue(), queue.SimpleQueue()
        self.dispatcher = Dispatcher(
            self.store,
            {"echo": FakeEndpoint(**endpoint)},
            self._spawn,
            self._take,
            WorkerInfo("w@host"),
            ["echo_cpu"],
        )
        self.dispatcher.thread.start()
        self.host = self.next_host()
        self.host.say(Ready(0.1, {}))

    def _spawn(self, on_message):
        host = FakeHost(on_message)
        self.hosts.put(host)
        return host

    def _take(self, answers):
        for answer in answers:
            self.answers.put(answer)

    def next_host(self):
        return self.hosts.get(timeout=WAIT)

    def arrive(self, delivery, job_id, deadline=None):
        now = time.time()
        job = Job(job_id, "echo", "echo_cpu", {"x": 1}, "owner", now, deadline or now + 60, 10.0)
        self.dispatcher.arrive(delivery, job)

    def items(self, count):
        items = []
        while len(items) < count:
            items += self.host.next(Jobs).items
        return items

    def answered(self, count=1):
        """The next `count` final answers, notes of a start left out."""
        final = []
        while len(final) < count:
            answer = self.answers.get(timeout=WAIT)
            if isinstance(answer, Fatal) or not answer.started:
                final.append(answer)
        return final


@pytest.fixture
def desk():
    made = []

    def make(**endpoint):
        made.append(Desk(**endpoint))
        return made[-1]

    yield make
    for one in made:
        one.dispatcher.kill()
        one.dispatcher.thread.join(WAIT)
        assert not one.dispatcher.thread.is_alive()


def test_result_is_stored_before_the_delivery_is_answered(desk):
    d = desk()
    d.arrive(1, "a")
    d.host.run(d.items(1))
    (answer,) = d.answered()
    assert answer.delivery == 1 and answer.error is None and answer.run_time == 2.0  # the host's own times
    assert d.store.records["a"].state is JobState.DONE
    assert d.store.log == [("start", "a"), ("finish", "a", JobState.DONE)]


def test_nothing_is_answered_while_the_store_is_down_and_all_is_once_it_is_back(desk):
    d = desk()
    d.arrive(1, "a")
    items = d.items(1)
    d.store.down = True
    d.host.run(items)
    with pytest.raises(queue.Empty):
        d.answers.get(timeout=0.3)
    d.store.down = False
    assert d.answers.get(timeout=WAIT) == Answer(1, started=True)
    assert d.answered()[0].state is JobState.DONE


def test_failed_job_is_answered_with_its_error(desk):
    d = desk()
    d.arrive(1, "a")
    d.host.run(d.items(1), error="ValueError: no")
    assert d.answered()[0].error == "ValueError: no"
    assert d.store.records["a"].state is JobState.FAILED


def test_job_that_ended_before_is_answered_and_not_run_again(desk):
    d = desk()
    d.store.known["a"] = Claim(JobState.DONE)
    d.arrive(1, "a")
    assert d.answered()[0].delivery == 1
    assert d.host.heard.empty() and not d.store.log


def test_job_past_its_deadline_lapses_without_a_run(desk):
    d = desk()
    d.arrive(1, "a", deadline=1.0)
    assert "lapsed" in d.answered()[0].error
    assert d.store.records["a"].state is JobState.LAPSED and d.host.heard.empty()


def test_job_that_was_running_when_its_worker_died_runs_alone(desk):
    d = desk()
    d.store.known["a"] = Claim(JobState.PROCESSING)
    d.arrive(1, "a")
    assert d.items(1)[0].alone


def test_job_that_was_running_when_its_worker_died_does_not_lapse(desk):
    d = desk()
    d.store.known["a"] = Claim(JobState.PROCESSING)
    d.arrive(1, "a", deadline=1.0)
    d.host.run(d.items(1))
    assert d.answered()[0].state is JobState.DONE


def test_last_progress_is_written_before_the_result(desk):
    d = desk()
    d.arrive(1, "a")
    (item,) = d.items(1)
    d.host.say(Started([item.number], 5.0, 60.0))
    for percent in (10, 20, 90):
        d.host.say(Report(item.number, percent, {}))
    d.host.say(Done([Outcome(item.number, outputs={})], 0.1, 7.0))
    d.answered()
    reports = [entry for entry in d.store.log if entry[0] == "report"]
    assert reports[-1] == ("report", "a", 90) and d.store.log[-1][0] == "finish"


def test_host_that_dies_idle_is_replaced(desk):
    d = desk()
    d.host.say(Died("killed by SIGKILL"))
    d.host = d.next_host()
    d.arrive(1, "a")
    d.host.run(d.items(1))
    assert d.answered()[0].error is None


def test_jobs_on_a_host_that_dies_run_again_alone_and_the_others_as_they_were(desk):
    d = desk()
    for n, name in enumerate("abc", 1):
        d.arrive(n, name)
    items = d.items(3)
    d.host.say(Started([items[0].number, items[1].number], 5.0, 60.0))
    d.host.say(Died("killed by SIGSEGV"))
    d.host = d.next_host()
    again = d.items(3)
    assert {item.job_id: item.alone for item in again} == {"a": True, "b": True, "c": False}
    d.host.run(again)
    assert {answer.delivery for answer in d.answered(3)} == {1, 2, 3}


def test_job_that_kills_its_host_alone_twice_is_failed_with_the_reason(desk):
    d = desk()
    d.arrive(1, "poison")
    for _ in range(2):
        (item,) = d.items(1)
        d.host.say(Started([item.number], 5.0, 60.0))
        d.host.say(Died("killed by SIGSEGV"))
        d.host = d.next_host()
    assert "SIGSEGV" in d.answered()[0].error
    assert d.host.heard.empty()


def test_batch_that_exceeds_max_runtime_is_killed_and_its_only_job_failed_at_once(desk):
    d = desk()
    d.arrive(1, "slow")
    (item,) = d.items(1)
    d.host.say(Started([item.number], 5.0, max_runtime=0.05))
    assert d.host.killed.wait(WAIT)
    assert "max_runtime" in d.answered()[0].error


def test_lost_connection_recalls_and_the_new_delivery_gets_the_answer(desk):
    d = desk()
    d.arrive(1, "a")
    d.arrive(2, "b")
    items = {item.job_id: item.number for item in d.items(2)}
    d.host.say(Started([items["a"]], 5.0, 60.0))
    while not d.store.log:
        time.sleep(0.001)
    d.dispatcher.connection_lost()
    assert d.host.next(Recall).numbers == [items["b"]]
    d.host.say(Dropped([items["b"]]))
    d.arrive(3, "b")
    d.arrive(4, "a")
    (again,) = d.items(1)
    assert again.job_id == "b"
    d.host.say(Done([Outcome(items["a"], outputs={})], 0.1, 7.0))
    assert d.answered()[0].delivery == 4
    d.host.run([again])
    assert d.answered()[0].delivery == 3


def test_model_that_cannot_be_loaded_ends_the_dispatcher_with_the_reason():
    d = Desk.__new__(Desk)
    d.store, d.hosts, d.answers = FakeStore(), queue.SimpleQueue(), queue.SimpleQueue()
    d.dispatcher = Dispatcher(d.store, {}, d._spawn, d._take, WorkerInfo("w"), ["q"])
    d.dispatcher.thread.start()
    host = d.next_host()
    host.say(LoadFailed("no weights"))
    host.say(Died("exit status 1"))
    assert d.answers.get(timeout=WAIT) == Fatal("no weights")
    d.dispatcher.thread.join(WAIT)
    assert d.dispatcher.failure == "no weights" and not d.dispatcher.thread.is_alive()


def test_shutdown_finishes_the_running_batch_and_answers_nothing_else(desk):
    d = desk()
    d.arrive(1, "a")
    d.arrive(2, "b")
    items = d.items(2)
    d.host.say(Started([items[0].number], 5.0, 60.0))
    d.host.say(Done([Outcome(items[0].number, outputs={})], 0.1, 7.0))
    d.host.say(Dropped([items[1].number]))
    d.dispatcher.shutdown()
    d.dispatcher.thread.join(WAIT)
    assert [a.delivery for a in d.answered(1)] == [1] and d.answers.empty()
    assert "b" not in d.store.records


def test_dropped_job_is_sent_again_unless_the_worker_is_stopping(desk):
    d = desk()
    d.arrive(1, "a")
    (item,) = d.items(1)
    d.host.say(Dropped([item.number]))
    assert d.items(1)[0].job_id == "a"


def test_canceled_job_that_waits_is_recalled_and_never_runs(desk):
    d = desk()
    d.arrive(1, "a")
    (item,) = d.items(1)
    d.dispatcher.cancel("a")
    assert d.host.next(Recall).numbers == [item.number]
    d.host.say(Dropped([item.number]))
    assert d.answered()[0].state is JobState.CANCELED
    assert d.store.records["a"].state is JobState.CANCELED and d.store.log[0][0] == "finish"


def test_cancel_that_the_store_knows_of_reaches_the_running_model(desk):
    d = desk()
    d.arrive(1, "a")
    (item,) = d.items(1)
    d.host.say(Started([item.number], 5.0, 60.0))
    d.store.canceled.add("a")
    assert d.host.next(Cancel).numbers == [item.number]
    d.host.say(Done([Outcome(item.number, outputs={"half": 1})], 0.1, 7.0))
    assert d.answered()[0].state is JobState.CANCELED and d.store.records["a"].outputs == {}


def test_canceled_job_that_does_not_stop_is_killed_and_its_neighbour_runs_again(desk, monkeypatch):
    monkeypatch.setattr("workers.overseer.CANCEL_GRACE", 0.05)
    d = desk()
    d.arrive(1, "stuck")
    d.arrive(2, "good")
    items = d.items(2)
    d.host.say(Started([item.number for item in items], 5.0, 60.0))
    d.dispatcher.cancel("stuck")
    assert d.host.killed.wait(WAIT)
    assert d.answered()[0].state is JobState.CANCELED
    d.host = d.next_host()
    (again,) = d.items(1)
    assert again.job_id == "good" and not again.alone
    d.host.run([again])
    assert d.answered()[0].state is JobState.DONE


def test_revoked_job_is_canceled_before_it_is_sent(desk):
    d = desk()
    now = time.time()
    job = Job("a", "echo", "echo_cpu", {}, "owner", now, now + 60, 10.0)
    d.dispatcher.arrive(1, job, canceled=True)
    assert d.answered()[0].state is JobState.CANCELED and d.host.heard.empty()


def test_job_that_runs_elsewhere_waits_until_that_worker_has_ended_it(desk):
    d = desk()
    d.store.known["a"] = Claim(JobState.PROCESSING, wait=0.1)
    d.arrive(1, "a")
    time.sleep(0.15)
    assert d.host.heard.empty() and d.answers.empty()
    d.store.known["a"] = Claim(JobState.DONE)
    assert d.answered()[0].delivery == 1
    assert d.host.heard.empty()


def test_job_with_which_three_workers_died_is_failed(desk):
    d = desk()
    d.store.known["a"] = Claim(JobState.PROCESSING, deaths=3)
    d.arrive(1, "a")
    assert "3 workers died" in d.answered()[0].error and d.host.heard.empty()


def test_job_that_had_ended_when_it_started_is_stopped(desk):
    d = desk()
    d.store.ended.add("a")
    d.arrive(1, "a")
    (item,) = d.items(1)
    d.host.say(Started([item.number], 5.0, 60.0))
    assert d.host.next(Cancel).numbers == [item.number]


def test_what_was_not_started_is_given_back_at_the_end(desk):
    d = desk()
    d.arrive(1, "a")
    d.items(1)
    d.dispatcher.shutdown()
    d.dispatcher.thread.join(WAIT)
    assert d.store.released == ["a"]


def test_hosts_that_die_one_after_the_other_with_nothing_done_end_the_worker(desk, monkeypatch):
    monkeypatch.setattr("workers.keeper.RESPAWN", (0.0,))
    d = desk()
    for _ in range(12):
        d.host.say(Died("exit status 1"))
        if not d.dispatcher.thread.is_alive():
            break
        try:
            d.host = d.hosts.get(timeout=1)
        except queue.Empty:
            break
    assert isinstance(d.answered()[0], Fatal) and "one model host after the other" in d.dispatcher.failure


def test_job_whose_record_was_forgotten_lapses_if_it_is_late(desk):
    d = desk()
    d.store.known["a"] = Claim(None)
    d.arrive(1, "a", deadline=1.0)
    assert d.answered()[0].state is JobState.LAPSED


def test_shutdown_does_not_wait_for_a_new_host_that_loads(desk):
    d = desk()
    d.host.say(Died("killed by SIGSEGV"))
    host = d.next_host()
    d.dispatcher.shutdown()
    assert host.killed.wait(WAIT)
