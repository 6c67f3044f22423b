"""Publishing to a broker that stands still."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from schemas import Endpoint, load_endpoints
from tasks.celery import create_celery
from tasks.errors import BrokerUnavailable
from tasks.jobs import JobState
from tasks.publisher import Publisher
from tasks.settings import Settings
from tasks.store import JobStore
from tasks.submit import submit
from tests.services import ROOT, RedisServer


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
def passage(rabbitmq_url: str) -> Iterator[Passage]:
    passage = Passage(urlsplit(rabbitmq_url).port or 5672)
    yield passage
    passage.close()


@pytest.fixture
def echo() -> Endpoint:
    return load_endpoints([ROOT / "tests" / "data" / "endpoints"])["echo"]


def test_no_submission_waits_for_ever_for_a_confirm(
    passage: Passage,
    rabbitmq_url: str,
    redis_server: RedisServer,
    echo: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.publisher.CONFIRM_WITHIN", 0.5)
    settings = Settings.from_env({"STOKER_HOME": str(tmp_path)}, cwd=tmp_path)
    url = rabbitmq_url.replace(f":{urlsplit(rabbitmq_url).port}", f":{passage.port}")
    celery = create_celery(dataclasses.replace(settings, broker_url=url), {"echo": echo})
    store = JobStore.from_url(redis_server.socket_url)
    publisher = Publisher(celery, store)
    submit(publisher, echo, {"text": "first"}, owner="me")

    passage.open.clear()
    for _ in range(2):  # on the connection that is there, then on a new one
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            submit(publisher, echo, {"text": "refused"}, owner="me", job_id="refused")
        assert time.monotonic() - begin < 3
        assert store.get("refused").state is JobState.CANCELED
    assert store.queue_length(echo.queue) == 1

    passage.open.set()
    submit(publisher, echo, {"text": "second"}, owner="me")
    assert store.queue_length(echo.queue) == 2
    publisher.close()
