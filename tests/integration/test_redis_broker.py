"""Redis as broker: what is taken is written down in the same step, and nobody waits who need not."""

from __future__ import annotations

import threading
import time

import pytest
from kombu import Connection, Consumer, Queue

from tasks import redisbroker

QUEUES = [Queue("one"), Queue("two")]


@pytest.fixture
def connect(redis_server):
    redisbroker.register()
    opened = []

    def connect():
        opened.append(Connection(redis_server.broker_url, transport_options={"priority_steps": [0]}))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def publish(connection, *bodies, queue="one", **properties):
    for body in bodies:
        connection.Producer().publish(body, routing_key=queue, **properties)


def consume(connection, count, timeout=5.0):
    """Take `count` messages off the queues."""
    messages = []
    with Consumer(connection, QUEUES, on_message=messages.append):
        while len(messages) < count:
            connection.drain_events(timeout=timeout)
    return messages


def test_taken_message_that_nobody_hears_of_is_given_back(connect, redis_server):
    publish(connect(), "hello", queue="two")
    lost = connect()
    channel = lost.default_channel
    Consumer(channel, QUEUES, on_message=lambda message: None).consume()
    channel.connection.cycle.on_poll_start()  # asks for a message, and dies before it reads the answer
    with redis_server.client() as client:
        while client.llen("two"):
            time.sleep(0.01)
        assert client.hlen("unacked") == client.zcard("unacked_index") == 1
    channel.client.connection.disconnect()
    other = connect()
    other.default_channel.visibility_timeout = 0
    other.default_channel.qos.restore_visible(num=10, interval=1)
    (message,) = consume(other, 1)
    assert message.payload == "hello"
    message.ack()
    with redis_server.client() as client:
        assert client.hlen("unacked") == client.zcard("unacked_index") == client.llen("two") == 0


def test_messages_come_once_each_and_in_order(connect, redis_server):
    bodies = [str(n) for n in range(300)]
    publish(connect(), *bodies)
    with redis_server.client() as client:
        assert client.llen("token:one") == redisbroker.TOKENS
    messages = consume(connect(), 300)
    assert [message.payload for message in messages] == bodies
    with redis_server.client() as client:
        assert client.hlen("unacked") == 300 and client.llen("token:one") == 0


def test_message_of_any_priority_is_taken(connect):
    publish(connect(), "urgent", priority=9)
    assert [message.payload for message in consume(connect(), 1)] == ["urgent"]


def test_idle_consumer_is_woken_at_once(connect):
    took = []

    def wait():
        consume(connect(), 1)
        took.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)  # it has looked, and waits
    publish(connect(), "hello")
    published = time.monotonic()
    thread.join()
    assert took[0] - published < 0.3  # without a token: up to a second


def test_message_without_a_token_is_found_too(connect, redis_server):
    publish(connect(), "hello")
    with redis_server.client() as client:
        client.delete("token:one")
    assert [message.payload for message in consume(connect(), 1)] == ["hello"]


def test_what_needs_no_ack_is_not_kept(connect, redis_server):
    publish(connect(), "hello")
    connection, messages = connect(), []
    with Consumer(connection, QUEUES, no_ack=True, on_message=messages.append):
        connection.drain_events(timeout=5)
    assert [message.payload for message in messages] == ["hello"]
    with redis_server.client() as client:
        assert client.hlen("unacked") == 0
