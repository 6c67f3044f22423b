"""Keys of the database at the API: what they open, for how long, and where they must not show."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import make_url

from app import create_app
from app.services import EXTENSION
from schemas import load_endpoints
from tasks.accounts import Grant, KeyStore, Limits
from tasks.celery import task_queue
from tasks.database import Database
from tasks.jobs import Job, JobState, Priority, Result
from tasks.settings import Settings
from tests.services import PostgreSQL, RedisServer, wait_until

ALICE = "key-of-alice"  # stands in the files
FILE = """
[ENDPOINT]
name = "{name}"
[WORKER]
queue = "{name}_cpu"
[CLIENTS]
authorization_keys = {{ alice = "key-of-alice" }}
[INPUTS]
text = {{ type = "string", default = "hi" }}
[OUTPUTS]
text = {{ type = "string" }}
"""
WITHIN = 5.0  # s; "within seconds"

MakeApp = Callable[..., Flask]
AddKey = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "endpoints").mkdir()
    for name in ("echo", "other"):
        (tmp_path / "endpoints" / f"{name}.toml").write_text(FILE.format(name=name))
    return tmp_path


@pytest.fixture
def make_app(home: Path, redis_server: RedisServer) -> Iterator[MakeApp]:
    """Make API processes of one installation."""
    made: list[Flask] = []

    def make(**changes: str) -> Flask:
        environment = {
            "STOKER_HOME": str(home),
            "STOKER_BROKER_URL": redis_server.broker_url,
            "STOKER_STORE_URL": redis_server.socket_url,
        }
        settings = Settings.from_env(environment | changes, cwd=home)
        made.append(create_app(settings, load_endpoints([home / "endpoints"])))
        return made[-1]

    yield make
    for app in made:
        app.extensions[EXTENSION].close()


@pytest.fixture
def keys(home: Path) -> Iterator[KeyStore]:
    """The keys as `stoker keys` works with them, from another process."""
    with closing(Database(make_url(f"sqlite:///{home}/stoker.db"))) as database:
        yield KeyStore(database)


@pytest.fixture
def add(keys: KeyStore) -> AddKey:
    """Make a key, for echo unless told otherwise."""

    def add_key(endpoints: frozenset[str] | None = frozenset({"echo"}), **grant: Any) -> str:
        return keys.add(Grant("Mobile app", endpoints, **grant), time.time())[1]

    return add_key


def post(app: Flask, path: str, key: str, **body: Any) -> Any:
    body = {"key": key, **({"wait_for_result": False} if path.count("/") == 1 else {}), **body}
    return app.test_client().post(path, json=body)


def token(app: Flask, key: str, endpoint: str = "echo") -> str:
    return str(post(app, f"/{endpoint}/login", key).json["client_session_auth_key"])


def wait_until_refused(app: Flask, credential: str) -> None:
    def refused() -> bool:
        answer = post(app, "/echo", credential)
        assert answer.status_code in (200, 401)
        return bool(answer.status_code == 401)

    wait_until(refused, WITHIN, "the end of the key")


def finish(app: Flask, job_id: str, text: str) -> None:
    """Do what a worker does."""
    store = app.extensions[EXTENSION].store
    now = time.time()
    job = Job.from_wire(_message(app, "echo_cpu"))
    assert job.id == job_id
    assert store.finish([(job, Result(JobState.DONE, now, now, {"text": text}), {})]) == [True]


def _message(app: Flask, queue: str) -> dict[str, Any]:
    with (
        app.extensions[EXTENSION].celery.connection_for_read() as connection,
        connection.SimpleQueue(task_queue(queue)) as waiting,
    ):
        message = waiting.get(timeout=5)
        message.ack()
        (job,), _, _ = message.payload
        return dict(job)


def test_a_key_opens_its_endpoint_and_no_other(make_app: MakeApp, add: AddKey) -> None:
    app, key, everything = make_app(), add(), add(None)
    job_id = post(app, "/other", everything).json["job_id"]
    for credential in (key, token(app, key)):
        assert post(app, "/echo", credential).status_code == 200
        for path in ("/other", "/other/progress", "/other/login"):
            answer = post(app, path, credential, job_id=job_id)
            assert (answer.status_code, answer.json["code"]) == (403, "not_authorized"), path
        assert post(app, "/echo/progress", credential, job_id=job_id).status_code == 404
        assert app.test_client().get(f"/api/endpoints?key={credential}").json == {"endpoints": ["echo"]}
    assert post(app, "/echo", everything).status_code == post(app, "/other", everything).status_code == 200


def test_a_key_that_opens_nothing_opens_nothing(make_app: MakeApp, add: AddKey) -> None:
    assert post(make_app(), "/echo", add(frozenset())).status_code == 403


def test_a_new_key_works_at_once_in_every_process(make_app: MakeApp, add: AddKey) -> None:
    processes = [make_app(), make_app()]
    for _ in range(3):
        key = add()
        for process in processes:
            assert post(process, "/echo", key).status_code == 200
        assert post(processes[1], "/echo", token(processes[0], key)).status_code == 200


def test_a_revoked_key_and_its_sessions_end_in_every_process(
    make_app: MakeApp, add: AddKey, keys: KeyStore
) -> None:
    processes = [make_app(), make_app()]
    key, kept = add(), add()
    credentials = [key, token(processes[0], key)]
    for process in processes:
        assert all(post(process, "/echo", credential).status_code == 200 for credential in credentials)
    keys.revoke([key], time.time())
    for process in processes:
        for credential in credentials:
            wait_until_refused(process, credential)
        assert post(process, "/echo", kept).status_code == 200


def test_an_expired_key_and_its_sessions_end(make_app: MakeApp, add: AddKey) -> None:
    app, key = make_app(), add(lifetime=0.5)
    credentials = [key, token(app, key)]
    for credential in credentials:
        wait_until_refused(app, credential)


def test_the_client_of_a_rotated_key_keeps_its_jobs_but_not_its_sessions(
    make_app: MakeApp, add: AddKey, keys: KeyStore
) -> None:
    app, key = make_app(), add()
    session = token(app, key)
    job_id = post(app, "/echo", key).json["job_id"]
    finish(app, job_id, "hello")
    _, new = keys.rotate(key, time.time())
    answer = post(app, "/echo/progress", new, job_id=job_id)
    assert answer.json["job_result"]["text"] == "hello"
    for credential in (key, session):
        wait_until_refused(app, credential)
    assert post(app, "/echo", token(app, new)).status_code == 200


def test_two_clients_of_one_name_are_two(make_app: MakeApp, add: AddKey) -> None:
    app, key, other = make_app(), add(), add()
    job_id = post(app, "/echo", key).json["job_id"]
    assert post(app, "/echo/progress", key, job_id=job_id).status_code == 200
    assert post(app, "/echo/progress", other, job_id=job_id).status_code == 404


def test_a_job_takes_the_priority_of_its_key_to_the_broker(make_app: MakeApp, add: AddKey) -> None:
    app = make_app()
    post(app, "/echo", add(priority=Priority.HIGH))
    assert _message(app, "echo_cpu.high")["priority"] == "high"


def test_limits_hold_for_all_processes_and_all_credentials_of_a_client(
    make_app: MakeApp, add: AddKey, keys: KeyStore
) -> None:
    processes = [make_app(), make_app()]
    key = add(None, limits=Limits(requests_per_minute=4))
    session, (_, rotated) = token(processes[0], key), keys.rotate(key, time.time(), overlap=60)
    credentials = [key, session, rotated, key, session, rotated]
    answers = [post(processes[n % 2], "/echo", c) for n, c in enumerate(credentials)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert post(processes[0], "/other", key).status_code == 200


def test_as_many_jobs_as_allowed_and_again_as_soon_as_one_has_ended(make_app: MakeApp, add: AddKey) -> None:
    processes = [make_app(), make_app()]
    key = add(limits=Limits(jobs_at_once=2))
    first, *_ = answers = [post(processes[n % 2], "/echo", key) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (answers[2].json["code"], answers[2].headers["RateLimit"]) == ("too_many_jobs", '"jobs";r=0')
    finish(processes[0], first.json["job_id"], "hello")
    assert post(processes[1], "/echo", key).status_code == 200


def test_while_the_database_is_away_known_keys_go_on_and_unknown_ones_are_not_let_in(
    make_app: MakeApp, postgresql: PostgreSQL
) -> None:
    url = postgresql.database()
    with closing(Database(make_url(url))) as database:
        database.upgrade()
        known, unknown = (KeyStore(database).add(Grant("x", None), time.time())[1] for _ in range(2))
    app, late = make_app(STOKER_DATABASE_URL=url), make_app(STOKER_DATABASE_URL=url)
    session = token(app, known)
    postgresql.kill()
    try:
        for credential in (known, session, ALICE):
            assert post(app, "/echo", credential).status_code == 200
        for credential in (known, session, unknown):
            answer = post(late, "/echo", credential)
            assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
            assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert post(late, "/echo", "no key at all").status_code == 401
        assert post(late, "/echo", ALICE).status_code == 200
    finally:
        postgresql.start()
    wait_until(
        lambda: post(late, "/echo", known).status_code == 200, WITHIN, "the database to be asked again"
    )


def test_a_database_without_tables_opens_nothing(
    make_app: MakeApp, postgresql: PostgreSQL, add: AddKey
) -> None:
    app = make_app(STOKER_DATABASE_URL=postgresql.database())
    answer = post(app, "/echo", add())
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert post(app, "/echo", ALICE).status_code == 200


def test_no_secret_shows_anywhere(
    make_app: MakeApp,
    add: AddKey,
    keys: KeyStore,
    home: Path,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    app = make_app(STOKER_REQUESTS_PER_MINUTE="50", STOKER_JOBS_AT_ONCE="3")
    key = add()
    session = token(app, key)
    revoked = add()
    keys.revoke([revoked], time.time())
    client = app.test_client()
    answers = []
    for secret in (key, session, revoked):
        bearer = {"Authorization": f"Bearer {secret}"}
        answers += [
            post(app, "/echo", secret),
            post(app, "/echo", secret),
            post(app, "/echo", secret, text=[secret]),
            post(app, "/other", secret),
            post(app, f"/echo/{secret}", secret),
            client.get("/echo", headers=bearer, query_string={"nope": "x", "wait_for_result": "false"}),
            client.get("/echo", query_string={"key": secret, "wait_for_result": "x"}),
            client.get(f"/api/endpoints?key={secret}"),
            client.post("/api/validate_key", json={"key": secret}),
            client.get("/api/endpoints/echo", headers=bearer),
        ]
    statuses = {answer.status_code for answer in answers}
    assert statuses >= {200, 400, 401, 403, 404, 429}
    job = _message(app, "echo_cpu")
    app.extensions[EXTENSION].keys._flush()
    places = {
        "answers": "".join(answer.text + str(answer.headers) for answer in answers),
        "log": caplog.text,
        "job": json.dumps(job),
        "store and broker": _dump(redis_server),
        "database": "".join(file.read_bytes().decode("latin-1") for file in home.glob("stoker.db*")),
    }
    assert job["owner"] in places["database"] and len(places["store and broker"]) > 1000
    for secret in (key, revoked):
        for what, text in places.items():
            assert secret.split("_", 2)[2] not in text, what
    for what, text in places.items():
        assert session.rpartition(".")[2] not in text, what  # its signature


def _dump(redis_server: RedisServer) -> str:
    """Give all that Redis holds: jobs, messages, counters."""
    with redis_server.client() as client:
        return "".join(f"{key!r} {_value(client, key)!r}\n" for key in client.scan_iter("*"))


def _value(client: Any, key: bytes) -> Any:
    readers = {
        b"hash": client.hgetall,
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    return readers[client.type(key)](key)
