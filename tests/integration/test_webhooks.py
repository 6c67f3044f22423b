"""Webhooks: what is told, to whom, and what becomes of it. The tests play worker and delivery worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from app.services import EXTENSION, Services
from tasks.accounts import Grant, KeyStore, WebhookStore
from tasks.database import Database
from tasks.errors import DatabaseUnavailable
from tasks.guard.client import Guard
from tasks.jobs import JobState
from tasks.scripts.parts import MOST_BYTES, MOST_ENDED, MOST_WAITING
from tasks.store import JobStore
from tasks.webhooks.courier import Courier
from tasks.webhooks.hook import Webhook
from tasks.webhooks.outbox import Outbox
from tasks.webhooks.signing import Rotation, secret_of, shown
from tests.integration.conftest import ALICE, BOB, PlayedWorker
from tests.services import Site, answer
from tests.services.site import Request

Submit = Callable[..., str]
NEVER = 10**10  # s since 1970


class PlayedCourier:
    """Sends what is due, as the delivery worker does."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.outbox: Outbox = services.outbox
        self.accounts = WebhookStore(Database.of(services.settings))

    def run(self, delays: Sequence[int] = (0, 0), rotation: Any = None) -> int:
        """Send all that is due; gives how many attempts there were."""
        settings = self._services.settings
        secret = settings.installation_secret()
        courier = Courier(
            self.outbox, Guard(settings.outgoing), secret, rotation or self.accounts.rotation, delays
        )
        self.outbox.lapse_late()
        attempts = 0
        while taken := self.outbox.take(10):
            for name, made in taken:
                courier.deliver(name, made)
                attempts += 1
        return attempts

    def verify(self, request: Request, client: str, number: int = 0) -> Any:
        """Read what a server was sent as its owner does, with the public library."""
        secret = secret_of(self._services.settings.installation_secret(), client, number)
        return Receiver(shown(secret)).verify(request.body, dict(request.headers))


@pytest.fixture
def app(make_app: Callable[..., Flask], site: Site) -> Flask:
    site.pages["/hook"] = answer(204)
    return make_app(
        STOKER_OUTGOING_PRIVATE="localhost",
        STOKER_OUTGOING_PORTS=f"80:443:{site.port}",
        STOKER_SECRET_KEY="s" * 32,
    )


@pytest.fixture
def courier(app: Flask) -> PlayedCourier:
    return PlayedCourier(app.extensions[EXTENSION])


@pytest.fixture
def alice(app: Flask) -> str:
    return str(app.extensions[EXTENSION].auth.resolve(ALICE).id)


@pytest.fixture
def url(site: Site) -> str:
    return site.url("/hook?token=hush", "localhost")


@pytest.fixture
def send(post: Callable[..., Any]) -> Submit:
    def send(webhook: Any, endpoint: str = "echo", **more: Any) -> str:
        answered = post(f"/{endpoint}", wait_for_result=False, webhook=webhook, **more)
        assert answered.status_code == 200, answered.json
        return str(answered.json["job_id"])

    return send


def told(app: Flask, job_id: str, key: str = ALICE) -> Any:
    answered = app.test_client().get(f"/jobs/{job_id}/webhooks", headers={"Authorization": f"Bearer {key}"})
    return answered.json["webhooks"] if answered.status_code == 200 else answered.status_code


def fill(store: JobStore, key: str, number: int, score: float) -> None:
    """Put so many names into a sorted set."""
    store.command("ZADD", key, *(part for name in range(number) for part in (score, f"x_{name}")))


def test_the_end_of_a_job_is_told_once_and_signed(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    job_id = send(url)
    assert told(app, job_id) == []
    job = worker.start("echo_cpu")
    assert courier.run() == 0  # that it started was not asked for
    worker.end(job, outputs={"text": "hello"})
    assert courier.run() == 1
    assert courier.run() == 0
    (request,) = site.requests
    assert request.path == "/hook?token=hush"
    event = courier.verify(request, alice)
    assert event["type"] == "job.completed"
    data = event["data"]
    assert (data["job_id"], data["endpoint"], data["job_state"]) == (job_id, "echo", "done")
    assert (data["outputs"], data["url"]) == ({"text": "hello"}, f"/jobs/{job_id}")
    (message,) = told(app, job_id)
    assert message["id"] == request.headers["webhook-id"]
    assert message["url"] == site.url("/hook", "localhost")
    assert (message["state"], message["attempts"], message["last_status"]) == ("delivered", 1, 204)
    assert message["next_attempt"] is None
    with pytest.raises(WebhookVerificationError):
        courier.verify(request, "somebody else")


def test_neither_the_message_of_a_job_nor_other_clients_see_its_webhook(
    app: Flask, send: Submit, worker: PlayedWorker, url: str
) -> None:
    job_id = send(url)
    assert worker.take("echo_cpu").webhook is None
    assert told(app, job_id, BOB) == 404


@pytest.mark.parametrize("way", ["start", "take"])  # with the end, if it was not told before
def test_the_start_is_told_where_it_is_asked_for(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str, way: str
) -> None:
    send({"url": url, "events": ["completed", "started"]})
    worker.end(getattr(worker, way)("echo_cpu"))
    assert courier.run() == 2
    events = [courier.verify(request, alice) for request in site.requests]
    assert [event["type"] for event in events] == ["job.started", "job.completed"]
    assert [event["data"]["job_state"] for event in events] == ["processing", "done"]
    assert len({request.headers["webhook-id"] for request in site.requests}) == 2


def test_every_end_is_told(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    failed = send(url)
    worker.end(worker.start("echo_cpu"), state=JobState.FAILED, error="It broke")
    canceled, lapsed = send(url), send(url, "hasty")
    worker.store.cancel(canceled)
    time.sleep(0.25)  # max_time_in_queue of hasty; nobody asks for the job
    courier.run()
    events = [courier.verify(request, alice)["data"] for request in site.requests]
    assert {event["job_id"]: event["job_state"] for event in events} == {
        failed: "failed",
        canceled: "canceled",
        lapsed: "lapsed",
    }
    assert next(event["error"] for event in events if event["job_id"] == failed) == ["It broke"]


def test_files_and_large_outputs_are_links(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    job_id = send(url)
    outputs: dict[str, Any] = {"text": "x", "images": ["data:image/png;base64,AAAA", None], "huge": None}
    outputs |= {"deep": {"a": "data:image/png;base64,AAAA"}}
    worker.end(worker.start("echo_cpu"), outputs=outputs, blobs=[(["images", 1], "b1"), (["huge"], "b2")])
    larger = send(url)
    worker.end(worker.start("echo_cpu"), outputs={"text": "x" * 70_000})
    courier.run()
    told = {data["job_id"]: data for data in (courier.verify(r, alice)["data"] for r in site.requests)}
    first, second = told[job_id], told[larger]
    place = f"/jobs/{job_id}/outputs"
    assert first["outputs"] == {
        "text": "x",
        "images": [{"url": f"{place}/images/0"}, {"url": f"{place}/images/1"}],
        "huge": {"url": f"{place}/huge"},
        "deep": {"a": {"url": f"/jobs/{job_id}"}},
    }
    assert second["job_state"] == "done"
    assert "outputs" not in second


def test_what_does_not_arrive_is_sent_again_under_the_same_id_and_given_up_at_last(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    job_id = send(url)
    worker.end(worker.start("echo_cpu"))
    site.pages["/hook"] = answer(500)
    assert courier.run(delays=[60]) == 1
    (message,) = told(app, job_id)
    assert (message["state"], message["last_status"]) == ("pending", 500)
    assert message["last_error"] == "its server answers with status 500"
    assert 55 <= message["next_attempt"] - time.time() <= 75
    courier.outbox.give_back(message["id"])
    assert courier.run(delays=[60]) == 1
    (message,) = told(app, job_id)
    assert (message["state"], message["attempts"], message["next_attempt"]) == ("failed", 2, None)
    assert {request.headers["webhook-id"] for request in site.requests} == {message["id"]}
    site.pages["/hook"] = answer(200)
    (delivery,) = courier.outbox.find([message["id"]])
    courier.outbox.redeliver(delivery)
    assert courier.run() == 1
    assert told(app, job_id)[0]["state"] == "delivered"


@pytest.mark.parametrize("arrives", [True, False])
def test_a_copy_of_the_result_is_kept_until_its_message_has_arrived_or_is_given_up(
    arrives: bool,
    app: Flask,
    send: Submit,
    worker: PlayedWorker,
    courier: PlayedCourier,
    site: Site,
    url: str,
    alice: str,
) -> None:
    site.pages["/hook"] = answer(204 if arrives else 500)
    job_id = send(url)
    worker.end(worker.start("echo_cpu"), outputs={"text": "hello"})
    (delivery,) = courier.outbox.of_job(job_id)
    key = f"webhook:{delivery.id}"
    size = worker.store.command("HSTRLEN", key, "result")
    assert worker.store.command("HGET", "webhooks:bytes", "total") == str(size)
    courier.run(delays=[])
    assert told(app, job_id)[0]["state"] == ("delivered" if arrives else "failed")
    assert worker.store.command("EXISTS", "webhooks:bytes") == 0
    assert worker.store.command("HEXISTS", key, "result") == 0

    site.pages["/hook"] = answer(204)
    courier.outbox.redeliver(delivery)
    courier.run()
    assert courier.verify(site.requests[-1], alice)["data"]["outputs"] == {"text": "hello"}  # of the job
    worker.store.command("DEL", f"job:{job_id}")  # as when result_lifetime is over
    courier.outbox.redeliver(delivery)
    courier.run()
    data = courier.verify(site.requests[-1], alice)["data"]
    assert data == {"job_id": job_id, "endpoint": "echo", "job_state": "done", "url": f"/jobs/{job_id}"}


def test_a_result_for_which_there_is_no_room_comes_from_its_job(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    store, jobs = worker.store, [send(url) for _ in range(2)]
    worker.end(worker.start("echo_cpu"), outputs={"text": "hello"})
    first = int(store.command("HGET", "webhooks:bytes", "total"))
    store.command("HSET", "webhooks:bytes", "total", MOST_BYTES)
    worker.end(worker.start("echo_cpu"), outputs={"text": "hello"})
    sizes = [store.command("HSTRLEN", f"webhook:{courier.outbox.of_job(j)[0].id}", "result") for j in jobs]
    assert sizes == [first, 0]
    courier.run()
    told = [courier.verify(request, alice)["data"] for request in site.requests]
    assert {data["job_id"]: data["outputs"] for data in told} == {j: {"text": "hello"} for j in jobs}
    assert store.command("HGETALL", "webhooks:bytes") == {"total": str(MOST_BYTES - first)}


def test_a_message_tells_how_its_job_ended_then_and_not_how_it_ended_later(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    job_id = send(url)
    worker.end(worker.start("echo_cpu"), outputs={"text": "hello"})
    courier.run()
    worker.store.command("HINCRBY", f"job:{job_id}", "revision", 1)  # as when an operator requeues it
    courier.outbox.redeliver(courier.outbox.of_job(job_id)[0])
    courier.run()
    assert "outputs" not in courier.verify(site.requests[-1], alice)["data"]


def test_the_newest_messages_of_each_outcome_are_remembered(
    app: Flask,
    send: Submit,
    worker: PlayedWorker,
    courier: PlayedCourier,
    site: Site,
    url: str,
    alice: str,
) -> None:
    for outcome in ("delivered", "failed"):  # room for two, as if these had ended later
        fill(worker.store, f"webhooks:ended:{alice}:{outcome}", MOST_ENDED - 2, NEVER)

    def tell(status: int) -> str:
        site.pages["/hook"] = answer(status)
        job_id = send(url)
        worker.end(worker.start("echo_cpu"))
        (delivery,) = courier.outbox.of_job(job_id)
        courier.run(delays=[])
        return delivery.id

    def known() -> dict[str, str]:
        assert {delivery.id for delivery in courier.outbox.newest()} == set(
            worker.store.command("ZRANGE", "webhooks:all", 0, -1)
        )
        return {delivery.id: delivery.state for delivery in courier.outbox.newest()}

    failed, *arrived = tell(500), *(tell(204) for _ in range(3))
    assert known() == {failed: "failed", arrived[1]: "delivered", arrived[2]: "delivered"}
    courier.outbox.redeliver(courier.outbox.find([arrived[1]])[0])
    site.pages["/hook"] = answer(500)
    courier.run(delays=[])
    assert known() == {failed: "failed", arrived[1]: "failed", arrived[2]: "delivered"}
    newest = [tell(500), tell(204)]
    assert known() == {
        **{arrived[1]: "failed", arrived[2]: "delivered"},
        **{newest[0]: "failed", newest[1]: "delivered"},
    }


def test_where_too_many_messages_of_a_client_wait_the_oldest_are_given_up(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, alice: str
) -> None:
    def end() -> str:
        job_id = send(url)
        worker.end(worker.start("echo_cpu"), outputs={"text": "hello"})
        return job_id

    first, second = end(), end()
    site.pages["/hook"] = answer(500)
    courier.run(delays=[60])
    waiting = f"webhooks:waiting:{alice}"
    assert worker.store.command("ZCARD", waiting) == 2
    fill(worker.store, waiting, MOST_WAITING - 2, NEVER)  # newer ones
    third = end()
    for given_up in (first, second):
        (message,) = told(app, given_up)
        assert (message["state"], message["attempts"], message["next_attempt"]) == ("failed", 1, None)
        assert message["last_error"].startswith("given up for newer ones: more than 100000 messages")
    assert told(app, third)[0]["state"] == "pending"
    assert worker.store.command("ZCARD", waiting) == MOST_WAITING - 1
    assert worker.store.command("HLEN", "webhooks:bytes") == 2  # of the third one, and in all

    site.pages["/hook"] = answer(204)
    (delivery,) = courier.outbox.of_job(first)
    courier.outbox.redeliver(delivery)
    assert worker.store.command("ZCARD", waiting) == MOST_WAITING
    assert courier.run() == 2
    assert [told(app, job_id)[0]["state"] for job_id in (first, second, third)] == [
        *("delivered", "failed", "delivered")
    ]
    assert worker.store.command("ZCARD", waiting) == MOST_WAITING - 2


def test_the_result_of_a_message_that_was_forgotten_counts_no_more(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, url: str
) -> None:
    job_id = send(url)
    worker.end(worker.start("echo_cpu"))
    (delivery,) = courier.outbox.of_job(job_id)
    assert worker.store.command("HEXISTS", "webhooks:bytes", delivery.id) == 1
    worker.store.command("DEL", f"webhook:{delivery.id}")  # as when nothing was sent for four days
    assert courier.run() == 0
    assert worker.store.command("EXISTS", "webhooks:bytes") == 0


def test_a_redirect_is_no_delivery(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    site.pages["/hook"] = answer(302, Location="/elsewhere")
    job_id = send(url)
    worker.end(worker.start("echo_cpu"))
    courier.run(delays=[])
    assert told(app, job_id)[0]["last_status"] == 302
    assert len(site.requests) == 1


def test_a_server_that_is_gone_is_told_nothing_more(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    site.pages["/hook"] = answer(410)
    jobs = [send(url) for _ in range(2)]
    for _ in jobs:
        worker.end(worker.start("echo_cpu"))
        courier.run()
    assert [told(app, job_id)[0]["state"] for job_id in jobs] == ["gone", "gone"]
    assert len(site.requests) == 1
    site.pages["/hook"] = answer(200)
    courier.outbox.redeliver(courier.outbox.of_job(jobs[1])[0])
    courier.run()
    assert [told(app, job_id)[0]["state"] for job_id in jobs] == ["gone", "delivered"]


def test_a_private_address_is_refused_when_it_is_named_and_when_it_is_looked_up(
    app: Flask,
    post: Callable[..., Any],
    send: Submit,
    worker: PlayedWorker,
    courier: PlayedCourier,
    site: Site,
) -> None:
    answered = post("/echo", webhook=site.url("/hook"))
    assert answered.status_code == 400
    assert answered.json["errors"] == {"webhook": ["Parameter webhook: its url is not at a public address!"]}
    job_id = send(site.url("/hook", "0x7f.1"))
    worker.end(worker.start("echo_cpu"))
    assert courier.run() == 1
    (message,) = told(app, job_id)
    assert (message["state"], message["last_error"]) == ("failed", "is not at a public address")
    assert not site.requests


def test_two_workers_with_the_same_message_send_it_once(
    send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    send(url)
    worker.end(worker.start("echo_cpu"))
    ((name, made),) = courier.outbox.take(10)
    assert courier.outbox.take(10) == []
    assert courier.outbox.begin(name, made)
    assert not courier.outbox.begin(name, made)  # the broker gave the task to somebody else, too
    assert courier.run() == 0


def test_a_message_waits_for_the_database(
    app: Flask, send: Submit, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    job_id = send(url)
    worker.end(worker.start("echo_cpu"))

    def away(client: str) -> Rotation:
        raise DatabaseUnavailable("it is away")

    assert courier.run(rotation=away) == 1
    (message,) = told(app, job_id)
    assert (message["state"], message["attempts"]) == ("pending", 0)
    courier.outbox.give_back(message["id"])
    assert courier.run() == 1
    assert told(app, job_id)[0]["state"] == "delivered"


def test_a_key_may_have_a_server_of_its_own_and_its_secret_is_rotated(
    app: Flask, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str, post: Callable[..., Any]
) -> None:
    database = Database.of(app.extensions[EXTENSION].settings)
    record, key = KeyStore(database).add(Grant("app", frozenset({"echo"})), time.time())
    client = record.client.id
    courier.accounts.set(client, Webhook(url))
    assert post("/echo", key=key, wait_for_result=False).status_code == 200
    worker.end(worker.start("echo_cpu"))
    courier.run()
    assert courier.verify(site.requests[0], client)["data"]["job_state"] == "done"

    courier.accounts.rotate(client, time.time(), overlap=60)
    assert post("/echo", key=key, wait_for_result=False).status_code == 200
    worker.end(worker.start("echo_cpu"))
    courier.run()
    for number in (0, 1):
        courier.verify(site.requests[1], client, number)

    courier.accounts.rotate(client, time.time(), overlap=0)
    rotated, _ = KeyStore(database).rotate(record.id, time.time(), overlap=60)
    assert rotated.client.webhook == Webhook(url)
    assert post("/echo", key=key, wait_for_result=False).status_code == 200
    worker.end(worker.start("echo_cpu"))
    courier.run()
    courier.verify(site.requests[2], client, 2)
    with pytest.raises(WebhookVerificationError):
        courier.verify(site.requests[2], client, 1)
    courier.accounts.set(client, None)
    assert KeyStore(database).find(record.id).client.webhook is None


@pytest.mark.parametrize(
    ("webhook", "problem"),
    [
        (7, "must be a URL, or an object"),
        ({"events": ["completed"]}, "must be a URL, or an object"),
        ('{"url": ', "must be a URL, or an object"),
        ("ftp://example.com", "its url is no URL"),
        ("https://me:word@example.com/", "its url holds credentials"),
        (
            {"url": "https://example.com/", "events": []},
            "events must be a list of some of started",
        ),
        ({"url": "https://example.com/", "event": "x"}, "has an unknown key 'event'"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_told_with_all_else(
    post: Callable[..., Any], webhook: Any, problem: str
) -> None:
    answered = post("/echo", webhook=webhook, text=7)
    assert answered.status_code == 400
    assert answered.json["errors"].keys() == {"webhook", "text"}
    assert problem in answered.json["errors"]["webhook"][0]


def test_a_form_and_clients_that_write_objects_as_text_have_webhooks_too(
    app: Flask, worker: PlayedWorker, courier: PlayedCourier, site: Site, url: str
) -> None:
    for webhook in (url, json.dumps({"url": url})):
        data = {"key": ALICE, "wait_for_result": "false", "webhook": webhook}
        assert app.test_client().post("/echo", data=data).status_code == 200
        worker.end(worker.start("echo_cpu"))
    assert courier.run() == 2


def test_a_job_without_a_webhook_leaves_nothing_behind(
    app: Flask, submit: Callable[[str], str], worker: PlayedWorker
) -> None:
    submit("/echo")
    worker.end(worker.start("echo_cpu"))
    assert worker.store.command("KEYS", "webhook*") == []


def test_nobody_is_told_of_a_job_that_was_not_accepted(
    app: Flask, worker: PlayedWorker, courier: PlayedCourier, send: Submit, url: str
) -> None:
    send(url)
    taken_back = replace(worker.take("echo_cpu"), webhook=Webhook(url).to_text())
    worker.store.withdraw(taken_back)
    assert worker.store.get(taken_back.id).state is JobState.CANCELED
    assert courier.run() == 0


def test_an_installation_may_send_no_webhooks(make_app: Callable[..., Flask]) -> None:
    client = make_app(STOKER_WEBHOOKS="false").test_client()
    answered = client.post("/echo", json={"key": ALICE, "webhook": "https://example.com/"})
    assert answered.json["errors"] == {"webhook": ["Parameter webhook: this server sends no webhooks!"]}
