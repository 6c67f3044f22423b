"""The API on a real Redis (store and broker), with workers that the tests play."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, make_url

from app import create_app
from app.services import EXTENSION, Services
from schemas import load_endpoints
from tasks.celery import task_queue
from tasks.jobs import Job, JobState, Result
from tasks.settings import Settings
from tasks.store.line import Line
from tests.services import RedisServer

ALICE, BOB = "key-of-alice", "key-of-bob"
ENDPOINTS = {
    "echo": 'max_queue_length = 100\n[WORKER]\nqueue = "echo_cpu"\nmodel = "m:M"',
    "narrow": 'max_queue_length = 1\n[WORKER]\nqueue = "narrow_cpu"',
    "hasty": 'max_time_in_queue = 0.2\nresult_lifetime = 60\n[WORKER]\nqueue = "hasty_cpu"',
    "brief": 'result_lifetime = 1\n[WORKER]\nqueue = "brief_cpu"',
    "counter": '[WORKER]\nqueue = "counter_cpu"\n[SESSION.VARS]\ncount = { type = "integer", default = 0 }',
}
PARTS = f"""
[CLIENTS]
authorization_keys = {{ alice = "{ALICE}", bob = "{BOB}" }}
[INPUTS]
text = {{ type = "string", default = "hi" }}
[OUTPUTS]
text = {{ type = "string" }}
[PROGRESS.OUTPUTS]
status = {{ type = "string" }}
"""

Call = Callable[..., Any]


class PlayedWorker:
    """Takes jobs from the broker, and does with them what the test says."""

    def __init__(self, services: Services) -> None:
        self._celery = services.celery
        self.store = services.store

    def take(self, queue: str, timeout: float = 5) -> Job:
        with (
            self._celery.connection_for_read() as connection,
            connection.SimpleQueue(task_queue(queue)) as waiting,
        ):
            message = waiting.get(timeout=timeout)
            message.ack()
            (wire,), _, _ = message.payload
            return Job.from_wire(wire)

    def start(self, queue: str) -> Job:
        job = self.take(queue)
        self.store.start([job], "worker@test#1", time.time())
        return job

    def end(self, job: Job, session_vars: dict[str, Any] | None = None, **outcome: Any) -> None:
        now = time.time()
        result = Result(
            **{"state": JobState.DONE, "accepted": job.accepted, "started": now, "finished": now, **outcome}
        )
        assert self.store.finish([(job, result, session_vars or {})]) == [True]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "endpoints"
    folder.mkdir()
    for name, text in ENDPOINTS.items():
        (folder / f"{name}.toml").write_text(f'[ENDPOINT]\nname = "{name}"\n{text}\n{PARTS}')
    return tmp_path


@pytest.fixture
def make_app(home: Path, redis_server: RedisServer) -> Iterator[Callable[..., Flask]]:
    made: list[Flask] = []
    # Python 3.11.7 bears no two calls of ast.parse at once, and werkzeug needs it.
    one_by_one = threading.Lock()

    def make(**changes: str) -> Flask:
        environment = {
            "STOKER_HOME": str(home),
            "STOKER_BROKER_URL": redis_server.broker_url,
            "STOKER_STORE_URL": redis_server.socket_url,
        }
        settings = Settings.from_env(environment | changes, cwd=home)
        with one_by_one:
            made.append(create_app(settings, load_endpoints([home / "endpoints"])))
            return made[-1]

    yield make
    for app in made:
        app.extensions[EXTENSION].close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def worker(app: Flask) -> PlayedWorker:
    return PlayedWorker(app.extensions[EXTENSION])


@pytest.fixture
def post(app: Flask) -> Call:
    def call(path: str, key: str = ALICE, **body: Any) -> Any:
        return app.test_client().post(path, json={"key": key, **body})

    return call


@pytest.fixture
def submit(post: Call) -> Callable[[str], str]:
    return lambda path: str(post(path, wait_for_result=False).json["job_id"])


@pytest.fixture
def background(post: Call) -> Iterator[Callable[..., Future[Any]]]:
    """Make a call that is held, in a thread."""
    with ThreadPoolExecutor(40) as pool:
        yield lambda *args, **kwargs: pool.submit(post, *args, **kwargs)


@pytest.fixture
def answers_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break each connection when Redis has run a script and before it answers: the script runs again."""
    ask = Line.ask

    def ask_twice(line: Line, commands: Any) -> list[Any]:
        ask(line, commands)
        return ask(line, commands)

    monkeypatch.setattr(Line, "ask", ask_twice)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "stoker.db"))
    return make_url(request.getfixturevalue("postgresql").database())
