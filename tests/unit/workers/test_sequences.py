"""Table and overseer under random sequences of everything that can happen to deliveries."""

import logging
import math
import os
import random
from concurrent.futures import ProcessPoolExecutor

import pytest

from tasks.jobs import Job, JobState
from workers.messages import Died, Done, Dropped, Jobs, Outcome, Recall, Returned, Started
from workers.overseer import Overseer
from workers.table import Phase, Table
from workers.verdict import Cause

SEQUENCES = 100_000
STEPS = (
    ["deliver"] * 4
    + ["claim"] * 4
    + ["act"] * 3
    + ["start"] * 3
    + ["finish"] * 3
    + ["store"] * 3
    + ["listen", "drop", "redeliver", "die", "give_up", "revoke"]
)
JOBS = [Job(f"j{n}", "echo", "echo_cpu", {}, "owner", 0.0, math.inf, 10.0) for n in range(5)]


class World:
    """Broker, store and host, which do random things to an overseer and keep the books."""

    alive = True  # as the keeper: there always is a host

    def __init__(self, rng):
        self.rng, self.table = rng, Table()
        self.overseer = Overseer(self.table, keeper=self, recorder=self)
        self.queue = JOBS[: rng.randint(1, len(JOBS))]
        self.live = {}  # delivery -> job, unanswered, its connection alive
        self.ended_as = {}  # job id -> state, in the store
        self.revoked, self.ran = set(), set()
        self.unclaimed, self.unstored = [], []
        self.inbox, self.host_waiting, self.host_running = [], [], []
        self.last = 0

    # -- what the overseer calls

    def send(self, message):
        self.inbox.append(message)

    def started(self, runs=()):
        self.ran |= {run.job.id for run in runs}

    def worked(self):
        pass

    def forget(self, run):
        assert run.phase is not Phase.ENDED

    def result(self, run, outcome, at, seconds):
        return JobState.DONE if outcome.error is None else JobState.FAILED

    def ended(self, run, result, session_vars=None):
        state = result if isinstance(result, JobState) else result.state
        self.unstored.append((run, state))

    # -- what happens

    def answer(self, deliveries):
        for delivery in deliveries:
            del self.live[delivery]  # a KeyError: answered twice, or after its connection died

    def deliver(self):
        if self.queue:
            self.last += 1
            job = self.live[self.last] = self.queue.pop(self.rng.randrange(len(self.queue)))
            if run := self.table.arrive(self.last, job):
                self.unclaimed.append(run)

    def claim(self):
        if self.unclaimed:
            run = self.unclaimed.pop(0)
            run.canceled |= run.job.id in self.revoked
            send, answers = self.table.claimed(run.number, run.job.id in self.ended_as)
            self.answer(answers)
            if send and run.canceled:
                self.overseer.end_canceled(run)
            elif send:
                self.overseer.send(run)

    def act(self):
        self.overseer.act(-math.inf, stopping=False)

    def listen(self):
        inbox, self.inbox = self.inbox, []
        for message in inbox:
            if isinstance(message, Jobs):
                for item in message.items:
                    assert item.number not in self.host_waiting + self.host_running
                    self.host_waiting.append(item.number)
            elif isinstance(message, Recall):
                dropped = [n for n in message.numbers if n in self.host_waiting]
                self.host_waiting = [n for n in self.host_waiting if n not in dropped]
                self.overseer.dropped(Dropped(dropped))

    def start(self):
        self.listen()
        batch, self.host_waiting = self.host_waiting[:2], self.host_waiting[2:]
        self.host_running += batch
        self.overseer.started(Started(batch, 0.0, math.inf))

    def finish(self):
        ended = [number for number in self.host_running if self.rng.random() < 0.7]
        if ended:
            self.host_running = [number for number in self.host_running if number not in ended]
            errors = [self.rng.choice([None, "failed"]) for _ in ended]
            outcomes = [Outcome(n, None if e else {}, e) for n, e in zip(ended, errors, strict=True)]
            self.overseer.done(Done(outcomes, 0.1, 0.0))

    def give_up(self):
        numbers, self.host_running = self.host_running, []
        self.overseer.returned(Returned(numbers))

    def store(self):
        unstored, self.unstored = self.unstored, []
        for run, state in unstored:
            self.ended_as.setdefault(run.job.id, state)
            self.answer(self.table.stored(run.number))

    def drop(self):
        self.queue += self.live.values()
        self.live.clear()
        self.overseer.connection_lost()

    def redeliver(self):
        if self.live:  # a second message of the same job
            self.queue.append(self.rng.choice(list(self.live.values())))

    def die(self):
        self.inbox, self.host_waiting, self.host_running = [], [], []
        stubborn = any(run.canceled for run in self.table.running)
        cause = self.rng.choice([Cause.ITSELF, Cause.TIMEOUT] + [Cause.CANCEL] * stubborn)
        self.overseer.died(Died("killed by SIGKILL"), cause)

    def revoke(self):
        job = self.rng.choice(JOBS)
        self.revoked.add(job.id)
        if run := self.table.of_job(job.id):
            self.overseer.cancel(run)

    def settle(self):
        for _ in range(100):
            for step in (self.deliver, self.claim, self.act, self.start, self.finish, self.store):
                step()
            if not (self.queue or self.live or len(self.table)):
                return

    def check(self):
        assert not self.live and not self.queue and len(self.table) == 0
        for job_id, state in self.ended_as.items():
            if state is JobState.CANCELED:
                assert job_id in self.revoked
            else:
                assert job_id in self.ran


def play(seeds):
    logging.disable(logging.CRITICAL)
    try:
        return first_wrong(seeds)
    finally:
        logging.disable(logging.NOTSET)


def first_wrong(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        world = World(rng)
        jobs = {job.id for job in world.queue}
        try:
            for _ in range(rng.randint(1, 40)):
                getattr(world, rng.choice(STEPS))()
            world.settle()
            world.check()
            assert jobs <= world.ended_as.keys(), "a job was forgotten"
        except Exception as error:
            return seed, repr(error)
    return None


def test_every_delivery_is_answered_once_and_no_job_is_forgotten():
    shards = [range(start, SEQUENCES, 64) for start in range(64)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        assert [found for found in pool.map(play, shards) if found] == []


@pytest.mark.parametrize("broken", ["connection_lost", "dropped", "retry"])
def test_a_table_that_forgets_would_be_found_out(broken, monkeypatch):
    monkeypatch.setattr(
        Table, broken, lambda self, *args, **options: [] if broken == "connection_lost" else None
    )
    assert play(range(500))
