"""The state of every delivery and of every run."""

import pytest

from tasks.jobs import Job
from workers.table import Phase, Table
from workers.verdict import Cause, Verdict, judge


def job(name):
    return Job(str(name), "echo", "echo_cpu", {}, "owner", 0.0, 100.0, 10.0)


@pytest.fixture
def table():
    return Table()


def sent(table, delivery, name):
    run = table.arrive(delivery, job(name))
    assert table.claimed(run.number, ended=False) == (run, [])
    return run


def test_job_is_answered_once_its_result_is_stored(table):
    run = sent(table, 1, "a")
    assert table.started([run.number], 5.0) == [run] and run.started == 5.0
    assert table.ended(run.number) is run
    assert table.stored(run.number) == [1]
    assert len(table) == 0


def test_job_that_ended_elsewhere_is_answered_without_a_run(table):
    run = table.arrive(1, job("a"))
    assert table.claimed(run.number, ended=True) == (None, [1])
    assert len(table) == 0


def test_second_delivery_of_a_running_job_is_answered_with_it(table):
    run = sent(table, 1, "a")
    table.started([run.number], 0)
    assert table.arrive(2, job("a")) is None
    table.ended(run.number)
    assert table.stored(run.number) == [1, 2]


def test_second_outcome_of_a_run_is_ignored(table):
    run = sent(table, 1, "a")
    table.ended(run.number)
    assert table.ended(run.number) is None
    assert table.started([run.number], 5.0) == [] and not table.running


def test_lost_connection_recalls_what_has_not_started_and_lets_the_rest_run(table):
    running, waiting = sent(table, 1, "a"), sent(table, 2, "b")
    table.started([running.number], 0)
    assert table.connection_lost() == [waiting.number]
    assert table.dropped(waiting.number) is None and table.get(waiting.number) is None
    table.ended(running.number)
    assert table.stored(running.number) == []


def test_started_job_is_adopted_when_it_is_delivered_again(table):
    run = sent(table, 1, "a")
    table.started([run.number], 0)
    table.connection_lost()
    assert table.arrive(2, job("a")) is None
    table.ended(run.number)
    assert table.stored(run.number) == [2]


def test_recalled_job_that_is_delivered_again_is_sent_once_the_host_has_dropped_it(table):
    run = sent(table, 1, "a")
    table.connection_lost()
    assert table.arrive(2, job("a")) is None
    assert table.dropped(run.number) is run and run.phase is Phase.SENT


def test_recalled_job_that_had_started_runs_on(table):
    run = sent(table, 1, "a")
    table.connection_lost()
    table.started([run.number], 0)
    assert table.arrive(2, job("a")) is None
    table.ended(run.number)
    assert table.stored(run.number) == [2]


def test_connection_lost_while_the_store_is_asked_forgets_the_job(table):
    run = table.arrive(1, job("a"))
    assert table.connection_lost() == []
    assert table.claimed(run.number, ended=False) == (None, [])
    assert len(table) == 0


def test_host_death_tells_apart_who_ran_and_who_waited(table):
    running, waiting = sent(table, 1, "a"), sent(table, 2, "b")
    table.started([running.number], 0)
    assert table.host_died() == ([running], [waiting])


def test_of_several_suspects_each_runs_again_alone(table):
    runs = [sent(table, n, n) for n in range(3)]
    table.started([r.number for r in runs], 0)
    verdict = judge(table.host_died()[0])
    assert verdict == Verdict(alone=runs)
    assert all(table.retry(run, alone=True) is run and run.alone for run in verdict.alone)


def test_job_that_kills_the_host_alone_twice_is_failed(table):
    run = sent(table, 1, "a")
    table.started([run.number], 0)
    assert judge(table.host_died()[0]) == Verdict(alone=[run])
    table.retry(run, alone=True)
    table.started([run.number], 0)
    assert judge(table.host_died()[0]) == Verdict(failed=[run])


def test_job_that_hangs_alone_is_failed_at_once_and_of_several_each_gets_its_chance(table):
    runs = [sent(table, n, n) for n in range(2)]
    table.started([r.number for r in runs], 0)
    assert judge(runs, Cause.TIMEOUT) == Verdict(alone=runs)
    assert judge(runs[:1], Cause.TIMEOUT) == Verdict(failed=runs[:1])


def test_nobody_is_blamed_if_the_one_that_hung_was_done_before_the_kill(table):
    runs = [sent(table, n, n) for n in range(2)]
    table.started([r.number for r in runs], at=0, overdue=10.0)
    assert judge(runs, Cause.TIMEOUT, now=9.0) == Verdict(again=runs)
    assert judge(runs, Cause.TIMEOUT, now=11.0) == Verdict(alone=runs)


def test_runs_on_the_model_are_known_until_they_end_or_run_again(table):
    one, two, three = (sent(table, n, n) for n in range(3))
    table.started([one.number, two.number, three.number], 0)
    assert list(table.running) == [one, two, three]
    table.ended(one.number)
    table.retry(two, alone=True)
    assert list(table.running) == [three]


def test_host_killed_for_a_canceled_job_leaves_no_blame_on_its_neighbours(table):
    one, two = (sent(table, n, n) for n in range(2))
    one.canceled = True
    assert judge([one, two], Cause.CANCEL) == Verdict(again=[two], canceled=[one])
    assert two.kills == 0 and not two.alone


def test_canceled_job_on_a_host_that_dies_is_done_with(table):
    run = sent(table, 1, "a")
    run.canceled = True
    assert judge([run]) == Verdict(canceled=[run])
