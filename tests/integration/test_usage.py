"""What clients have used: from the end of each job to the database, and out of it."""

from __future__ import annotations

import csv
import io
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result as Ran
from sqlalchemy import URL, make_url

from stoker import main
from tasks.accounts import Grant, KeyStore
from tasks.database import Database
from tasks.errors import DayLimitReached
from tasks.jobs import Job, JobState, Result
from tasks.room import DayLimits
from tasks.store import JobStore
from tasks.store.running import Ending
from tasks.usage.ledger import Filter, Ledger
from tasks.usage.queue import UsageQueue
from tasks.usage.record import DAY, UsageRecord
from tasks.usage.writer import FORGET, UsageWriter
from tests.services import PostgreSQL, RedisServer, wait_until

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
Stoker = Callable[..., Ran]


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    database = Database(url, hurried=True)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[JobStore]:
    store = JobStore.from_url(redis_server.socket_url)
    yield store
    store.close()


@pytest.fixture
def stoker(url: URL, stoker_home: Path) -> Stoker:
    """Run `stoker usage` on this database."""
    env = {"STOKER_HOME": str(stoker_home), "STOKER_DATABASE_URL": url.render_as_string(hide_password=False)}
    return lambda *arguments: CliRunner().invoke(main, ["usage", *arguments], env=env)


def job(**values: Any) -> Job:
    now = time.time()
    fields: dict[str, Any] = {
        "endpoint": "echo",
        "queue": "q",
        "inputs": {},
        "owner": "client",
        "key": "key",
        "accepted": now,
        "deadline": now + 60,
        "result_lifetime": 60,
        "size": 7,
    }
    return Job(str(uuid.uuid4()), **fields | values)


def end(store: JobStore, ended: Job, state: JobState = JobState.DONE, **values: Any) -> None:
    result = Result(state, ended.accepted, **{"finished": ended.accepted + 2, **values})
    assert store.finish([(ended, result, {})]) == [True]


def ended_jobs(store: JobStore, count: int) -> list[Job]:
    jobs = [job() for _ in range(count)]
    for one in jobs:
        store.add(one, count)
    results: list[Ending] = [(one, Result(JobState.DONE, one.accepted, one.accepted + 2), {}) for one in jobs]
    store.finish(results)
    return jobs


def lines(store: JobStore) -> list[UsageRecord]:
    return [UsageRecord.read(line) for line in UsageQueue(store).take(1000)]


def record(job_id: str = "j", **values: Any) -> UsageRecord:
    fields: dict[str, Any] = {
        "client": "c1",
        "key": "k1",
        "endpoint": "echo",
        "outcome": "done",
        "accepted": NOW,
        "started": NOW + 1,
        "finished": NOW + 3,
        "model_seconds": 0.5,
        "bytes_in": 10,
        "bytes_out": 100,
    }
    return UsageRecord(job_id, **fields | values)


# -- from the end of a job


def test_each_job_that_ends_is_told_once_however_it_ends(store: JobStore) -> None:
    jobs = {name: job() for name in ("done", "failed", "canceled", "lapsed", "withdrawn", "waiting")}
    for one in jobs.values():
        store.add(one, 100)
    store.start([jobs["done"]], "w#1", jobs["done"].accepted + 1)
    end(store, jobs["done"], started=jobs["done"].accepted + 1, model_seconds=0.25)
    end(store, jobs["failed"], JobState.FAILED)
    assert store.finish([(jobs["failed"], Result(JobState.DONE, 0, 0), {})]) == [False]
    store.cancel(jobs["canceled"].id)
    store.get(jobs["lapsed"].id, now=time.time() + 61)
    store.withdraw(jobs["withdrawn"])
    found = {record.outcome: record for record in lines(store)}
    assert {name: r.job for name, r in found.items()} == {
        name: jobs[name].id for name in ("done", "failed", "canceled", "lapsed")
    }
    done = found["done"]
    assert (done.client, done.key, done.endpoint, done.bytes_in) == ("client", "key", "echo", 7)
    assert done.waited == pytest.approx(1) and done.model_seconds == 0.25
    assert {r.key for r in found.values()} == {"key"} and {r.bytes_in for r in found.values()} == {7}
    assert found["canceled"].started is None and found["canceled"].model_seconds == 0


def test_large_outputs_count(store: JobStore) -> None:
    small, large = job(), job()
    store.put_texts({"picture": "é" * 100_000})
    end(store, small)
    end(store, large, blobs=[(["image"], "picture")])
    less, more = lines(store)
    assert 100 < less.bytes_out < 1000
    assert 200_000 < more.bytes_out < 201_000


def test_what_finds_the_list_full_is_dropped_and_counted(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.records.MOST_USAGE", 3)
    jobs = ended_jobs(store, 5)
    queue = UsageQueue(store)
    assert [UsageRecord.read(line).job for line in queue.take(10)] == [one.id for one in jobs[:3]]
    assert queue.done(queue.take(10)) == 2
    assert queue.take(10) == []
    store.finish([(one := job(), Result(JobState.DONE, one.accepted, one.accepted), {})])
    assert queue.done(queue.take(10)) == 0


def test_one_process_reads_at_a_time_and_another_one_when_it_is_gone(
    store: JobStore, redis_server: RedisServer
) -> None:
    ended_jobs(store, 3)
    first, second = UsageQueue(store), UsageQueue(store)
    taken = first.take(2)
    assert len(taken) == 2 and first.take(2) == taken and second.take(2) == []
    with redis_server.client() as client:
        assert 0 < client.ttl("usage:lease") <= 5
        client.delete("usage:lease")  # as if that time had passed
    assert second.take(2) == taken
    first.done(taken)  # too late: it is not its turn any more
    assert second.take(2) == taken
    second.done(taken)
    assert len(second.take(2)) == 1


def test_lines_are_taken_out_once_though_the_answer_was_lost(store: JobStore, answers_are_lost: None) -> None:
    jobs = ended_jobs(store, 5)
    queue = UsageQueue(store)
    queue.done(queue.take(2))
    assert [UsageRecord.read(line).job for line in queue.take(10)] == [one.id for one in jobs[2:]]


# -- into the database


def test_several_processes_write_each_job_once(store: JobStore, ledger: Ledger) -> None:
    jobs = ended_jobs(store, 600)
    writers = [UsageWriter(UsageQueue(store), ledger, 90, interval=0.01) for _ in range(3)]
    for writer in writers:
        writer.start()
    more = ended_jobs(store, 100)
    wait_until(lambda: len(list(ledger.jobs(Filter()))) == 700, 10, "all jobs to be written")
    for writer in writers:
        writer.close()
    assert {r.job for r in ledger.jobs(Filter())} == {one.id for one in jobs + more}
    assert UsageQueue(store)._store.run([("return redis.call('LLEN', KEYS[1])", ["usage"], [])]) == [0]


def test_a_process_that_dies_between_writing_and_saying_so_doubles_nothing(
    store: JobStore, ledger: Ledger, redis_server: RedisServer
) -> None:
    ended_jobs(store, 5)
    ledger.add([UsageRecord.read(line) for line in UsageQueue(store).take(5)])
    with redis_server.client() as client:
        client.delete("usage:lease")
    UsageWriter(UsageQueue(store), ledger, 90).look()
    assert len(list(ledger.jobs(Filter()))) == 5
    assert lines(store) == []


def test_while_the_database_is_away_usage_waits_in_the_store(
    store: JobStore, postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(make_url(postgresql.database()), hurried=True)
    database.upgrade()
    ledger = Ledger(database)
    writer = UsageWriter(UsageQueue(store), ledger, 90)
    ended_jobs(store, 3)
    postgresql.kill()
    try:
        for _ in range(6):
            writer.look()
        assert len(caplog.messages) == 1 and "waits in the store" in caplog.messages[0]
        ended_jobs(store, 3)
    finally:
        postgresql.start()
    writer.look()
    assert len(list(ledger.jobs(Filter()))) == 6
    database.close()


def test_a_line_of_another_version_does_not_hold_the_others_up(
    store: JobStore, ledger: Ledger, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.rpush("usage", '["what", "is", "this"]', "{")
    ended_jobs(store, 1)
    UsageWriter(UsageQueue(store), ledger, 90).look()
    assert len(list(ledger.jobs(Filter()))) == 1 and lines(store) == []


def test_a_job_that_was_requeued_counts_as_it_ended_last(ledger: Ledger) -> None:
    died, ran = record(outcome="failed", finished=NOW + 1, model_seconds=0.0), record(finished=NOW + DAY)
    for records in ([died], [ran], [died, ran], [died]):
        ledger.add(records)
    assert list(ledger.jobs(Filter())) == [ran]


def test_old_records_are_forgotten(ledger: Ledger, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usage.ledger.CHUNK", 2)
    old = [record(f"old{n}", finished=NOW - 3 * DAY) for n in range(5)]
    ledger.add([*old, record("young", finished=NOW - 2 * DAY), record("new")])
    writer = UsageWriter(UsageQueue(store), ledger, days=2, clock=lambda: NOW)
    for _ in range(4):
        writer.look()
    assert [r.job for r in ledger.jobs(Filter())] == ["young", "new"]


def test_old_records_are_looked_for_now_and_then(
    ledger: Ledger, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(ledger, "forget", lambda before: looks.append(before))
    now = [NOW]
    writer = UsageWriter(UsageQueue(store), ledger, days=2, clock=lambda: now[0])
    for seconds in (0, 0, FORGET, 0):
        now[0] += seconds
        writer.look()
    assert len(looks) == 2


# -- out of the database


def test_a_time_span_holds_its_beginning_and_not_its_end(ledger: Ledger) -> None:
    ledger.add([record(f"at{n}", finished=NOW + n) for n in range(3)])
    assert [r.job for r in ledger.jobs(Filter(since=NOW + 1, until=NOW + 2))] == ["at1"]


def rows(ran: Ran) -> list[dict[str, str]]:
    assert ran.exit_code == 0, ran.output
    assert ran.stdout_bytes.count(b"\r\n") == ran.stdout_bytes.count(b"\n")
    return list(csv.DictReader(io.StringIO(ran.stdout_bytes.decode(), newline=""), strict=True))


@pytest.fixture
def filled(database: Database, ledger: Ledger) -> str:
    """Usage of two keys on two days; gives the id of one of them, which is in the database."""
    key, _ = KeyStore(database).add(Grant('Shop, "the" one', None), NOW)
    mine = {"client": key.client.id, "key": key.id}
    ledger.add(
        [
            record("j1", **mine),
            record("j2", **mine, outcome="failed", started=None, model_seconds=0.0),
            record("j3", **mine, endpoint="text", finished=NOW + DAY, model_seconds=0.25),
            record("j4", outcome="lapsed", started=None, finished=NOW + DAY),
        ]
    )
    return key.id


def test_totals_are_told_by_key_and_endpoint(stoker: Stoker, filled: str) -> None:
    found = {(row["key"], row["endpoint"]): row for row in rows(stoker("--csv"))}
    assert found.keys() == {(filled, "echo"), (filled, "text"), ("k1", "echo")}
    assert found[filled, "echo"] == {
        "key": filled,
        "endpoint": "echo",
        "name": 'Shop, "the" one',
        "jobs": "2",
        "done": "1",
        "failed": "1",
        "canceled": "0",
        "lapsed": "0",
        "waited": "4.000",
        "model_seconds": "0.500",
        "bytes_in": "20",
        "bytes_out": "200",
    }
    table = stoker("--by", "day").stdout.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["2027-01-15", "2"], ["2027-01-16", "2"]]


def test_what_is_counted_can_be_narrowed(stoker: Stoker, filled: str) -> None:
    def jobs(*arguments: str) -> list[str]:
        return [row["job"] for row in rows(stoker("--jobs", "--csv", "-", *arguments))]

    assert jobs() == ["j1", "j2", "j3", "j4"]
    assert jobs("--key", filled) == jobs("--key", f"stk_{filled}") == ["j1", "j2", "j3"]
    assert jobs("--endpoint", "text") == ["j3"]
    assert jobs("--since", "2027-01-16") == ["j3", "j4"]
    assert jobs("--until", "2027-01-16") == ["j1", "j2"]
    assert jobs("--until", "1d", "--key", "c1") == (["j4"] if time.time() > NOW + 2 * DAY else [])


def test_a_csv_file_holds_single_jobs(stoker: Stoker, filled: str, tmp_path: Path) -> None:
    file = tmp_path / "usage.csv"
    assert stoker("--jobs", "--csv", str(file)).stdout == ""
    with open(file, newline="") as stream:
        first, second, *_ = csv.DictReader(stream, strict=True)
    assert (first["job"], first["accepted"], first["started"]) == (
        "j1",
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T08:00:01.000Z",
    )
    assert (second["outcome"], second["started"]) == ("failed", "")
    refused = stoker("--csv", str(tmp_path / "no" / "folder.csv"))
    assert refused.exit_code == 2
    assert refused.stderr.endswith("folder.csv cannot be written: No such file or directory\n")


def test_all_that_is_wrong_is_told_at_once(stoker: Stoker, filled: str) -> None:
    ran = stoker("--since", "soon", "--until", "2027-13-01")
    assert ran.exit_code == 2 and len(ran.stderr.splitlines()) == 2
    assert "not before" in stoker("--since", "2027-01-16", "--until", "2027-01-15").stderr
    assert "keep one" in stoker("--jobs", "--by", "day").stderr
    assert len(stoker("--key", "nobody").stdout.splitlines()) == 1


# -- limits per day


def test_bytes_count_when_a_job_is_accepted_and_exactly(store: JobStore) -> None:
    limits = DayLimits(bytes=70)

    def add(_: int) -> bool:
        try:
            store.add(job(), 1000, per_day=limits)
        except DayLimitReached as error:
            assert (error.unit, error.limit) == ("bytes", 70)
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(30))) == 10
    assert store.used_today("client", "echo") == limits
    store.add(job(owner="you"), 1000, per_day=limits)
    store.add(job(endpoint="text"), 1000, per_day=limits)


def test_seconds_count_when_a_job_ends(store: JobStore, redis_server: RedisServer) -> None:
    limits = DayLimits(seconds=2)
    jobs = [job() for _ in range(3)]
    for one in jobs:
        store.add(one, 100, per_day=limits)
    for one in jobs[:2]:
        end(store, one, model_seconds=0.75)
    store.add(job(), 100, per_day=limits)
    end(store, jobs[2], model_seconds=0.5)
    assert store.used_today("client", "echo") == DayLimits(28, 2)  # exactly reached
    with pytest.raises(DayLimitReached, match="2 seconds"):
        store.add(job(), 100, per_day=limits)
    store.add(job(), 100, per_day=DayLimits(seconds=3))
    with redis_server.client() as client:
        (key,) = client.keys("day:*")
        assert DAY < client.ttl(key) <= 2 * DAY


def test_nothing_is_counted_without_a_limit(store: JobStore, redis_server: RedisServer) -> None:
    one = job()
    store.add(one, 100)
    end(store, one, model_seconds=5.0)
    with redis_server.client() as client:
        assert client.keys("day:*") == []
