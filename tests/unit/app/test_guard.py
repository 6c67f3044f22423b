"""No route opens without a key unless it is meant to."""

from typing import Any

import pytest
from flask import Flask

from app.auth import PUBLIC
from schemas.endpointfile import RESERVED_NAMES

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def test_every_route_that_is_not_public_asks_for_a_key(app: Flask, client: Any, workers: Any) -> None:
    seen = set()
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<endpoint:endpoint>", "echo").replace("<int:index>", "0")
        path = path.replace("<path:filename>", "nothing.css")
        for name in ("<job_id>", "<name>", "<upload_id>"):
            path = path.replace(name, "1")
        assert "<" not in path, f"give {rule.rule} a value in this test"
        for method in METHODS:
            status = client.open(path, method=method).status_code
            if method == "OPTIONS":
                assert status == 204
            elif rule.endpoint in PUBLIC:
                assert status != 500
            else:
                open_to = (rule.methods or set()) - ({"HEAD"} if rule.endpoint == "jobs.run" else set())
                assert status == (401 if method in open_to else 405), rule
                seen.add(rule.endpoint)
    assert seen == {
        "jobs.run",
        "jobs.progress",
        "outputs.output",
        "status.list_own",
        "status.job",
        "stream.events",
        "stream.stream_progress",
        "uploads.create",
        "uploads.upload",
        "webhooks.of_job",
    }
    assert workers.submitted == []


def test_a_new_route_is_closed_until_it_is_made_public(app: Flask) -> None:
    app.add_url_rule("/new", "new", lambda: "secret")
    assert app.test_client().get("/new").status_code == 401


def test_public_names_only_routes_that_exist(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} >= PUBLIC


def test_no_endpoint_can_be_named_like_a_page(app: Flask) -> None:
    first_parts = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()} - {"<endpoint:endpoint>"}
    assert first_parts <= RESERVED_NAMES


@pytest.mark.parametrize(
    "path",
    ["/nope", "/nope/login", "/nope/progress", "/api/nope", "/api/endpoints/nope", "/", "//echo", "/echo/"],
)
def test_unknown_paths_answer_404_as_json(client: Any, path: str) -> None:
    answer = client.post(path, json={})
    assert answer.status_code == 404
    assert answer.json["success"] is False
    assert answer.json["code"] == "not_found"
    assert len(answer.json["error"]) == 1


def test_the_endpoint_file_says_which_methods_submit_jobs(client: Any, workers: Any) -> None:
    answer = client.get("/counter", query_string={"key": "no matter"})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert answer.json["code"] == "method_not_allowed"
    assert workers.submitted == []


def test_head_submits_no_job(client: Any, workers: Any) -> None:
    assert (
        client.head("/echo", headers={"Authorization": "Bearer demo-key-for-everything"}).status_code == 405
    )
    assert workers.submitted == []
