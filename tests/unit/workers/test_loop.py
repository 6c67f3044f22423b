"""The loop of a model host, on a thread, with runners that the tests hold."""

import queue
import threading

import pytest

from workers.loop import ModelLoop, Service
from workers.messages import Cancel, Done, Dropped, Item, Jobs, Leaving, Outcome, Recall, Started, Stop
from workers.queueing import Limits

WAIT = 5


class HeldRunner:
    """A runner that ends a batch when the test says so."""

    max_runtime = 60.0

    def group(self, item):
        return ()

    def cost(self, item):
        return 1.0

    def __init__(self):
        self.go = queue.SimpleQueue()
        self.encoded = threading.Event()
        self.encoded.set()

    def run(self, items):
        self.go.get(timeout=WAIT)
        return [{} for _ in items]

    def outcomes(self, items, answers):
        assert self.encoded.wait(WAIT)
        return [Outcome(item.number, outputs=answer) for item, answer in zip(items, answers, strict=True)]


class RunningLoop:
    def __init__(self):
        self.said = queue.SimpleQueue()
        self.early = []
        self.runner = HeldRunner()
        self.max_jobs = 1000
        self.loop = ModelLoop({"a": Service(self.runner, Limits(2, 0.0))}, self.said.put, self.worn_out)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def worn_out(self, jobs):
        return "old" if jobs >= self.max_jobs else None

    def jobs(self, *numbers):
        self.loop.deliver(Jobs([Item(n, f"job{n}", "a", {}) for n in numbers]))

    def next(self, kind):
        """The next message of a kind: a batch may start before the one before it has said its outcomes."""
        for message in self.early:
            if isinstance(message, kind):
                self.early.remove(message)
                return message
        while not isinstance(message := self.said.get(timeout=WAIT), kind):
            self.early.append(message)
        return message

    def finish_batch(self):
        self.runner.go.put(None)
        return [outcome.number for outcome in self.next(Done).outcomes]


@pytest.fixture
def running():
    loop = RunningLoop()
    yield loop
    loop.loop.deliver(Stop())
    loop.runner.go.put(None)
    loop.thread.join(WAIT)
    assert not loop.thread.is_alive()


def test_start_is_said_before_the_model_runs(running):
    running.jobs(1)
    assert running.next(Started).numbers == [1]
    assert running.said.empty()
    assert running.finish_batch() == [1]


def test_jobs_that_arrive_while_the_model_runs_form_the_next_batch(running):
    running.jobs(1)
    running.next(Started)
    running.jobs(2)
    running.jobs(3)
    running.finish_batch()
    assert running.next(Started).numbers == [2, 3]
    running.finish_batch()


def test_outputs_are_encoded_while_the_next_batch_runs(running):
    running.jobs(1)
    running.next(Started)
    running.jobs(2)
    running.runner.encoded.clear()
    running.runner.go.put(None)
    started = running.next(Started)
    assert (started.numbers, started.together) == ([2], 1)  # the model has done with the first one
    running.jobs(3)
    running.runner.go.put(None)
    with pytest.raises(queue.Empty):  # one batch at a time is encoded, so that outputs do not pile up
        running.said.get(timeout=0.05)
    running.runner.encoded.set()
    assert running.next(Done).outcomes[0].number == 1
    assert running.next(Done).outcomes[0].number == 2
    assert running.next(Started).numbers == [3]
    running.finish_batch()


def test_nothing_ends_before_its_outputs_are_encoded(running):
    running.jobs(1)
    running.next(Started)
    running.jobs(2)
    running.runner.encoded.clear()
    running.runner.go.put(None)
    running.next(Started)
    running.loop.deliver(Stop())
    running.runner.go.put(None)
    running.thread.join(0.05)
    assert running.thread.is_alive()
    running.runner.encoded.set()
    running.thread.join(WAIT)
    assert [running.next(Done).outcomes[0].number for _ in range(2)] == [1, 2]


def test_recalled_job_is_dropped_at_once_if_it_has_not_started(running):
    running.jobs(1)
    running.next(Started)
    running.jobs(2, 3)
    running.loop.deliver(Recall([1, 2]))
    assert running.next(Dropped).numbers == [2]  # the model still runs
    running.finish_batch()
    assert running.next(Started).numbers == [3]
    running.finish_batch()


def test_cancel_is_seen_while_the_model_runs_and_forgotten_afterwards(running):
    running.jobs(1)
    running.next(Started)
    running.loop.deliver(Cancel([1, 2]))
    assert running.loop.is_canceled(1) and not running.loop.is_canceled(2)
    running.finish_batch()
    assert not running.loop.is_canceled(1)
    running.loop.deliver(Cancel([1]))  # it crossed the outcome
    assert not running.loop.is_canceled(1)


def test_worn_out_host_says_so_and_ends_after_its_batch(running):
    running.max_jobs = 1
    running.jobs(1)
    running.next(Started)
    running.jobs(2)
    running.finish_batch()
    assert running.next(Leaving).reason == "old"
    running.thread.join(WAIT)
    assert not running.thread.is_alive()
    assert running.said.empty() and running.early == []  # the worker knows what it still had


def test_stop_finishes_the_running_batch_and_drops_the_rest(running):
    running.jobs(1)
    running.next(Started)
    running.jobs(2)
    running.loop.deliver(Stop())
    assert running.finish_batch() == [1]
    assert running.next(Dropped).numbers == [2]
    running.thread.join(WAIT)
    assert not running.thread.is_alive()


def test_job_of_an_endpoint_that_is_gone_fails_and_the_loop_goes_on(running):
    running.loop.deliver(Jobs([Item(1, "job1", "gone", {})]))
    (outcome,) = running.next(Done).outcomes
    assert "no model for endpoint gone" in outcome.error
    running.jobs(2)
    assert running.next(Started).numbers == [2]
    running.finish_batch()
