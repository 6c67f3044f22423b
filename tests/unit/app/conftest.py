"""An API whose store, broker and workers the tests play."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.services import EXTENSION
from schemas import Endpoint, load_endpoints
from tasks.settings import Settings
from tests.unit.app.fakes import CLOSED, COUNTER, DEMO_KEY, ECHO, ECHO_KEY, FakeStore, FakeWorkers


@pytest.fixture
def store() -> Any:
    return FakeStore()


@pytest.fixture
def workers(store: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    fake = FakeWorkers(store)
    monkeypatch.setattr("app.jobs.submit", fake.submit)
    return fake


@pytest.fixture
def endpoints(tmp_path: Path) -> Any:
    folder = tmp_path / "endpoints"
    folder.mkdir()
    for name, text in {"echo": ECHO, "counter": COUNTER, "closed": CLOSED}.items():
        (folder / f"{name}.toml").write_text(text)
    return load_endpoints([folder])


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo-key").write_text(DEMO_KEY + "\n")
    environment = {"STOKER_HOME": str(home), "STOKER_MAX_BODY_SIZE": "100000", "STOKER_SECRET_KEY": "s" * 32}
    # A URL that nothing listens on: whoever connects in a unit test fails.
    environment |= {"STOKER_BROKER_URL": "redis://127.0.0.1:1", "STOKER_STORE_URL": "redis://127.0.0.1:1"}
    return Settings.from_env(environment, cwd=tmp_path)


@pytest.fixture
def app(settings: Settings, endpoints: dict[str, Endpoint], store: Any, workers: Any) -> Any:
    app = create_app(settings, endpoints, store=store)
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], replies=workers)
    return app


@pytest.fixture
def client(app: Flask) -> Any:
    return app.test_client()


@pytest.fixture
def token(client: Any) -> Any:
    """A session token of the key that opens only echo."""
    return client.get("/echo/login", query_string={"key": ECHO_KEY}).json["client_session_auth_key"]
