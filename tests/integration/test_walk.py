"""A walk through every route by every method: what opens without a key, and what another client's key opens.

It takes the routes from the app: a new one is walked by itself. One that opens without a key, or whose URL
has a part that is not known here, fails until it is told what to expect of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app.auth import PUBLIC
from tasks.jobs import JobState, Progress
from tests.integration.conftest import ALICE, BOB, PARTS, Call, PlayedWorker

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CAROL = "key-of-carol"  # opens another endpoint, and nothing that Alice calls
SECRET = "what-only-alice-may-read"
OPEN = {  # views that answer without a key, and tell nobody's secrets
    "health.healthz",
    "health.readyz",
    "endpoints.list_endpoints",
    "endpoints.describe",
    "auth.validate_key",
    "auth.login",  # asks for the key itself
    "pages.openapi",
    "pages.docs",
    "static",
}
SHOW = {  # views in which Alice finds her jobs: the walk is not blind
    "jobs.progress",
    "status.job",
    "status.list_own",
    "stream.events",
    "stream.stream_progress",
}
PRIVATE = '[WORKER]\nqueue = "private_cpu"\n[CLIENTS]\nauthorization_keys = { carol = "key-of-carol" }\n'


@pytest.fixture
def home(home: Any) -> Any:
    """The installation, with an endpoint that only Carol's key opens."""
    inputs = PARTS[PARTS.index("[INPUTS]") :]
    (home / "endpoints" / "private.toml").write_text(f'[ENDPOINT]\nname = "private"\n{PRIVATE}{inputs}')
    return home


@pytest.fixture
def jobs(submit: Call, worker: PlayedWorker) -> dict[str, str]:
    """Jobs of Alice by state, each with a secret where it may have one."""
    ids = [submit("/echo") for _ in range(3)]
    done, running = worker.start("echo_cpu"), worker.start("echo_cpu")
    worker.end(done, outputs={"text": SECRET})
    worker.store.report([(running, Progress(50.0, {"status": SECRET}))])
    waiting = next(job_id for job_id in ids if job_id not in (done.id, running.id))
    return {"done": done.id, "processing": running.id, "queued": waiting}


@pytest.fixture
def own(app: Flask) -> dict[str, str]:
    """What of Alice's the URLs of routes name, besides a job."""
    created = app.test_client().post("/uploads", data=SECRET, headers={"Authorization": f"Bearer {ALICE}"})
    return {"endpoint": "echo", "name": "text", "index": "0", "upload_id": created.json["id"]}


def path(rule: Rule, values: dict[str, str]) -> str:
    """Give the URL of a route; fails where a part of it is unknown here."""
    filled = rule.rule
    for part in re.findall(r"<[^>]+>", rule.rule):
        name = part.strip("<>").rpartition(":")[2]
        values = {"filename": "docs.css"} | values
        assert name in values, f"{rule.rule}: make a {name} of Alice's in this test, and name it in `values`"
        filled = filled.replace(part, values[name])
    return filled


def calls(app: Flask, values: dict[str, str]) -> Iterator[tuple[Rule, str, str]]:
    for rule in app.url_map.iter_rules():
        for method in METHODS:
            yield rule, method, path(rule, values)


def call(app: Flask, method: str, url: str, key: str | None, job_id: str) -> Any:
    """Send a request with all parameters that a route may want, and no wish to wait."""
    client = app.test_client(use_cookies=False)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    said = {"job_id": job_id, "wait_for_result": "false" if method in ("GET", "HEAD") else False}
    if url == "/jobs":
        said = {}
    if method in ("GET", "HEAD"):
        return client.open(url, method=method, headers=headers, query_string=said, buffered=True)
    return client.open(url, method=method, headers=headers, json=said, buffered=True)


def submits(rule: Rule) -> bool:
    return rule.endpoint == "jobs.run"


def test_only_these_views_open_without_a_key(app: Flask) -> None:
    assert PUBLIC == OPEN


@pytest.mark.parametrize("key", [None, "no-key", "stk_aaaaaaaaaa_" + "A" * 43])
def test_nothing_else_opens_without_a_valid_key(
    app: Flask, jobs: dict[str, str], own: dict[str, str], key: str | None
) -> None:
    walked = 0
    for rule, method, url in calls(app, own | {"job_id": jobs["done"]}):
        answer = call(app, method, url, key, jobs["done"])
        if rule.endpoint not in OPEN:
            may = method in (rule.methods or ()) and not (submits(rule) and method == "HEAD")
            assert answer.status_code == (401 if may else 405), (rule, method)
            assert method == "HEAD" or answer.json["success"] is False
            walked += may
        assert answer.status_code < 500 or rule.endpoint == "health.readyz"
        assert SECRET not in answer.text
        assert not any(job_id in answer.text for job_id in jobs.values())
    assert walked >= 12


@pytest.mark.parametrize("state", ["done", "processing", "queued"])
@pytest.mark.parametrize("stranger", [BOB, CAROL])
def test_a_job_does_not_exist_for_other_keys(
    app: Flask, jobs: dict[str, str], own: dict[str, str], worker: PlayedWorker, stranger: str, state: str
) -> None:
    """Bob's key opens the same endpoints as Alice's, Carol's another one."""
    job_id = jobs[state]
    seen = set()
    for rule, method, url in calls(app, own | {"job_id": job_id}):
        if submits(rule) and stranger == BOB:
            continue  # he may
        answer = call(app, method, url, stranger, job_id)
        assert SECRET not in answer.text, (rule, method)
        if rule.endpoint in OPEN - {"auth.login"}:
            continue
        if method not in (rule.methods or ()):
            assert answer.status_code == 405
        elif "endpoint" in rule.arguments and stranger == CAROL:
            assert answer.status_code == (405 if submits(rule) and method == "HEAD" else 403), (rule, method)
        elif rule.arguments & {"job_id", "upload_id"} or rule.endpoint in (
            "jobs.progress",
            "stream.stream_progress",
        ):
            assert answer.status_code == 404, (rule, method)
        else:
            assert answer.status_code < 500
            assert job_id not in answer.text, (rule, method)
        seen.add(rule.endpoint)
    assert seen >= SHOW
    status = worker.store.get(job_id)
    assert status is not None and status.state is JobState(state)  # DELETE was among the methods


def test_alice_herself_finds_it_all(app: Flask, jobs: dict[str, str], own: dict[str, str]) -> None:
    finds = {
        rule.endpoint
        for rule, method, url in calls(app, own | {"job_id": jobs["done"]})
        if not submits(rule)
        and method != "DELETE"
        and jobs["done"] in call(app, method, url, ALICE, jobs["done"]).text
    }
    assert finds >= SHOW
    for url in (f"/jobs/{jobs['done']}/outputs/text", f"/uploads/{own['upload_id']}"):
        assert call(app, "GET", url, ALICE, jobs["done"]).status_code == 200


def test_every_route_knows_head_and_options_and_says_no_in_json(
    app: Flask, jobs: dict[str, str], own: dict[str, str]
) -> None:
    for rule, method, url in calls(app, own | {"job_id": jobs["done"]}):
        told = app.test_client().options(url)
        assert told.status_code == 204, rule
        allowed = set(told.headers["Allow"].split(", "))
        assert "OPTIONS" in allowed
        assert ("HEAD" in allowed) == ("GET" in allowed and not submits(rule)), rule
        if method not in allowed:
            refused = app.test_client().open(url, method=method)
            assert refused.status_code == 405 and set(refused.headers["Allow"].split(", ")) >= allowed
            assert method == "HEAD" or refused.json["code"] == "method_not_allowed"


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "image/png"])
def test_parameters_of_another_kind_are_refused_as_json(app: Flask, kind: str) -> None:
    for url in ("/echo", "/echo/progress", "/echo/login", "/api/validate_key", "/stream_progress"):
        answer = app.test_client().post(url, data=b"x", content_type=kind)
        assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type"), url
