"""A worker's connection to RabbitMQ, in kombu's event loop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import amqp
import pytest
from kombu import Connection
from kombu.asynchronous import Hub
from kombu.transport import TRANSPORT_ALIASES

from tests.services import ForeignBroker, RabbitMQ, missing, wait_until

MESSAGES = 100
TURN = 1.0  # s that the loop waits when nothing tells it of more
SOON = 0.5  # s; less than a turn


@pytest.fixture
def broker_url(rabbitmq: ForeignBroker) -> str:
    return rabbitmq.vhost()


@pytest.fixture
def queue() -> str:
    return f"transport-{uuid.uuid4()}"


@pytest.fixture
def other(broker_url: str, queue: str) -> Iterator[amqp.Channel]:
    """A channel of somebody else, which has made the queue."""
    with Connection(broker_url) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False)
        yield channel


@pytest.fixture
def transport() -> str:
    return "workers.transport:Transport"


@pytest.fixture
def connection(broker_url: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setitem(TRANSPORT_ALIASES, "amqp", transport)
    monkeypatch.setattr("kombu.transport._transport_cache", {})  # another test may have connected before
    with Connection(broker_url) as connection:
        connection.connect()
        yield connection


@pytest.fixture
def turn(connection: Connection) -> Iterator[Callable[[], None]]:
    """One turn of the loop."""
    hub = Hub()
    hub.propagate_errors = connection.connection_errors  # as Celery's loop has it
    connection.register_with_event_loop(hub)
    loop = hub.create_loop()
    yield lambda: next(loop)
    hub.close()


def publish(channel: amqp.Channel, queue: str) -> None:
    for n in range(MESSAGES):
        channel.basic_publish(amqp.Message(f"{n} " + "x" * 1000), "", queue)
    wait_until(lambda: channel.queue_declare(queue, passive=True).message_count in (0, MESSAGES), 10, "all")


def last_of_all(turn: Callable[[], None], got: list[float]) -> float:
    """Turn until all messages are there; gives how long that took, in s."""
    begin = time.monotonic()
    while len(got) < MESSAGES and time.monotonic() < begin + 10:
        turn()
    assert len(got) == MESSAGES
    return got[-1] - begin


@pytest.mark.parametrize("transport", ["workers.transport:Transport", "tasks.transport:Transport"])
def test_all_that_has_come_is_handled_before_the_loop_waits(connection, turn, other, queue):
    got: list[float] = []
    channel = connection.connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=lambda message: got.append(time.monotonic()))
    publish(other, queue)
    assert last_of_all(turn, got) < SOON


def test_what_came_with_an_answer_is_handled_too(connection, turn, other, queue):
    got: list[float] = []
    publish(other, queue)
    channel = connection.connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=lambda message: got.append(time.monotonic()))
    assert last_of_all(turn, got) < SOON


def test_acks_that_go_out_together_all_arrive(connection, other, queue):
    got: list[amqp.Message] = []
    channel = connection.connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(other, queue)
    while len(got) < MESSAGES:
        connection.drain_events(timeout=5)
    open_ones = {3, 4, MESSAGES - 1}
    channel.basic_reject(got[4].delivery_tag, requeue=True)
    for some in (range(MESSAGES // 2), range(MESSAGES // 2, MESSAGES)):
        with channel.together():
            for n in set(some) - open_ones:
                channel.basic_ack(got[n].delivery_tag)
    connection.close()
    wait_until(lambda: other.queue_declare(queue, passive=True).message_count == 3, 10, "the rest back")


def test_loss_of_the_connection_is_told(connection, turn, rabbitmq):
    if not isinstance(rabbitmq, RabbitMQ):
        missing("the broker of STOKER_TEST_BROKER is not ours to command: leave it unset")
    rabbitmq.ctl("close_all_connections", "--global", "test")
    with pytest.raises(connection.connection_errors):
        for _ in range(10):
            turn()


def test_signs_of_life_do_not_prolong_a_wait(connection, broker_url):
    with (
        Connection(broker_url, heartbeat=1) as beating,
        pytest.raises(TimeoutError),
    ):  # RabbitMQ sends 2 a second
        beating.connect()
        beating.drain_events(timeout=1)
