"""What Prometheus reads of a real worker."""

from __future__ import annotations

import os
import signal
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks.jobs import JobState
from tests.services import free_port, wait_until

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


class Scraped:
    """The metrics of a worker at one moment."""

    def __init__(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            self.text = answer.read().decode()
        families = text_string_to_metric_families(self.text)
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name, **labels):
        wanted = f"stoker_worker_{name}"
        found = [s.value for s in self.samples if s.name == wanted and labels.items() <= s.labels.items()]
        assert len(found) == 1, (name, labels, found)
        return found[0]


@pytest.fixture
def start_scraped(start_worker):
    """Start a worker of the queue trial_cpu; gives it, and what scrapes it."""

    def start(**env):
        port = free_port()
        worker = start_worker("trial_cpu", {"STOKER_METRICS_PORT": str(port), **env})
        return worker, lambda: Scraped(port)

    return start


def test_outcomes_batches_and_times_are_told(submitter, start_scraped):
    ids = [submitter.submit(text=str(n), action="raise" if n == 3 else "echo") for n in range(40)]
    worker, scrape = start_scraped()
    submitter.results(ids)
    wait_until(lambda: scrape()("jobs_finished_total", endpoint="trial", state="done") == 39, 10, "39 done")
    told = scrape()
    assert told("jobs_finished_total", endpoint="trial", state="failed") == 1
    assert told("queue_wait_seconds_count", endpoint="trial") == 40
    assert told("queue_wait_seconds_sum", endpoint="trial") > 0
    assert told("run_seconds_count", endpoint="trial") == 40
    assert told("batch_size_sum", endpoint="trial") == 40
    assert 5 <= told("batch_size_count", endpoint="trial") < 40
    assert told("batch_size_bucket", endpoint="trial", le="8.0") == told("batch_size_count", endpoint="trial")
    assert told("jobs_running", endpoint="trial") == told("jobs_held", endpoint="trial") == 0
    assert told("info", queue="trial_cpu", worker=worker.hostname) == 1
    assert not [job_id for job_id in ids if job_id in told.text]


def test_job_that_kills_its_host_is_told_and_the_next_host_is_up(submitter, start_scraped):
    _, scrape = start_scraped()
    assert scrape()("host_restarts_total", cause="crash") == 0
    assert scrape()("host_load_seconds") > 0
    (result,) = submitter.results([submitter.submit(action="kill")])
    assert result.state is JobState.FAILED
    wait_until(lambda: scrape()("host_up"), 10, "the next host")
    told = scrape()
    assert told("host_restarts_total", cause="crash") == 2  # it was alone both times
    assert told("queue_wait_seconds_count", endpoint="trial") == 2
    assert told("jobs_finished_total", endpoint="trial", state="failed") == 1
    assert told("host_loading") == 0
    assert told("host_process_resident_memory_bytes") > 1e6


def test_host_that_is_killed_from_outside_is_told(start_scraped):
    worker, scrape = start_scraped()
    os.kill(worker.children()[0], signal.SIGKILL)
    wait_until(lambda: scrape()("host_restarts_total", cause="crash") == 1, 10, "the restart")
    wait_until(lambda: scrape()("host_up"), 10, "the next host")


def test_jobs_at_hand_are_told_while_a_model_holds_the_gil(submitter, start_scraped):
    _, scrape = start_scraped()
    ids = [submitter.submit(action="hold_gil", seconds=2)]
    wait_until(lambda: scrape()("jobs_running", endpoint="trial"), 10, "the job to run")
    ids += [submitter.submit(text="next") for _ in range(3)]
    wait_until(lambda: scrape()("jobs_held", endpoint="trial") == 3, 1.5, "the next jobs to be held")
    assert scrape()("jobs_running", endpoint="trial") == 1
    submitter.results(ids)
    wait_until(lambda: scrape()("jobs_finished_total", endpoint="trial", state="done") == 4, 10, "all done")


def test_port_in_use_stops_the_worker_and_names_the_setting(start_worker):
    port = str(free_port())
    first = start_worker("trial_cpu", {"STOKER_METRICS_PORT": port})
    second = start_worker("trial_cpu", {"STOKER_METRICS_PORT": port}, ready=False)
    assert second.wait(20) != 0
    assert f"the metrics cannot be served on port {port} of 127.0.0.1" in second.log()
    assert "STOKER_METRICS_PORT" in second.log() and "Traceback" not in second.log()
    assert not second.children() and first.returncode is None
