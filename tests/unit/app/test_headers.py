"""Headers of every answer, and which other sites' pages may read it."""

import dataclasses
from typing import Any

import pytest

from app import create_app

SITE, OTHER = "https://app.example.org", "https://evil.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
PATHS = ["/healthz", "/echo", "/jobs/1", "/nope"]


@pytest.fixture
def share(settings: Any, endpoints: Any, store: Any, workers: Any) -> Any:
    """An API that these origins may call."""

    def make(*origins: str) -> Any:
        changed = dataclasses.replace(settings, cors_origins=origins)
        return create_app(changed, endpoints, store=store).test_client()

    return make


def shared(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("Access-Control")}


@pytest.mark.parametrize("path", PATHS)
def test_no_other_site_may_call_unless_it_is_named(client: Any, share: Any, path: str) -> None:
    for asked in (client, share(SITE)):
        assert not shared(asked.get(path, headers={"Origin": OTHER}))
        assert not shared(asked.options(path, headers={"Origin": OTHER} | PREFLIGHT))
        assert not shared(asked.get(path, headers={"Origin": "null"}))


@pytest.mark.parametrize("path", PATHS)
def test_a_site_that_is_named_may_call_and_read_what_our_headers_say(share: Any, path: str) -> None:
    answer = share("http://localhost:3000", SITE).get(path, headers={"Origin": SITE})
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    told = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {
        "Location",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "X-Request-Id",
    } <= set(told)


def test_a_page_of_a_site_that_is_named_learns_of_a_404(share: Any) -> None:
    api = share(SITE)
    asked = api.options("/nope", headers={"Origin": SITE} | PREFLIGHT)
    assert (asked.status_code, asked.headers.get("Content-Type")) == (204, None)
    assert api.post("/nope", headers={"Origin": SITE}).status_code == 404
    assert api.options("/nope", headers={"Origin": OTHER} | PREFLIGHT).status_code == 404


def test_a_preflight_allows_the_headers_that_we_understand(share: Any) -> None:
    for path, methods in (("/counter", "OPTIONS, POST"), ("/jobs/1", "DELETE, GET, HEAD, OPTIONS")):
        answer = share(SITE).options(path, headers={"Origin": SITE} | PREFLIGHT)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Methods"] == methods
        assert {
            "Authorization",
            "Idempotency-Key",
            "Prefer",
            "Last-Event-ID",
            "Content-Type",
        } <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))


def test_caches_tell_the_answers_to_different_sites_apart(share: Any) -> None:
    asked = share(SITE)
    for headers in ({}, {"Origin": SITE}, {"Origin": OTHER}):
        assert "Origin" in asked.get("/healthz", headers=headers).headers["Vary"]


def test_all_sites_may_call_without_cookies(share: Any) -> None:
    answer = share("*").get("/echo", headers={"Origin": OTHER})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_kept_by_nobody_and_taken_as_what_it_is(client: Any, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
