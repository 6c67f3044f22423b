"""The link to RabbitMQ, with a connection that the tests play."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import amqp
import pytest
from amqp import spec

from tasks.brokerlink import RabbitLink
from tasks.envelope import Message
from tasks.errors import BrokerUnavailable
from tasks.jobs import Job
from tasks.postings import Posting
from tasks.room import Room
from tests.services import wait_until


class FakeConnection:
    """py-amqp's connection, its one channel, its transport and its socket."""

    channel_id = 1
    frame_max = 131_072

    def __init__(self) -> None:
        self.connected = True
        self.events: dict[str, set[Callable[..., None]]] = defaultdict(set)
        self.published: list[bytes] = []
        self._callbacks: dict[Any, Callable[..., None]] = {spec.Channel.Close: self._on_close}
        self.sent_at_close = 0
        self.closing = False
        self.fails = False
        self._heard: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    # what the broker does

    def say(self, event: str, *arguments: Any) -> None:
        """Let the reader hear something, and wait until it has."""
        self._do(lambda: [handle(*arguments) for handle in self.events[event]])

    def fail(self, error: Exception) -> None:
        def raise_it() -> None:
            raise error

        self._heard.put(raise_it)

    def _do(self, action: Callable[[], Any]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._heard.put(act)
        assert done.wait(5)

    def close_channel(self, error: Exception) -> None:
        """Close it, and go on when the reader has answered."""
        self._do(lambda: self._callbacks[spec.Channel.Close]())
        self.fail(error)

    # what py-amqp does

    def _on_close(self) -> None:
        self.sent_at_close = len(self.published)

    def drain_events(self) -> None:
        self._heard.get()()

    def collect(self) -> None:
        self.connected = False

    def settimeout(self, timeout: float | None) -> None:
        pass

    def shutdown(self, how: int) -> None:
        self.fail(ConnectionError("cut"))

    @property
    def sock(self) -> FakeConnection:
        self.connected = True  # py-amqp connects again when it is asked for the socket of a closed connection
        return self

    def confirm_select(self) -> None:
        pass

    def send_method(self, method: Any, pattern: str, arguments: Any) -> None:
        assert method == spec.Connection.Close
        self.closing = True
        self._heard.put(self.collect)

    @property
    def transport(self) -> FakeConnection:
        return self

    def write(self, piece: bytes) -> None:
        if not self.connected or self.fails:
            raise OSError("broken pipe")
        self.published.append(piece)


class FakeKombu:
    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.connection_errors = self.channel_errors = ()

    def channel(self) -> FakeConnection:
        return self.connection

    def __enter__(self) -> FakeKombu:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    default_channel = None


class FakeCelery:
    """Knows every queue, and counts their declarations."""

    def __init__(self) -> None:
        self.amqp = self
        self.queues: Any = defaultdict(lambda: lambda channel: self)
        self.declared = 0

    def declare(self) -> None:
        self.declared += 1


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> FakeConnection:
    connection = FakeConnection()
    monkeypatch.setattr("tasks.brokerlink.connect", lambda celery: FakeKombu(connection))
    return connection


@pytest.fixture
def celery() -> FakeCelery:
    return FakeCelery()


@pytest.fixture
def lost() -> list[tuple[str, str]]:
    """Names of lost jobs, and why."""
    return []


@pytest.fixture
def link(connection: FakeConnection, celery: Any, lost: list[tuple[str, str]]) -> Iterator[RabbitLink]:
    def lose(postings: Sequence[Posting], error: Exception) -> None:
        lost.extend((posting.job.id, str(error)) for posting in postings)

    link = RabbitLink(celery, lose)
    link.declare("q")
    yield link
    link.close()


def posting(name: str, body: str = "[]") -> Posting:
    job = Job(name, "echo", "q", {}, "me", 1.0, 2.0, 60.0)
    return Posting(job, Room(10), lambda job: Message(job.id, "q", {}, body, b""))


def settled(*postings: Posting) -> list[bool]:
    return [one._settled.is_set() for one in postings]


def ended(link: RabbitLink) -> bool:
    return not link._reader.is_alive()


def test_confirms_settle_what_they_speak_of(link: RabbitLink, connection: FakeConnection) -> None:
    postings = [posting(name) for name in "abcd"]
    link.send(postings[:3])
    connection.say("basic_ack", 2, False)
    assert settled(*postings) == [False, True, False, False]
    link.send(postings[3:])
    connection.say("basic_ack", 4, True)
    assert settled(*postings) == [True] * 4
    for one in postings:
        one.wait(0)


def test_messages_that_go_together_are_written_in_one_piece(
    link: RabbitLink, connection: FakeConnection
) -> None:
    link.send([posting(name, name * 3) for name in "abc"])
    (piece,) = connection.published
    assert [name * 3 in piece for name in (b"a", b"b", b"c")] == [True] * 3


def test_a_nack_loses_what_it_speaks_of(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    postings = [posting(name) for name in "abc"]
    link.send(postings)
    connection.say("basic_nack", 2, True)
    assert [name for name, _ in lost] == ["a", "b"]
    assert link.alive
    connection.say("basic_ack", 3, False)
    assert settled(*postings) == [False, False, True]


def test_a_message_without_a_queue_is_lost_and_the_queue_declared_again(
    link: RabbitLink, connection: FakeConnection, celery: FakeCelery, lost: list[tuple[str, str]]
) -> None:
    one, two = posting("a"), posting("b")
    link.send([one, two])
    returned = amqp.Message("", correlation_id="a")
    connection.say("basic_return", amqp.NotFound("NO_ROUTE"), "", "q", returned)
    connection.say("basic_ack", 2, True)
    assert [name for name, _ in lost] == ["a"]
    assert settled(two) == [True]
    assert celery.declared == 1
    link.declare("q")
    link.declare("q")
    assert celery.declared == 2


def test_a_lost_connection_loses_what_is_not_confirmed(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    link.send([posting(name) for name in "abc"])
    connection.say("basic_ack", 2, False)
    connection.fail(ConnectionError("reset"))
    wait_until(lambda: ended(link), 5, "the reader to end")
    assert lost == [("a", "reset"), ("c", "reset")]
    assert not link.alive


def test_a_send_that_fails_loses_everything_once(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    connection.fails = True
    link.send([posting(name) for name in "abcde"])
    wait_until(lambda: ended(link), 5, "the reader to end")
    assert sorted(name for name, _ in lost) == list("abcde")
    assert not link.alive


def test_nothing_is_sent_on_a_connection_that_has_ended(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    connection.fail(ConnectionError("reset"))
    wait_until(lambda: ended(link), 5, "the reader to end")
    link.send([posting("a")])
    assert [name for name, _ in lost] == ["a"]


def test_a_message_that_is_too_large_is_refused_and_the_others_are_lost(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    large = posting("large", "x" * 1000)
    link.send([posting("a"), large, posting("b")])
    connection.fail(amqp.PreconditionFailed("message size 1000 is larger than 100"))
    wait_until(lambda: ended(link), 5, "the reader to end")
    assert [name for name, _ in lost] == ["a", "b"]
    with pytest.raises(BrokerUnavailable, match="larger than 100"):
        large.wait(0)


def test_nothing_follows_the_answer_to_a_channel_that_is_closed(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    large = posting("large", "x" * 1000)
    link.send([large])
    connection.close_channel(amqp.PreconditionFailed("message size 1000 is larger than 100"))
    link.send([posting("a")])
    wait_until(lambda: ended(link), 5, "the reader to end")
    assert len(connection.published) == connection.sent_at_close == 1
    assert [name for name, _ in lost] == ["a"]
    with pytest.raises(BrokerUnavailable, match="larger than 100"):
        large.wait(0)


def test_a_broker_without_memory_is_given_nothing(link: RabbitLink, connection: FakeConnection) -> None:
    connection.on_blocked("memory")  # type: ignore[attr-defined]
    with pytest.raises(BrokerUnavailable, match="memory"):
        link.declare("q")
    link.check(since=float("inf"))
    assert link.alive
    connection.on_unblocked()  # type: ignore[attr-defined]
    link.declare("q")


def test_a_connection_is_given_up_only_if_nothing_was_heard(link: RabbitLink) -> None:
    link.check(since=0.0)
    assert link.alive
    link.check(since=float("inf"))
    assert not link.alive


def test_closing_loses_what_is_not_confirmed(
    link: RabbitLink, connection: FakeConnection, lost: list[tuple[str, str]]
) -> None:
    link.send([posting("a")])
    link.close()
    assert connection.closing
    assert not connection.connected
    assert [name for name, _ in lost] == ["a"]
