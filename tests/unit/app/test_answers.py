"""Headers of every answer, internal errors, descriptions and health."""

from typing import Any

import pytest

from app.brokerwatch import BrokerWatch
from app.errors import STATUS
from tasks.errors import BrokerUnavailable, StoreUnavailable
from tasks.jobs import WorkerInfo
from tests.unit.app.fakes import ECHO_KEY


def test_an_internal_error_tells_only_the_request_id(
    client: Any, workers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workers.refusal = RuntimeError("secret detail")
    answer = client.post("/echo", json={"key": ECHO_KEY, "text": "hi"}, headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 500
    assert answer.json["code"] == "internal_error"
    assert answer.json["request_id"] == "abc-1"
    assert "secret detail" not in answer.text
    assert "abc-1" in caplog.text
    assert "secret detail" in caplog.text


def test_an_outage_is_logged_by_the_request_id(
    client: Any, workers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workers.refusal = StoreUnavailable("the job store does not answer")
    client.post("/echo", json={"key": ECHO_KEY, "text": "hi"}, headers={"X-Request-Id": "abc-1"})
    assert "request abc-1: the job store does not answer" in caplog.text


def test_a_sane_request_id_is_kept_and_others_are_replaced(client: Any) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    for bad in ("", "x" * 65, "a b", "<script>"):
        made = client.get("/healthz", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert len(made) == 32
        assert made != bad


def test_options_names_methods(client: Any) -> None:
    answer = client.options("/counter")
    assert answer.status_code == 204
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert client.options("/nope").status_code == 404


def test_every_code_has_a_status_of_an_error() -> None:
    assert all(400 <= status < 600 for status in STATUS.values())


def test_workers_are_named_where_the_endpoint_file_says_so(client: Any, store: Any) -> None:
    for name, shown in (("echo", ["worker 1", "worker 2"]), ("counter", ["a@x", "b@y"])):
        store.working[f"{name}_cpu"] = [WorkerInfo("a@x"), WorkerInfo("b@y")]
        told = client.get(f"/api/endpoints/{name}").json["workers"]
        assert [worker["name"] for worker in told] == shown


@pytest.mark.parametrize("path", ["/api/endpoints/echo", "/api/echo"])
def test_an_endpoint_is_described(client: Any, store: Any, path: str) -> None:
    store.waiting["echo_cpu"] = 2
    store.working["echo_cpu"] = [
        WorkerInfo(
            "w@a", max_batch_size=4, running=3, description={"gpu_name": "H100", "model": {"label": "M"}}
        )
    ]
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json == {
        "name": "echo",
        "title": "Echo",
        "description": "Gives the text back",
        "http_methods": ["GET", "POST"],
        "version": 3,
        "max_queue_length": 5,
        "max_time_in_queue": 3600,
        "free_queue_slots": 3,
        "category": None,
        "num_active_workers": 1,
        "num_workers": 1,
        "workers": [
            {
                "name": "worker 1",
                "state": "processing",
                "max_batch_size": 4,
                "free_slots": 1,
                "gpu_name": "H100",
                "num_gpus": 0,
                "framework": None,
                "framework_version": None,
                "pytorch_version": None,
                "model": {
                    "label": "M",
                    "quantization": "Unknown",
                    "size": "Unknown",
                    "family": "Unknown",
                    "type": "Unknown",
                    "repo_name": "Unknown",
                },
            }
        ],
        "parameter_description": {
            "input": {
                "text": {"type": "string", "required": True},
                "repeat": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
                "client_session_auth_key": {"type": "string"},
                "key": {"type": "string"},
                "wait_for_result": {"type": "bool"},
                "cancel_on_disconnect": {"type": "bool"},
                "webhook": {"type": "json"},
            },
            "output": {"text": {"type": "string"}},
            "progress": {"OUTPUTS": {"status": {"type": "string"}}},
        },
    }


def test_a_queue_that_is_overfull_has_no_free_slot(client: Any, store: Any) -> None:
    store.waiting["echo_cpu"] = 9
    assert client.get("/api/echo").json["free_queue_slots"] == 0


def test_the_process_is_alive_whatever_is_down(client: Any, store: Any) -> None:
    store.down = StoreUnavailable("down")
    assert client.get("/healthz").status_code == 200


def test_ready_means_store_broker_and_workers(
    client: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.brokerwatch.ping_broker", lambda celery: None)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["error"] == ["No worker for queue echo_cpu"]
    assert answer.json["workers"] == {"echo_cpu": 0}
    store.working["echo_cpu"] = [WorkerInfo("w@a")]
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "store": True, "broker": True, "workers": {"echo_cpu": 1}}


def test_the_broker_is_asked_once_in_a_second_whoever_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    now = 5.0
    monkeypatch.setattr("app.brokerwatch.ping_broker", asked.append)
    watch = BrokerWatch("celery", lambda: now)
    assert [watch.answers() for _ in range(9)] == [True] * 9
    assert len(asked) == 1
    now += 1
    assert watch.answers()
    assert len(asked) == 2


def test_not_ready_names_what_is_down(client: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(celery: Any) -> Any:
        raise BrokerUnavailable("amqp://user:pw@host")

    monkeypatch.setattr("app.brokerwatch.ping_broker", fail)
    store.down = StoreUnavailable("down")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["error"] == ["The job store does not answer", "The message broker does not answer"]
    assert "pw" not in answer.text
