"""Publishing to brokers that stand still, stop, refuse and forget."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from schemas import Endpoint
from tasks.errors import BrokerUnavailable, StoreUnavailable
from tasks.jobs import JobState
from tasks.submit import submit
from tests.services import ROOT, ForeignBroker, RabbitMQ, RedisServer, missing, wait_until
from tests.services.rabbitmq import amqp_connection
from tests.services.submitter import Submitter

CLIENTS = 64


class Passage:
    """A TCP proxy that can stop passing bytes on, as a machine does that hangs."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.open = threading.Event()
        self.open.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._sockets = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            for source, drain in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, drain), daemon=True).start()

    def _pass(self, source: socket.socket, drain: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.open.wait()
                drain.sendall(data)
            drain.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self.open.set()
        for opened in self._sockets:
            try:
                opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            opened.close()


@pytest.fixture
def broker_url(rabbitmq: ForeignBroker) -> str:
    return rabbitmq.vhost()


@pytest.fixture
def passage(broker_url: str) -> Iterator[Passage]:
    passage = Passage(urlsplit(broker_url).port or 5672)
    yield passage
    passage.close()


@pytest.fixture
def make_env(redis_server: RedisServer, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give the variables of an installation on a broker; the store is `redis_server`."""
    return lambda url: {
        "STOKER_HOME": str(tmp_path),
        "STOKER_BROKER_URL": url,
        "STOKER_STORE_URL": redis_server.socket_url,
        "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
    }


@pytest.fixture
def make_submitter(make_env: Callable[[str], dict[str, str]]) -> Iterator[Callable[[str], Submitter]]:
    made: list[Submitter] = []

    def make(url: str) -> Submitter:
        made.append(Submitter(make_env(url)))
        return made[-1]

    yield make
    for submitter in made:
        submitter.close()


def by_way_of(passage: Passage, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}", f":{passage.port}")


def taken_out(url: str, queue: str) -> list[str]:
    """Empty a queue of RabbitMQ; gives the ids of the jobs."""
    ids = []
    with closing(amqp_connection(url)) as connection:
        channel = connection.channel()
        while message := channel.basic_get(queue, no_ack=True):
            ids.append(message.properties["correlation_id"])
    return ids


class Crowd:
    """Clients that submit one job after another, until they are told to stop."""

    def __init__(self, submitter: Submitter, endpoint: Endpoint) -> None:
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self._submitter = submitter
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._run) for _ in range(CLIENTS)]

    def _run(self) -> None:
        while not self._stop.is_set():
            job_id = str(uuid.uuid4())
            try:
                submit(self._submitter.publisher, self._endpoint, {"text": "x"}, owner="me", job_id=job_id)
            except (BrokerUnavailable, StoreUnavailable):
                self.refused.append(job_id)
                self._stop.wait(0.02)
            else:
                self.accepted.append(job_id)

    def wait_for(self, accepted: int = 0, refused: int = 0) -> None:
        """Wait for so many more answers."""
        accepted, refused = len(self.accepted) + accepted, len(self.refused) + refused
        wait_until(
            lambda: len(self.accepted) >= accepted and len(self.refused) >= refused, 30, "more answers"
        )

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()  # any other error is raised here


def wide(submitter: Submitter) -> Endpoint:
    """An endpoint whose queue is never full, whoever fills it."""
    return dataclasses.replace(submitter.endpoints["echo"], max_queue_length=10**9, client_share=0)


def test_no_submission_waits_for_ever_for_a_confirm(
    passage: Passage,
    broker_url: str,
    make_submitter: Callable[[str], Submitter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0.5)
    submitter = make_submitter(by_way_of(passage, broker_url))
    echo, store = submitter.endpoints["echo"], submitter.store
    submitter.submit("echo", text="first")

    passage.open.clear()
    for _ in range(2):  # on the connection that is there, then on a new one
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            submit(submitter.publisher, echo, {"text": "refused"}, owner="me", job_id="refused")
        assert time.monotonic() - begin < 3
        assert store.get("refused").state is JobState.CANCELED
    assert store.queue_length(echo.queue) == 1

    passage.open.set()
    monkeypatch.undo()
    submitter.submit("echo", text="second")
    assert store.queue_length(echo.queue) == 2


def test_messages_of_all_sizes_that_go_together_arrive_as_they_are(
    broker_url: str, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(broker_url)
    endpoint = wide(submitter)
    inputs = {str(uuid.uuid4()): {"text": ["x" * 60_000] * (n % 9)} for n in range(CLIENTS)}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for job_id, own in inputs.items():
            pool.submit(submit, submitter.publisher, endpoint, own, owner="me", job_id=job_id)
    arrived = {}
    with closing(amqp_connection(broker_url)) as connection:
        channel = connection.channel()
        while message := channel.basic_get("echo_cpu", no_ack=True):
            (job,), _, _ = json.loads(message.body)
            assert message.headers["id"] == message.properties["correlation_id"] == job["id"]
            arrived[job["id"]] = job["inputs"]
    assert arrived == inputs


def test_a_broker_that_is_away_is_told_of_at_once_and_nothing_is_recorded(
    passage: Passage, broker_url: str, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(by_way_of(passage, broker_url))
    passage.close()
    begin = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        submit(submitter.publisher, submitter.endpoints["echo"], {}, owner="me", job_id="refused")
    assert time.monotonic() - begin < 1.5
    assert submitter.store.get("refused") is None


def test_a_restart_of_rabbitmq_loses_no_accepted_job(
    rabbitmq: ForeignBroker, broker_url: str, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(broker_url)
    endpoint = wide(submitter)
    with Crowd(submitter, endpoint) as crowd:
        crowd.wait_for(accepted=300)
        rabbitmq.kill()
        crowd.wait_for(refused=CLIENTS)
        rabbitmq.start()
        crowd.wait_for(accepted=300)

    assert set(crowd.accepted) <= set(taken_out(broker_url, endpoint.queue))
    assert submitter.states(crowd.accepted) == {JobState.QUEUED: len(crowd.accepted)}
    assert set(submitter.states(crowd.refused)) <= {JobState.CANCELED}
    assert submitter.store.queue_length(endpoint.queue) == len(crowd.accepted)


def test_a_restart_of_the_embedded_broker_loses_no_accepted_job(
    redis_server: RedisServer, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(redis_server.broker_url)
    endpoint = wide(submitter)
    with Crowd(submitter, endpoint) as crowd:
        crowd.wait_for(accepted=300)
        redis_server.kill()
        crowd.wait_for(refused=CLIENTS)
        redis_server.start()
        crowd.wait_for(accepted=300)

    with redis_server.client() as client:
        messages = [json.loads(text) for text in client.lrange(endpoint.queue, 0, -1)]
    assert set(crowd.accepted) <= {message["headers"]["id"] for message in messages}
    assert submitter.states(crowd.accepted) == {JobState.QUEUED: len(crowd.accepted)}
    assert set(submitter.states(crowd.refused)) <= {JobState.CANCELED}
    assert submitter.store.queue_length(endpoint.queue) == len(crowd.accepted)


def test_a_queue_that_was_deleted_is_made_again(
    broker_url: str, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(broker_url)
    submitter.submit("echo", text="first")
    with closing(amqp_connection(broker_url)) as connection:
        connection.channel().queue_delete("echo_cpu")
    second = submitter.submit("echo", text="second")
    assert taken_out(broker_url, "echo_cpu") == [second]


def test_a_queue_that_is_refused_disturbs_no_other(
    broker_url: str, make_submitter: Callable[[str], Submitter]
) -> None:
    submitter = make_submitter(broker_url)
    with closing(amqp_connection(broker_url)) as connection:  # another kind of queue by this name
        connection.channel().queue_declare("echo_cpu", durable=True, auto_delete=False)
    first = submitter.submit("trial", text="first")
    with pytest.raises(BrokerUnavailable, match="PRECONDITION_FAILED"):
        submitter.submit("echo", text="refused")
    second = submitter.submit("trial", text="second")
    assert taken_out(broker_url, submitter.endpoints["trial"].queue) == [first, second]


def node(rabbitmq: ForeignBroker) -> RabbitMQ:
    """Give the node; skips the test if it is not ours to play with."""
    if not isinstance(rabbitmq, RabbitMQ):
        missing("the broker of STOKER_TEST_BROKER is not ours to configure: leave it unset")
    return rabbitmq


@pytest.fixture
def small_messages(rabbitmq: ForeignBroker) -> Iterator[int]:
    """The largest message that RabbitMQ takes in this test, in bytes."""

    def limit_to(size: str) -> None:
        kept = f"application:set_env(rabbit, max_message_size, {size})"
        used = f"persistent_term:put(max_message_size, {size})"  # by RabbitMQ 4
        node(rabbitmq).ctl("eval", f"{kept}, {used}.")

    usual = node(rabbitmq).ctl("eval", "{ok, Size} = application:get_env(rabbit, max_message_size), Size.")
    limit_to("20000")
    yield 20000
    limit_to(usual.strip())


def test_a_message_that_is_too_large_is_refused_and_the_others_go_on(
    small_messages: int,
    broker_url: str,
    make_submitter: Callable[[str], Submitter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "tasks.submit.pack", lambda values: (values, [], {})
    )  # what else makes messages small
    submitter = make_submitter(broker_url)
    with Crowd(submitter, wide(submitter)) as crowd:
        crowd.wait_for(accepted=CLIENTS)
        for _ in range(5):
            with pytest.raises(BrokerUnavailable, match="larger than"):
                submitter.submit("echo", text="x" * small_messages)
            crowd.wait_for(accepted=CLIENTS)
    assert crowd.refused == []


def test_a_broker_without_memory_is_given_nothing_until_it_has_some(
    rabbitmq: ForeignBroker,
    broker_url: str,
    make_submitter: Callable[[str], Submitter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0.5)
    submitter = make_submitter(broker_url)
    accepted = [submitter.submit("echo", text="first")]
    node(rabbitmq).ctl("set_vm_memory_high_watermark", "absolute", "1")
    try:
        with pytest.raises(BrokerUnavailable, match="did not confirm"):
            submitter.submit("echo", text="refused")
        with pytest.raises(BrokerUnavailable, match="its memory or its disk is full"):
            submitter.submit("echo", text="refused")
    finally:
        node(rabbitmq).ctl("set_vm_memory_high_watermark", "0.4")

    def accepts() -> bool:
        try:
            accepted.append(submitter.submit("echo", text="second"))
        except BrokerUnavailable:
            return False
        return True

    wait_until(accepts, 10, "the broker to take messages again")
    assert submitter.store.queue_length("echo_cpu") == len(accepted) == 2


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import os, sys, gevent
from tests.services.submitter import Submitter

submitter = Submitter(os.environ)
def submit(count):
    return [gevent.spawn(submitter.submit, "echo", text=str(n)) for n in range(count)]
waiting = lambda: submitter.store.queue_length("echo_cpu")

for greenlet in gevent.joinall(submit(200), raise_error=True):
    greenlet.get()
print(waiting(), flush=True)
sys.stdin.readline()  # the broker stands still from here on
killed = submit(20)
with gevent.Timeout(5):
    while waiting() < 220:
        gevent.sleep(0.01)
gevent.killall(killed)
print(waiting(), flush=True)
"""

FORK = """
import os, sys
from tests.services.submitter import Submitter

submitter = Submitter(os.environ)
submitter.submit("echo", text="before")
child = os.fork()
submitter.submit("echo", text="after, in the child" if child == 0 else "after, in the parent")
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def script(text: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore:.*fork:DeprecationWarning", "-c", text]
    return subprocess.Popen(
        command,
        text=True,
        cwd=ROOT,
        env=dict(os.environ) | dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_greenlets_that_are_killed_while_they_wait_leave_nothing(
    passage: Passage, broker_url: str, make_env: Callable[[str], dict[str, str]]
) -> None:
    with script(GREENLETS, make_env(by_way_of(passage, broker_url))) as process:
        assert process.stdout.readline() == "200\n"
        passage.open.clear()
        assert process.communicate("\n", timeout=30)[0] == "200\n"
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["rabbitmq", "embedded"])
def test_a_process_that_was_forked_off_publishes_by_itself(
    kind: str,
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    make_env: Callable[[str], dict[str, str]],
    make_submitter: Callable[[str], Submitter],
) -> None:
    url = redis_server.broker_url if kind == "embedded" else request.getfixturevalue("broker_url")
    with script(FORK, make_env(url)) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert make_submitter(url).store.queue_length("echo_cpu") == 3
    if kind == "rabbitmq":
        assert len(taken_out(url, "echo_cpu")) == 3
