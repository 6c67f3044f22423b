"""Which requests for a job are refused, and what their answers say."""

import dataclasses
from typing import Any

import pytest

from app import create_app
from app.services import EXTENSION
from schemas import Endpoint
from tasks.accounts import Client, Limits
from tasks.errors import DayLimitReached, StoreUnavailable, TooManyJobs
from tasks.jobs import Priority, WorkerInfo
from tasks.room import DayLimits
from tasks.settings import Settings
from tests.unit.app.fakes import BOTH_KEY, ECHO_KEY

FREE = "key-of-no-limits"
STRICT = "key-of-strict-limits"
OWN = {
    FREE: Client("free", "free", "free", None, Priority.HIGH, Limits(0, 0, 0, 0)),
    STRICT: Client("strict", "strict", "strict", frozenset({"echo"}), Priority.BULK, Limits(2, 3, 400, 5)),
}


class FakeRates:
    """Counts as it is told to."""

    window = 60

    def __init__(self) -> None:
        self.hits: list[tuple[str, str, int]] = []
        self.wait: float | None = None
        self.down: Exception | None = None

    def hit(self, client: str, endpoint: str, limit: int) -> float | None:
        if self.down is not None:
            raise self.down
        self.hits.append((client, endpoint, limit))
        return self.wait


class KeysOfTest:
    """Keys that have limits of their own."""

    def find(self, key: str) -> Client | None:
        return OWN.get(key)

    def get(self, key_id: str) -> Client | None:
        return next((client for client in OWN.values() if client.key_id == key_id), None)


@pytest.fixture
def rates() -> FakeRates:
    return FakeRates()


@pytest.fixture
def make(
    settings: Settings, endpoints: dict[str, Endpoint], store: Any, workers: Any, rates: FakeRates
) -> Any:
    """Make a client of an API with these settings; echo's file may limit the jobs of a client, too."""

    def make(per_minute: int = 0, at_once: int = 0, of_file: int | None = None) -> Any:
        limited = dataclasses.replace(settings, requests_per_minute=per_minute, jobs_at_once=at_once)
        files = endpoints | {"echo": dataclasses.replace(endpoints["echo"], client_request_limit=of_file)}
        app = create_app(limited, files, store=store)
        parts = app.extensions[EXTENSION]
        clients = parts.auth._clients
        clients._sources = (KeysOfTest(), *clients._sources)
        app.extensions[EXTENSION] = dataclasses.replace(parts, replies=workers, rates=rates)
        return app.test_client()

    return make


def post(client: Any, key: str = ECHO_KEY, path: str = "/echo", **body: Any) -> Any:
    return client.post(path, json={"key": key, "text": "hi", **body})


def test_without_limits_nothing_is_counted_and_nothing_said(
    make: Any, rates: FakeRates, workers: Any
) -> None:
    answer = post(make())
    assert answer.status_code == 200
    assert rates.hits == [] and workers.limits == [0]
    assert not {name for name, _ in answer.headers if name.startswith("RateLimit")}


def test_a_request_is_counted_by_client_and_endpoint(make: Any, rates: FakeRates, workers: Any) -> None:
    client = make(per_minute=60)
    answer = post(client, BOTH_KEY)
    post(client, BOTH_KEY, "/counter", text=None)
    (first, *_), (second, *_) = rates.hits
    assert first == second == workers.submitted[0].owner
    assert [hit[1:] for hit in rates.hits] == [("echo", 60), ("counter", 60)]
    assert answer.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
    assert "RateLimit" not in answer.headers


def test_a_request_too_many_is_refused_before_its_inputs_are_read(
    make: Any, rates: FakeRates, workers: Any
) -> None:
    rates.wait = 12.2
    answer = post(make(per_minute=60), text=5)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "13"
    assert answer.headers["RateLimit"] == '"requests";r=0;t=13'
    assert answer.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
    assert answer.json == {
        "success": False,
        "error": ["More than 60 requests per minute for endpoint echo: try again in 13 s"],
        "code": "too_many_requests",
        "limit": "requests_per_minute",
        "ep_version": 3,
    }
    assert workers.submitted == []


def test_only_requests_for_jobs_are_counted(make: Any, rates: FakeRates) -> None:
    client = make(per_minute=60)
    job_id = post(client, wait_for_result=False).json["job_id"]
    rates.hits.clear()
    for path in ("/echo/progress", "/echo/login", "/api/validate_key", "/api/endpoints/echo"):
        answer = client.post(path, json={"key": ECHO_KEY, "job_id": job_id})
        assert answer.status_code == 200
        assert "RateLimit-Policy" not in answer.headers
    assert client.post("/echo", json={"key": "wrong"}).status_code == 401
    assert post(client, path="/counter").status_code == 403
    assert rates.hits == []


def test_the_limit_of_a_key_goes_before_that_of_the_settings(
    make: Any, rates: FakeRates, workers: Any
) -> None:
    client = make(per_minute=60, at_once=9, of_file=8)
    for key in (ECHO_KEY, STRICT, FREE):
        assert post(client, key).status_code == 200
    assert [limit for _, _, limit in rates.hits] == [60, 2]
    assert workers.limits == [8, 3, 0]


def test_the_limit_of_the_file_goes_before_that_of_the_settings(make: Any, workers: Any) -> None:
    post(make(at_once=9))
    post(make(at_once=9, of_file=20))
    assert workers.limits == [9, 20]


def test_a_token_has_the_limits_of_its_key(make: Any, rates: FakeRates) -> None:
    client = make(per_minute=60)
    token = client.post("/echo/login", json={"key": STRICT}).json["client_session_auth_key"]
    assert post(client, token).status_code == 200
    assert rates.hits == [("strict", "echo", 2)]


def test_too_many_jobs_at_once(make: Any, workers: Any, store: Any) -> None:
    workers.refusal = TooManyJobs(3)
    store.working["echo_cpu"] = [WorkerInfo("w", seconds_per_job=2.5)]
    answer = post(make(per_minute=60, of_file=3))
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "3"
    assert answer.headers["RateLimit-Policy"] == '"requests";q=60;w=60, "jobs";q=3;qu="concurrent-requests"'
    assert answer.headers["RateLimit"] == '"jobs";r=0'
    assert answer.json["error"] == [
        "The limit of jobs at once at endpoint echo is 3: wait until one has ended"
    ]
    assert (answer.json["code"], answer.json["limit"]) == ("too_many_jobs", "jobs_at_once")


@pytest.fixture
def per_day(
    settings: Settings, endpoints: dict[str, Endpoint], store: Any, workers: Any, rates: FakeRates
) -> Any:
    """Make a client of an API with these limits of settings and file."""

    def make(of_settings: DayLimits, of_file: tuple[int | None, int | None] = (None, None)) -> Any:
        limited = dataclasses.replace(
            settings, bytes_per_day=of_settings.bytes, seconds_per_day=of_settings.seconds
        )
        size, seconds = of_file
        echo = dataclasses.replace(
            endpoints["echo"], client_bytes_per_day=size, client_seconds_per_day=seconds
        )
        app = create_app(limited, endpoints | {"echo": echo}, store=store)
        parts = app.extensions[EXTENSION]
        parts.auth._clients._sources = (KeysOfTest(), *parts.auth._clients._sources)
        app.extensions[EXTENSION] = dataclasses.replace(parts, replies=workers, rates=rates)
        return app.test_client()

    return make


def limits_told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith(("RateLimit", "Retry"))}


def test_what_a_day_allows_is_said_by_the_key_then_the_file_then_the_settings(
    per_day: Any, workers: Any
) -> None:
    client = per_day(DayLimits(100, 10), (200, None))
    for key in (ECHO_KEY, STRICT, FREE):
        post(client, key)
    assert workers.per_day == [DayLimits(200, 10), DayLimits(400, 5), DayLimits(0, 0)]
    assert limits_told(post(per_day(DayLimits()))) == {}


@pytest.mark.parametrize(
    ("unit", "used", "left"), [("bytes", DayLimits(350, 0), 50), ("seconds", DayLimits(0, 9), 0)]
)
def test_a_day_that_is_used_up_says_when_it_ends(
    per_day: Any,
    workers: Any,
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    unit: str,
    used: DayLimits,
    left: int,
) -> None:
    client = per_day(DayLimits(400, 5))
    monkeypatch.setattr("app.limits.seconds_left_today", lambda: 3601)
    limit = {"bytes": 400, "seconds": 5}[unit]
    workers.refusal, store.used = DayLimitReached(unit, limit), used
    answer = post(client)
    assert answer.status_code == 429
    assert limits_told(answer) == {
        "Retry-After": "3601",
        "RateLimit-Policy": (
            '"bytes";q=400;qu="content-bytes";w=86400, "seconds";q=5;qu="model-seconds";w=86400'
        ),
        "RateLimit": f'"{unit}";r={left};t=3601',
    }
    assert (answer.json["code"], answer.json["limit"]) == ("day_limit_reached", f"{unit}_per_day")
    assert f"{limit} " in answer.json["error"][0] and "in 3601 s, at 00:00 UTC" in answer.json["error"][0]


def test_while_nobody_can_count_nothing_is_accepted(make: Any, rates: FakeRates, workers: Any) -> None:
    rates.down = StoreUnavailable("down")
    answer = post(make(per_minute=60))
    assert (answer.status_code, answer.json["code"]) == (503, "store_unavailable")
    assert workers.submitted == []


def test_a_job_has_the_priority_of_its_key(make: Any, workers: Any) -> None:
    client = make()
    for key in (ECHO_KEY, STRICT, FREE):
        post(client, key)
    assert [job.priority for job in workers.submitted] == [Priority.NORMAL, Priority.BULK, Priority.HIGH]


def test_a_job_that_would_lapse_is_refused_at_once(make: Any, store: Any, workers: Any) -> None:
    store.working["echo_cpu"] = [WorkerInfo("w", seconds_per_job=100.0)]
    store.waiting["echo_cpu"] = 40
    answer = post(make())
    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "400"
    assert answer.json["error"] == [
        "A job would wait about 4000 s, and at endpoint echo it lapses after 3600 s: try again in 400 s"
    ]
    assert workers.submitted == []


@pytest.mark.parametrize(
    ("working", "waiting"),
    [
        ([], 1000),
        ([WorkerInfo("new")], 1000),
        ([WorkerInfo("slow", seconds_per_job=1e6)], 0),
        ([WorkerInfo("w", seconds_per_job=100.0)], 36),
    ],
    ids=["no worker yet", "worker without a past", "empty queue", "just in time"],
)
def test_a_job_is_accepted_where_nobody_can_tell_or_none_waits(
    make: Any, store: Any, working: list[WorkerInfo], waiting: int
) -> None:
    store.working["echo_cpu"], store.waiting["echo_cpu"] = working, waiting
    assert post(make()).status_code == 200


def test_the_queue_is_looked_at_once_a_second_not_for_every_request(
    make: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.queues.time.monotonic", lambda: now[0])
    client = make()
    looks: list[str] = []

    def look(queue: str, priority: Priority) -> int:
        looks.append(queue)
        return 0

    monkeypatch.setattr(store, "queue_length", look)
    for _ in range(5):
        post(client)
    assert looks == ["echo_cpu"]
    now[0] += 1
    post(client)
    assert looks == ["echo_cpu"] * 2
