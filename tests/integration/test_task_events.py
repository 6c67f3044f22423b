"""What Flower and `celery events` hear of a worker."""

from __future__ import annotations

import threading

import pytest
from celery.events import EventReceiver

from tests.services import wait_until

pytestmark = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


@pytest.fixture
def heard(submitter):
    """All task events from now on: job id -> kind -> event."""
    events: dict[str, dict[str, dict]] = {}
    listening, stop = threading.Event(), threading.Event()

    def take(event):
        events.setdefault(event["uuid"], {}).setdefault(event["type"], event)

    def listen():
        kinds = ("received", "started", "succeeded", "failed", "revoked")
        with submitter.celery.connection_for_read() as connection:
            receiver = EventReceiver(
                connection, handlers={f"task-{kind}": take for kind in kinds}, app=submitter.celery
            )
            for _ in receiver.consume(limit=None, timeout=0.2, wakeup=True):
                listening.set()

    def forever():
        while not stop.is_set():
            try:
                listen()
            except TimeoutError:
                listening.set()

    thread = threading.Thread(target=forever, daemon=True)
    thread.start()
    assert listening.wait(10)
    yield events
    stop.set()
    thread.join(10)


def test_every_request_tells_its_life_with_true_times(submitter, start_worker, heard):
    start_worker("trial_cpu", options=["-E"])
    slow = submitter.submit(text="slow", action="sleep", seconds=0.5)
    submitter.results([slow])
    bad = submitter.submit(action="raise")
    submitter.results([bad])
    stuck = submitter.submit(action="report", seconds=20)
    wait_until(lambda: "task-started" in heard.get(stuck, ()), 10, "the job to start")
    submitter.store.cancel(stuck)
    submitter.results([stuck])
    wait_until(lambda: "task-revoked" in heard[stuck], 5, "the last event")

    assert heard[slow].keys() == {"task-received", "task-started", "task-succeeded"}
    assert heard[bad].keys() == {"task-received", "task-started", "task-failed"}
    assert heard[stuck].keys() == {"task-received", "task-started", "task-revoked"}
    assert 0.5 <= heard[slow]["task-succeeded"]["runtime"] < 1.0
    assert heard[slow]["task-started"]["pid"] > 0
    assert heard[slow]["task-received"]["name"] == "infer.trial"
    assert "told to raise" in heard[bad]["task-failed"]["exception"]


def test_no_event_holds_what_the_client_sent(submitter, start_worker, heard):
    start_worker("trial_cpu", options=["-E"])
    job_id = submitter.submit(text="a secret prompt")
    submitter.results([job_id])
    wait_until(lambda: "task-succeeded" in heard.get(job_id, ()), 5, "the last event")
    assert "secret prompt" not in repr(heard)


def test_inspect_shows_what_runs_and_what_waits(submitter, start_worker):
    worker = start_worker("trial_cpu")
    for _ in range(40):
        submitter.submit(text="a secret prompt", action="sleep", seconds=0.25)
    name = worker.hostname
    inspect = submitter.celery.control.inspect(destination=[name], timeout=1)
    active = wait_until(lambda: len(found := inspect.active()[name]) == 8 and found, 10, "a full batch")
    reserved, stats = inspect.reserved(), inspect.stats()
    assert {entry["name"] for entry in active} == {"infer.trial"}
    assert len(reserved[name]) == 8  # the next batch
    assert stats[name]["pool"]["running"] == 8
    assert "secret prompt" not in repr([active, reserved, stats])


@pytest.mark.parametrize(("endpoint", "batches"), [("echo", 3), ("trial", 2)])
def test_worker_of_a_quick_model_fetches_a_third_batch(submitter, start_worker, endpoint, batches):
    known = submitter.endpoints[endpoint]
    name = start_worker(known.queue).hostname
    stats = submitter.celery.control.inspect([name], timeout=10).stats()
    assert stats[name]["prefetch_count"] == batches * known.max_batch_size


def test_prefetch_multiplier_of_the_command_line_counts(submitter, start_worker):
    known = submitter.endpoints["echo"]
    name = start_worker(known.queue, options=["--prefetch-multiplier=1"]).hostname
    stats = submitter.celery.control.inspect([name], timeout=10).stats()
    assert stats[name]["prefetch_count"] == known.max_batch_size
