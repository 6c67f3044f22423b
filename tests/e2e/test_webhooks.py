"""Webhooks with every process: the delivery worker dies, and so do the servers that it speaks to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from standardwebhooks.webhooks import Webhook as Receiver

from stoker import main
from tests.conftest import Env, StartApi, StartWorker
from tests.services import Site, Worker, answer, wait_until

KEY = "a-key-for-the-tests"
SOON = 60.0  # s

StartCourier = Callable[[], Worker]


@pytest.fixture
def env(stoker_env: dict[str, str], stoker_home: Path, site: Site) -> dict[str, str]:
    (stoker_home / "demo-key").write_text(KEY)
    ports = f"80:443:{site.port}"
    allowed = {"STOKER_OUTGOING_PRIVATE": "localhost", "STOKER_OUTGOING_PORTS": ports}
    stoker_env |= {**allowed, "STOKER_WEBHOOK_DELAYS": "1:1:1:1:1:1:1:1", "STOKER_LOG_LEVEL": "debug"}
    return stoker_env


@pytest.fixture
def start_courier(env: Env, tmp_path: Path) -> Iterator[StartCourier]:
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker("stoker.webhooks", env, tmp_path, ["--without-mingle"], app="workers.webhooks"))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def http(env: Env, start_api: StartApi) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=start_api(env).url, headers=headers, timeout=60) as client:
        yield client


def submit(http: httpx.Client, site: Site, **inputs: Any) -> str:
    webhook = site.url("/hook?token=hush", "localhost")
    answered = http.post("/trial", json={"wait_for_result": False, "webhook": webhook, **inputs})
    assert answered.status_code == 200, answered.text
    return str(answered.json()["job_id"])


def message(http: httpx.Client, job_id: str) -> dict[str, Any]:
    found = http.get(f"/jobs/{job_id}/webhooks").json()["webhooks"]
    return dict(found[0]) if found else {"state": None}


def test_what_was_accepted_arrives_though_worker_and_server_die(
    http: httpx.Client,
    env: Env,
    site: Site,
    start_worker: StartWorker,
    start_courier: StartCourier,
) -> None:
    start_worker("trial_cpu")
    site.pages["/hook"] = answer(500)
    job_id = submit(http, site, text="hello")
    first = start_courier()
    wait_until(lambda: message(http, job_id).get("last_status") == 500, SOON, "an attempt")
    first.kill9()  # between two attempts
    asked = len(site.requests)
    site.pages["/hook"] = answer(204)
    second = start_courier()
    wait_until(lambda: message(http, job_id)["state"] == "delivered", SOON, "the message to arrive")
    assert len(site.requests) > asked
    assert len({request.headers["webhook-id"] for request in site.requests}) == 1
    secret = CliRunner().invoke(main, ["webhooks", "secret", "demo"], env=env).stdout.strip()
    delivered = site.requests[-1]
    event = Receiver(secret).verify(delivered.body, dict(delivered.headers))
    assert event["data"]["outputs"]["text"] == "hello"
    assert "hush" not in first.log() + second.log()
    assert second.terminate() == 0
