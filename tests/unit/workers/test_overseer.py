"""What the overseer does with runs, with a host and a recorder that the tests play."""

import math

import pytest

from tasks.jobs import Job, JobState
from workers.messages import Cancel, Died, Done, Jobs, Outcome, Recall, Report, Started
from workers.overseer import CANCEL_GRACE, Overseer
from workers.table import Table
from workers.verdict import Cause


class FakeKeeper:
    alive = True

    def __init__(self):
        self.sent, self.kills = [], []

    def send(self, message):
        self.sent.append(message)

    def kill(self, cause):
        self.kills.append(cause)

    def started(self):
        pass

    def worked(self):
        pass


class FakeRecorder:
    def __init__(self):
        self.reports, self.ends = [], []

    def started(self, runs):
        pass

    def reported(self, run, progress, now):
        self.reports.append((run, progress.percent))

    def forget(self, run):
        pass

    def result(self, run, outcome, at, seconds):
        return JobState.DONE

    def ended(self, run, result, session_vars=None):
        self.ends.append(run)


class Office:
    """An overseer, and what it works with."""

    def __init__(self):
        self.table, self.keeper, self.recorder = Table(), FakeKeeper(), FakeRecorder()
        self.overseer = Overseer(self.table, self.keeper, self.recorder)

    def take(self, name="a"):
        """Take a job whose run may go to the host."""
        run = self.table.arrive(1, Job(name, "echo", "q", {}, "me", 0.0, math.inf, 10.0))
        self.table.claimed(run.number, ended=False)
        self.overseer.send(run)
        return run

    def give(self, name="a"):
        """Give a job to the host."""
        run = self.take(name)
        self.overseer.act(0.0, stopping=False)
        assert isinstance(self.keeper.sent.pop(), Jobs)
        return run

    def start(self, name="a", max_runtime=math.inf):
        """Let the host start a job."""
        run = self.give(name)
        self.overseer.started(Started([run.number], 0.0, max_runtime))
        return run


@pytest.fixture
def office():
    return Office()


def test_what_no_host_has_seen_is_forgotten_with_its_connection(office):
    office.take()
    office.overseer.connection_lost()
    office.overseer.act(0.0, stopping=False)
    assert office.keeper.sent == [] and len(office.table) == 0


def test_a_run_that_starts_before_its_recall_is_read_is_stopped(office):
    run = office.give()
    office.overseer.cancel(run)
    assert office.keeper.sent == [Recall([run.number])]
    office.overseer.started(Started([run.number], 0.0, math.inf))
    assert office.keeper.sent[1:] == [Cancel([run.number])]


def test_a_run_is_canceled_once_however_often_that_is_asked(office):
    run = office.start()
    office.overseer.cancel(run)
    due = run.overdue
    office.overseer.cancel(run)
    assert office.keeper.sent == [Cancel([run.number])] and run.overdue == due < math.inf


def test_progress_counts_only_while_a_job_runs(office):
    waits, runs = office.give("a"), office.start("b")
    for run in (waits, runs):
        office.overseer.reported(Report(run.number, 10, {}))
    office.overseer.done(Done([Outcome(runs.number, outputs={})], 0.1, 1.0))
    office.overseer.reported(Report(runs.number, 90, {}))
    assert office.recorder.ends == [runs] and office.recorder.reports == [(runs, 10)]


def test_each_host_is_killed_once_for_a_run_that_is_overdue(office):
    late = office.start(max_runtime=0.0)
    for _ in range(2):
        office.overseer.act(late.overdue, stopping=False)
    assert office.keeper.kills == [Cause.TIMEOUT]
    office.overseer.died(Died("killed"), Cause.TIMEOUT)
    late = office.start("b", max_runtime=0.0)
    office.overseer.cancel(late)
    office.overseer.act(late.overdue + CANCEL_GRACE, stopping=False)
    assert office.keeper.kills == [Cause.TIMEOUT, Cause.CANCEL]
