"""The publisher, with a store and a link to the broker that the tests play."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery

from schemas import load_endpoints
from tasks.celery import create_celery
from tasks.errors import BrokerUnavailable, QueueFull, StoreUnavailable
from tasks.jobs import Job, Priority
from tasks.postings import Posting
from tasks.publisher import Publisher
from tasks.room import Room
from tasks.settings import Settings
from tests.services import ROOT, wait_until

ENDPOINT = load_endpoints([ROOT / "tests" / "data" / "endpoints"])["echo"]


def a_job(name: str, **inputs: Any) -> Job:
    return Job(name, ENDPOINT.name, ENDPOINT.queue, inputs, "me", 1.0, 2.0, 60.0)


class FakeStore:
    """Records what it is told; `room` is how many jobs may wait."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.waiting: list[str] = []
        self.room = 1000
        self.withdrawn: list[str] = []
        self.down: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def add_all(self, jobs: Sequence[tuple[Job, Room]]) -> list[QueueFull | Priority]:
        self.batches.append([job.id for job, _ in jobs])
        assert self.open.wait(5)
        if self.down:
            raise self.down
        return [job.priority if self._add(job) else QueueFull(room.max_queue_length) for job, room in jobs]

    def _add(self, job: Job) -> bool:
        if len(self.waiting) >= self.room:
            return False
        self.waiting.append(job.id)
        return True

    def make_room(self, job: Job, room: Room, refusal: QueueFull) -> Priority:
        if not self._add(job):
            raise refusal
        return job.priority

    def withdraw(self, job: Job) -> None:
        if self.down:
            raise self.down
        self.withdrawn.append(job.id)
        if job.id in self.waiting:
            self.waiting.remove(job.id)


class FakeLink:
    """Confirms at once, or does what the test says."""

    def __init__(self, broker: FakeBroker, lost: Callable[..., None]) -> None:
        self.broker = broker
        self.lost = lost
        self.alive = True

    def declare(self, queue: str) -> None:
        if self.broker.refuses:
            raise self.broker.refuses

    def send(self, postings: Sequence[Posting]) -> None:
        self.broker.sent.append([posting.job.id for posting in postings])
        self.broker.answer(self, postings)

    def check(self, since: float) -> None:
        self.broker.checked += 1

    def close(self) -> None:
        self.alive = False
        self.broker.closed += 1


class FakeBroker:
    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.sent: list[list[str]] = []
        self.refuses: Exception | None = None
        self.checked = 0
        self.closed = 0
        self.answer: Callable[[FakeLink, Sequence[Posting]], None] = confirm

    def open_link(self, celery: Any, lost: Callable[..., None]) -> FakeLink:
        self.links.append(FakeLink(self, lost))
        return self.links[-1]


def confirm(link: FakeLink, postings: Sequence[Posting]) -> None:
    for posting in postings:
        posting.settle()


def lose(link: FakeLink, postings: Sequence[Posting]) -> None:
    link.alive = False
    link.lost(postings, ConnectionError("gone"))


def say_nothing(link: FakeLink, postings: Sequence[Posting]) -> None:
    pass


@pytest.fixture(scope="module")
def celery() -> Celery:
    settings = Settings.from_env(
        {"STOKER_BROKER_URL": "amqp://nowhere", "STOKER_STORE_URL": "redis://nowhere"}
    )
    return create_celery(settings, {ENDPOINT.name: ENDPOINT})


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    broker = FakeBroker()
    monkeypatch.setattr("tasks.sender.open_link", broker.open_link)
    return broker


@pytest.fixture
def publisher(celery: Celery, store: Any, broker: FakeBroker) -> Iterator[Publisher]:
    publisher = Publisher(celery, store)
    yield publisher
    publisher.close()


@pytest.fixture
def publish(publisher: Publisher) -> Iterator[Callable[[str], Future[None]]]:
    """Publish a job in a thread of its own."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda name: pool.submit(publisher.publish, a_job(name), ENDPOINT)


def test_jobs_that_come_meanwhile_go_together(
    publish: Callable[[str], Future[None]], publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    store.open.clear()
    futures = [publish("first")]
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    futures += [publish(name) for name in "abcd"]
    wait_until(lambda: publisher._sender._inbox.qsize() == 4, 5, "the others to come")
    store.open.set()
    for future in futures:
        future.result(5)
    assert [sorted(batch) for batch in store.batches] == [["first"], ["a", "b", "c", "d"]]
    assert [sorted(batch) for batch in broker.sent] == [["first"], ["a", "b", "c", "d"]]
    assert len(broker.links) == 1


def test_a_full_queue_takes_nothing(publisher: Publisher, store: FakeStore, broker: FakeBroker) -> None:
    store.room = 0
    with pytest.raises(QueueFull) as raised:
        publisher.publish(a_job("a"), ENDPOINT)
    assert raised.value.limit == ENDPOINT.max_queue_length
    assert (store.waiting, store.withdrawn, broker.sent) == ([], [], [])


def test_a_full_queue_takes_a_job_when_others_have_lapsed(
    publisher: Publisher, store: FakeStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.room = 0

    def make_room(job: Job, *_: Any) -> Priority:
        store.waiting.append(job.id)
        return job.priority

    monkeypatch.setattr(store, "make_room", make_room)
    publisher.publish(a_job("a"), ENDPOINT)
    assert store.waiting == ["a"]
    assert broker.sent[-1] == ["a"]


def test_what_a_lost_connection_held_goes_over_a_new_one(
    publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    def once(link: FakeLink, postings: Sequence[Posting]) -> None:
        broker.answer = confirm
        lose(link, postings)

    broker.answer = once
    publisher.publish(a_job("a"), ENDPOINT)
    assert broker.sent == [["a"], ["a"]]
    assert len(broker.links) == 2
    assert store.waiting == ["a"]


def test_a_broker_that_loses_everything_is_given_up(
    publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    broker.answer = lose
    with pytest.raises(BrokerUnavailable, match="gone"):
        publisher.publish(a_job("a"), ENDPOINT)
    assert len(broker.sent) == 3
    assert store.waiting == []


def test_what_is_lost_late_is_not_tried_again(
    publisher: Publisher, store: FakeStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.sender.RETRY_WITHIN", 0)
    broker.answer = lose
    with pytest.raises(BrokerUnavailable):
        publisher.publish(a_job("a"), ENDPOINT)
    assert len(broker.sent) == 1


def test_nothing_is_recorded_while_the_broker_refuses(
    publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    broker.refuses = BrokerUnavailable("no such queue")
    with pytest.raises(BrokerUnavailable, match="no such queue"):
        publisher.publish(a_job("a"), ENDPOINT)
    assert store.batches == []


def test_each_request_that_is_refused_has_an_error_of_its_own(
    publish: Callable[[str], Future[None]], publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    store.open.clear()
    first = publish("first")
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    others = [publish(name) for name in "ab"]
    wait_until(lambda: publisher._sender._inbox.qsize() == 2, 5, "the others to come")
    broker.refuses = BrokerUnavailable("no such queue")
    store.open.set()
    first.result(5)
    one, two = (other.exception(5) for other in others)
    assert (str(one), str(two)) == ("no such queue", "no such queue") and one is not two


def test_a_job_that_is_recorded_needs_its_own_queue_only(
    publisher: Publisher, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def declare(link: FakeLink, queue: str) -> None:
        if queue.endswith(".bulk"):
            raise BrokerUnavailable(f"no queue {queue}")

    monkeypatch.setattr(FakeLink, "declare", declare)
    publisher.publish(a_job("dead"), ENDPOINT, recorded=True)
    with pytest.raises(BrokerUnavailable, match="bulk"):
        publisher.publish(a_job("new"), ENDPOINT)
    assert broker.sent == [["dead"]]


def test_a_broker_that_does_not_confirm_is_given_up_in_time(
    publisher: Publisher, store: FakeStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0.05)
    broker.answer = say_nothing
    with pytest.raises(BrokerUnavailable, match=r"within 0\.05 s"):
        publisher.publish(a_job("a"), ENDPOINT)
    assert broker.checked == 1
    assert store.waiting == []


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, MemoryError])
def test_a_request_that_ends_while_it_waits_leaves_nothing(
    publisher: Publisher,
    store: FakeStore,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
    ending: type[BaseException],
) -> None:
    def end(posting: Posting, timeout: float) -> None:
        wait_until(lambda: broker.sent, 5, "it to be sent")
        raise ending

    monkeypatch.setattr(Posting, "wait", end)
    with pytest.raises(ending):
        publisher.publish(a_job("a"), ENDPOINT)
    assert store.waiting == []


def test_a_request_that_ends_before_its_turn_is_neither_recorded_nor_sent(
    publish: Callable[[str], Future[None]],
    publisher: Publisher,
    store: FakeStore,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.open.clear()
    first = publish("first")
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0)
    with pytest.raises(BrokerUnavailable):
        publisher.publish(a_job("late"), ENDPOINT)
    monkeypatch.undo()
    monkeypatch.setattr("tasks.sender.open_link", broker.open_link)
    store.open.set()
    first.result(5)
    publisher.publish(a_job("next"), ENDPOINT)
    assert store.batches == [["first"], ["next"]]
    assert broker.sent == [["first"], ["next"]]


def test_a_request_that_ends_while_the_broker_is_asked_is_neither_recorded_nor_sent(
    publisher: Publisher, store: FakeStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0.01)
    monkeypatch.setattr(FakeLink, "declare", lambda link, queue: given_up.wait(5))
    with pytest.raises(BrokerUnavailable):
        publisher.publish(a_job("a"), ENDPOINT)
    given_up.set()
    publisher.close()
    assert (store.waiting, broker.sent) == ([], [])


def test_a_request_that_has_ended_is_not_sent_because_the_store_is_away(
    publish: Callable[[str], Future[None]],
    publisher: Publisher,
    store: FakeStore,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, given_up = threading.Event(), threading.Event()
    wait = Posting.wait

    def declare(link: FakeLink, queue: str) -> None:
        asked.set()
        assert given_up.wait(5)

    def wait_or_end(posting: Posting, timeout: float) -> None:
        if posting.job.id != "ended":
            return wait(posting, timeout)
        assert asked.wait(5)
        raise TimeoutError

    monkeypatch.setattr(Posting, "wait", wait_or_end)
    store.open.clear()
    first = publish("first")
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    ended, waits = publish("ended"), publish("waits")
    wait_until(lambda: publisher._sender._inbox.qsize() == 2, 5, "the others to come")
    monkeypatch.setattr(FakeLink, "declare", declare)
    store.down = StoreUnavailable("away")
    store.open.set()
    with pytest.raises(BrokerUnavailable):
        ended.result(5)
    given_up.set()
    for refused in (first, waits):
        with pytest.raises(StoreUnavailable):
            refused.result(5)
    publisher.close()
    assert broker.sent == []


def test_jobs_are_withdrawn_when_the_store_is_back(
    publisher: Publisher, store: FakeStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store_goes(link: FakeLink, postings: Sequence[Posting]) -> None:
        store.down, broker.answer = StoreUnavailable("away"), confirm
        lose(link, postings)

    monkeypatch.setattr("tasks.sender.RETRY_WITHIN", 0)
    broker.answer = store_goes
    with pytest.raises(BrokerUnavailable, match="gone"):  # and not StoreUnavailable
        publisher.publish(a_job("a"), ENDPOINT)
    with pytest.raises(StoreUnavailable, match="away"):
        publisher.publish(a_job("b"), ENDPOINT)
    assert store.waiting == ["a"]
    store.down = None
    publisher.publish(a_job("c"), ENDPOINT)
    assert store.waiting == ["c"]


def test_what_went_wrong_unexpectedly_ends_its_own_requests_only(
    publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    store.down = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        publisher.publish(a_job("a"), ENDPOINT)
    store.down = None
    publisher.publish(a_job("b"), ENDPOINT)
    assert store.waiting == ["b"]


def test_no_more_is_held_than_memory_allows(
    publish: Callable[[str], Future[None]],
    publisher: Publisher,
    store: FakeStore,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.publisher.MAX_HELD", 6000)
    store.open.clear()
    first = publish("first")
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    with pytest.raises(BrokerUnavailable, match="bytes of jobs wait"):
        publisher.publish(a_job("a"), ENDPOINT)
    store.open.set()
    first.result(5)
    publisher.publish(a_job("large", text="x" * 7000), ENDPOINT)  # alone it may be as large as it is
    assert store.waiting == ["first", "large"]


def test_closing_sends_what_is_there_and_the_next_job_opens_another_connection(
    publish: Callable[[str], Future[None]], publisher: Publisher, store: FakeStore, broker: FakeBroker
) -> None:
    store.open.clear()
    futures = [publish("a")]
    wait_until(lambda: store.batches, 5, "the first to be recorded")
    futures.append(publish("b"))
    wait_until(lambda: publisher._sender._inbox.qsize() == 1, 5, "the other to come")
    sender = publisher._sender
    closing = threading.Thread(target=publisher.close)
    closing.start()
    wait_until(lambda: sender._inbox.qsize() == 2, 5, "it to be closed")
    store.open.set()
    closing.join(5)
    for future in futures:
        future.result(5)
    assert (broker.sent, broker.closed) == ([["a"], ["b"]], 1)
    publisher.publish(dataclasses.replace(a_job("c")), ENDPOINT)
    assert len(broker.links) == 2
