"""The services that the other tests stand on."""

from __future__ import annotations

from contextlib import closing

import pytest
from kombu import Connection, Queue

from tests.services import ForeignBroker, wait_until

QUORUM = {"x-queue-type": "quorum"}


def publish(url: str, name: str, *bodies: str) -> None:
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        queue = Queue(name, durable=True, queue_arguments=QUORUM)
        producer = connection.Producer()
        for body in bodies:
            producer.publish(body, routing_key=name, declare=[queue], delivery_mode=2)


def take(url: str, name: str) -> str:
    with Connection(url) as connection, closing(connection.SimpleQueue(name)) as simple:
        message = simple.get(timeout=10)
        message.ack()
        return str(message.payload)


@pytest.fixture
def vhost(rabbitmq: ForeignBroker) -> str:
    return rabbitmq.vhost()


def test_message_on_a_quorum_queue_outlives_a_killed_node(rabbitmq: ForeignBroker, vhost: str) -> None:
    publish(vhost, "q", "hello")
    rabbitmq.restart()
    assert take_quorum(vhost, "q") == "hello"


def take_quorum(url: str, name: str) -> str:
    with Connection(url) as connection:
        queue = Queue(name, durable=True, queue_arguments=QUORUM)(connection.channel())
        message = wait_until(queue.get, 10, "the message")
        message.ack()
        return str(message.payload)
