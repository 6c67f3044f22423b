"""No secret leaves the API: real processes, all that they answer, log, store and send is searched."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.services import BIN, Api, Process, RedisServer, Worker, wait_until
from tests.services.rabbitmq import ForeignBroker, RabbitMQ, amqp_connection

pytestmark = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
DEMO = "demo-key-which-is-secret"
BROKER, STORE, SIGNING = "broker-password-s3cret", "store-password-s3cret", "signing-secret-" + "s3cret" * 4
PROMPT = "words-for-the-model-alone"  # no secret, but nobody else's business


@pytest.fixture
def secret_env(
    stoker_env: dict[str, str], stoker_home: Path, rabbitmq: ForeignBroker, redis_server: RedisServer
) -> Iterator[dict[str, str]]:
    """An installation whose broker and store ask for passwords."""
    assert isinstance(rabbitmq, RabbitMQ) or pytest.skip(
        "makes a user, which only the tests' own broker lets it"
    )
    vhost = urlsplit(stoker_env["STOKER_BROKER_URL"]).path[1:]
    user = f"stoker-{vhost}"
    rabbitmq.ctl(
        "eval",
        f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{BROKER}">>, <<"tests">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{vhost}">>, <<".*">>, <<".*">>, '
        '<<".*">>, <<"tests">>).',
    )
    (stoker_home / "demo-key").write_text(DEMO)
    with redis_server.client() as client:
        client.acl_setuser(
            "stoker", enabled=True, passwords=f"+{STORE}", keys="*", channels="*", commands=["+@all"]
        )
        yield stoker_env | {
            "STOKER_BROKER_URL": f"amqp://{user}:{BROKER}@127.0.0.1:{rabbitmq.port}/{vhost}",
            "STOKER_STORE_URL": f"redis://stoker:{STORE}@127.0.0.1:{redis_server.port}/0",
            "STOKER_SECRET_KEY": SIGNING,
            "STOKER_LOG_LEVEL": "debug",
        }
    with suppress(OSError), redis_server.client() as client:
        client.acl_deluser("stoker")


@pytest.fixture
def api(secret_env: dict[str, str], start_api: Callable[..., Api]) -> Api:
    return start_api(secret_env)


def add_key(env: Mapping[str, str]) -> str:
    command: list[str | Path] = [BIN / "stoker", "keys", "add", "App", "--endpoint", "trial"]
    done = subprocess.run(command, env=os.environ | dict(env), capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Caller:
    """Sends requests and keeps all that is answered."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self.answers: list[str] = []

    def __call__(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._http.request(method, path, headers=headers | more.pop("headers", {}), **more)
        self.answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def close(self) -> None:
        self._http.close()


def test_no_secret_is_in_any_answer_log_record_or_message(
    api: Api,
    secret_env: dict[str, str],
    start_worker: Callable[..., Worker],
    rabbitmq: RabbitMQ,
    redis_server: RedisServer,
    service_folder: Path,
) -> None:
    made = add_key(secret_env)
    with closing(Caller(api.url)) as call:
        token = call("POST", "/trial/login", made).json()["client_session_auth_key"]
        call.answers.clear()  # the one answer whose purpose is a secret
        jobs = [everything(call, key) for key in (DEMO, made, token)]
        messages = waiting(secret_env["STOKER_BROKER_URL"])  # no worker has taken them yet
        worker = start_worker("trial_cpu", secret_env)
        for key, job_ids in zip((DEMO, made, token), jobs, strict=True):
            for job_id in job_ids:
                wait_until(partial(ended, call, key, job_id), 20, "the job to end")
                call("GET", f"/jobs/{job_id}/events", key)
        call("POST", "/trial", DEMO, json={"text": PROMPT})
        call("POST", "/trial", DEMO, json={"text": [PROMPT]})
        redis_server.kill()
        outages = [call("POST", "/trial", key, json={"text": "x"}).status_code for key in (DEMO, made)]
        call("GET", "/readyz")
        redis_server.start()
        call("POST", "/trial", "wrong-key-that-is-a-secret", json={})
        statuses = {int(answer[:3]) for answer in call.answers}
    assert statuses >= {200, 400, 401, 404, 405, 409, 415, 422} and outages == [503, 503]
    assert len(messages) == sum(map(len, jobs))
    logs = "".join(process.log() for process in Process.running)
    assert worker.hostname in logs and '"path":"/trial"' in logs
    assert PROMPT in "".join(call.answers) and PROMPT not in logs
    places = {
        "an answer": "".join(call.answers),
        "a log": logs,
        "a message": "".join(messages),
        "Redis": files(service_folder / "redis"),  # every command that ever wrote to it
        "RabbitMQ": files(service_folder / "rabbitmq" / "mnesia")
        + files(service_folder / "rabbitmq" / "log"),
    }
    assert jobs[0][0] in places["Redis"] and jobs[0][0] in places["a message"]
    secrets = {
        "the demo key": DEMO,
        "a key": made.split("_", 2)[2],
        "a login": token.rpartition(".")[2],
        "the broker's password": BROKER,
        "the store's password": STORE,
        "what signs": SIGNING,
        "a wrong key": "wrong-key-that-is-a-secret",
    }
    found = [
        f"{what} in {where}" for what, s in secrets.items() for where, text in places.items() if s in text
    ]
    assert not found


def everything(call: Caller, key: str) -> list[str]:
    """Give a key in every place where it may stand, and in some where it may not; gives the jobs made."""
    now = {"wait_for_result": False}
    accepted = [
        call("POST", "/trial", key, json=now),
        call("GET", "/trial", params={"key": key, "wait_for_result": "false"}),
        call("POST", "/trial", json=now | {"key": key}),
        call("POST", "/trial", data={"client_session_auth_key": key, "wait_for_result": "false"}),
        call("POST", "/trial", key, json=now | {"action": "raise", "text": "boom"}),
    ]
    again = {"Idempotency-Key": f"once-{len(key)}"}
    accepted.append(call("POST", "/trial", key, json=now, headers=again))
    call("POST", "/trial", key, json=now | {"text": "other"}, headers=again)  # 422
    call("POST", "/trial", key, json=now | {"nope": 1, "key": key, "seconds": "x"})  # 400
    call("POST", "/trial", key, content=b"{broken")
    call("POST", "/trial", content=f'{{"key": "{key}"', headers={"Content-Type": "application/json"})
    call("POST", "/trial", content=key.encode(), headers={"Content-Type": "text/plain"})
    call("PATCH", f"/trial?key={key}")
    call("GET", f"/nowhere/{'x' * 20}?key={key}")
    call("POST", "/api/validate_key", json={"key": key})
    call("GET", f"/api/endpoints?key={key}")
    call("GET", "/jobs", key)
    call("GET", "/healthz", headers={"Referer": f"http://x/?key={key}", "Cookie": f"session={key}"})
    ids = [str(answer.json()["job_id"]) for answer in accepted]
    call("DELETE", f"/jobs/{ids[0]}", key)
    call("GET", f"/trial/progress?job_id={ids[1]}&key={key}")
    return ids


def ended(call: Caller, key: str, job_id: str) -> bool:
    state = call("GET", f"/jobs/{job_id}", key).json()["job_state"]
    if state == "done":
        call("DELETE", f"/jobs/{job_id}", key)  # 409
    return state in ("done", "failed", "canceled")


def waiting(url: str) -> list[str]:
    """Give all messages of the queue with their headers; they stay."""
    found = []
    with closing(amqp_connection(url)) as connection:
        channel = connection.channel()
        while message := channel.basic_get("trial_cpu"):
            body = message.body if isinstance(message.body, str) else message.body.decode()
            found.append(body + json.dumps(message.properties, default=str))
    return found


def files(folder: Path) -> str:
    """Give all bytes of all files, as text."""
    return "".join(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file())
