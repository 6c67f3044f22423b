"""The services that the other tests stand on do what those take for granted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import amqp
import pytest
from kombu import Connection, Queue

from tests.conftest import Broker, StartApi, StartWorker
from tests.services import ROOT, ForeignBroker, Process, RabbitMQ, RedisServer, StartError, wait_until

QUORUM = {"x-queue-type": "quorum"}


def publish(url: str, *bodies: str) -> None:
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        for body in bodies:
            queue = Queue("q", durable=True, queue_arguments=QUORUM)
            connection.Producer().publish(body, routing_key="q", declare=[queue], delivery_mode=2)


def take(url: str) -> str:
    with Connection(url) as connection:
        queue = Queue("q", durable=True, queue_arguments=QUORUM)(connection.channel())
        message = wait_until(queue.get, 10, "the message")
        message.ack()
        return str(message.payload)


def test_broker_delivers_what_was_published(broker: Broker) -> None:
    publish(broker.url, "hello")
    assert take(broker.url) == "hello"


def test_message_on_a_quorum_queue_outlives_a_killed_rabbitmq(rabbitmq: ForeignBroker) -> None:
    url = rabbitmq.vhost()
    publish(url, "hello")
    rabbitmq.kill()
    assert not rabbitmq.answers()
    rabbitmq.start()
    assert take(url) == "hello"


def test_message_on_a_quorum_queue_outlives_stop_app(rabbitmq: ForeignBroker) -> None:
    url = rabbitmq.vhost()
    publish(url, "hello")
    rabbitmq.stop_app()
    assert not rabbitmq.answers()
    rabbitmq.start_app()
    assert take(url) == "hello"


def test_queue_length_counts_the_messages_of_one_vhost(rabbitmq: ForeignBroker, rabbitmq_url: str) -> None:
    publish(rabbitmq_url, "one", "two")
    assert wait_until(lambda: rabbitmq.queue_length("q", rabbitmq_url) == 2, 5, "two messages")
    with pytest.raises(amqp.NotFound):
        rabbitmq.queue_length("q", rabbitmq.vhost())


def test_rabbitmq_is_the_process_that_dies_with_the_session(rabbitmq: ForeignBroker) -> None:
    if not isinstance(rabbitmq, RabbitMQ):
        pytest.skip("the broker of STOKER_TEST_BROKER is not ours")
    assert Path(f"/proc/{rabbitmq.pid}/comm").read_text().strip() == "beam.smp"


def test_policies_for_containers_are_accepted(rabbitmq: ForeignBroker) -> None:
    if not isinstance(rabbitmq, RabbitMQ):
        pytest.skip("the broker of STOKER_TEST_BROKER is not ours to configure")
    rabbitmq.ctl("add_vhost", "stoker")
    rabbitmq.ctl("import_definitions", str(ROOT / "docker" / "rabbitmq" / "policies.json"))
    policies = rabbitmq.ctl("list_policies", "--vhost", "stoker")
    rabbitmq.ctl("delete_vhost", "stoker")
    assert "jobs" in policies
    assert "dead-letters" in policies


def test_redis_keeps_its_data_when_it_is_killed(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("key", "value")
    redis_server.restart()
    with redis_server.client() as client:
        assert client.get("key") == b"value"


def test_redis_is_empty_for_each_test(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0


def test_process_dies_with_a_killed_session(tmp_path: Path) -> None:
    script = (
        "import os, signal, pathlib\n"
        "from tests.services import Process\n"
        f"print(Process('sleep', ['sleep', '600'], os.environ, pathlib.Path({str(tmp_path)!r}, 'log')).pid)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    python = [sys.executable, "-u", "-c", script]
    session = subprocess.run(python, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=30)
    assert session.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(int(session.stdout)), 5, "the end of the child")


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_close_ends_a_process_and_its_children(tmp_path: Path) -> None:
    process = Process("shell", ["sh", "-c", "sleep 600 & sleep 600"], os.environ, tmp_path / "log")
    children = wait_until(lambda: len(process.children()) == 2 and process.children(), 5, "two children")
    process.close()
    wait_until(lambda: not any(is_alive(pid) for pid in children), 5, "the end of the children")


def test_worker_and_api_become_ready_and_end(start_worker: StartWorker, start_api: StartApi) -> None:
    worker, api = start_worker("echo_cpu"), start_api()
    assert worker.children()
    api.terminate()
    worker.terminate()


def test_log_of_a_worker_that_does_not_start_is_in_the_error(start_worker: StartWorker) -> None:
    with pytest.raises(StartError, match="STOKER_LOG_LEVEL"):
        start_worker("echo_cpu", {"STOKER_LOG_LEVEL": "loud"})
