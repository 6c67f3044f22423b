"""Fixtures for tests with real services; see tests/services.py for what they can do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import LOG_TAIL, ROOT, Api, ForeignBroker, PostgreSQL, Process, RedisServer, Site, Worker
from tests.services.process import missing
from tests.services.rabbitmq import named_broker
from tests.services.submitter import Submitter

Env = Mapping[str, str]
StartWorker = Callable[..., Worker]
StartApi = Callable[..., Api]


@dataclass(frozen=True)
class Broker:
    """A broker that is empty when the test begins.

    Attributes:
        kind: rabbitmq or embedded.
        url: for STOKER_BROKER_URL.
    """

    kind: str
    url: str


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of all running processes to the report of a failed test.

    Texts are made such that UTF-8 can carry them, from one test process to the other: tests log odd ones.
    """
    report = yield
    if report.failed:
        for process in Process.running:
            report.sections.append((f"log of {process.name} ({process.pid})", process.log()[-LOG_TAIL:]))
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder with a short path, since a Unix socket's may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _rabbitmq(service_folder: Path) -> Iterator[ForeignBroker]:
    folder = service_folder / "rabbitmq"
    folder.mkdir()
    broker = named_broker(os.environ.get("STOKER_TEST_BROKER", ""), folder)
    yield broker
    broker.close()


@pytest.fixture
def rabbitmq(_rabbitmq: ForeignBroker) -> ForeignBroker:
    """The session's RabbitMQ, running when the test begins."""
    return _running(_rabbitmq)


@pytest.fixture(scope="module")
def rabbitmq_url(_rabbitmq: ForeignBroker) -> str:
    """URL of a RabbitMQ vhost for the tests of one module."""
    return _running(_rabbitmq).vhost()


def _running(broker: ForeignBroker) -> ForeignBroker:
    if not broker.answers():
        broker.restart()
    return broker


@pytest.fixture(scope="session")
def _redis_server(service_folder: Path) -> Iterator[RedisServer]:
    folder = service_folder / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.close()


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> RedisServer:
    """The session's Redis server, running and empty."""
    if not _redis_server.answers():
        _redis_server.start()
    _redis_server.flush()
    return _redis_server


@pytest.fixture(scope="session")
def _postgresql(service_folder: Path) -> Iterator[PostgreSQL]:
    folder = service_folder / "postgresql"
    folder.mkdir()
    server = PostgreSQL(folder)
    yield server
    server.close()


@pytest.fixture
def postgresql(_postgresql: PostgreSQL) -> PostgreSQL:
    """The session's PostgreSQL server, running."""
    if not _postgresql.answers():
        _postgresql.start()
    return _postgresql


@pytest.fixture(params=["rabbitmq", "embedded"])
def broker(request: pytest.FixtureRequest, redis_server: RedisServer) -> Broker:
    """Each kind of broker in turn; the store is `redis_server` with both."""
    if request.param == "embedded":
        return Broker("embedded", redis_server.broker_url)
    return Broker("rabbitmq", request.getfixturevalue("rabbitmq").vhost())


@pytest.fixture
def stoker_home(tmp_path: Path) -> Path:
    """An empty folder for STOKER_HOME."""
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def stoker_env(broker: Broker, redis_server: RedisServer, stoker_home: Path) -> dict[str, str]:
    """The STOKER_ variables of an installation on `broker` and `redis_server` with the test endpoints."""
    return {
        "STOKER_HOME": str(stoker_home),
        "STOKER_BROKER_URL": broker.url,
        "STOKER_STORE_URL": redis_server.socket_url,
        "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
    }


@pytest.fixture
def start_worker(stoker_env: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers: `start_worker(queue, env=None, options=(), ready=True)`; they end with the test.

    `env` is added to `stoker_env`; with `ready=False` the call does not wait until it consumes.
    """
    started: list[Worker] = []

    def start(queue: str, env: Env | None = None, options: Sequence[str] = (), ready: bool = True) -> Worker:
        worker = Worker(queue, stoker_env | dict(env or {}), tmp_path, options)
        started.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def start_api(stoker_env: dict[str, str], tmp_path: Path) -> Iterator[StartApi]:
    """Start APIs: `start_api(env=None, wsgi="app:create_app()", ready=True)`; they end with the test."""
    started: list[Api] = []

    def start(env: Env | None = None, wsgi: str = "app:create_app()", ready: bool = True) -> Api:
        api = Api(stoker_env | dict(env or {}), tmp_path, wsgi)
        started.append(api)
        if ready:
            api.wait_ready()
        return api

    yield start
    for api in started:
        api.close()


@pytest.fixture(scope="session")
def tiny_pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Folders with image pipelines of random weights, by kind: sd, sdxl. Skips without the extra [image]."""
    if importlib.util.find_spec("diffusers") is None:
        if sys.version_info[:2] == (3, 11):
            missing("the extra [image] is not installed: make env")
        pytest.skip("the extra [image] is not installed; .ci/torch installs it where there is a torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # numbers are compared: all of them come from the CPU
        import torch  # 3 s, with what follows

        from tests.data.pipelines import PIPELINES, save

        torch.set_num_threads(1)  # more than one wait for each other where other tests run
        folder = tmp_path_factory.mktemp("pipelines")
        yield {kind: save(kind, folder) for kind in PIPELINES}


@pytest.fixture
def submitter(stoker_env: dict[str, str]) -> Iterator[Submitter]:
    """Submits jobs to the installation of `stoker_env` as its API does, without HTTP."""
    submitter = Submitter(stoker_env)
    yield submitter
    submitter.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on the loopback address: see `tests/services/site.py`."""
    site = Site()
    yield site
    site.close()
