"""What a worker tells Prometheus."""

import os
import re
import urllib.request

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tasks.jobs import Job, JobState, Result
from tests.services import ROOT, free_port
from workers.gpu import GpuMemory
from workers.metrics import Metrics, MetricsError, Snapshot
from workers.table import Run
from workers.verdict import Cause


class FakeGpus:
    def __init__(self, *readings):
        self.readings = list(readings)

    def read(self):
        return self.readings


class Worker:
    """Metrics of a worker, and the worker as it is now."""

    def __init__(self, *readings):
        self.now = Snapshot()
        self.metrics = Metrics(
            "w@host", ["a_gpu", "b_gpu"], ["a", "b"], lambda: self.now, FakeGpus(*readings)
        )

    def get(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"stoker_worker_{name}", labels)

    def names(self):
        return {sample.name for family in self.metrics.registry.collect() for sample in family.samples}


@pytest.fixture
def worker():
    return Worker()


def job(endpoint="a", accepted=100.0):
    return Job("id-of-the-job", endpoint, "q", {"text": "hush"}, "owner", accepted, 999.0, 10.0)


def run(number=1, **of_job):
    return Run(number, job(**of_job), started=105.0)


def result(state, started=None, finished=110.0):
    return Result(state, accepted=100.0, started=started, finished=finished)


def test_wait_and_size_of_a_batch_are_counted_by_endpoint(worker):
    batch = [run(accepted=100.0), run(accepted=104.5)]
    worker.metrics.started(batch, 2)
    assert worker.get("queue_wait_seconds_sum", endpoint="a") == 5.5
    assert worker.get("queue_wait_seconds_bucket", endpoint="a", le="0.5") == 1
    assert worker.get("queue_wait_seconds_bucket", endpoint="a", le="5.0") == 2
    assert worker.get("batch_size_sum", endpoint="a") == 2
    assert worker.get("batch_size_count", endpoint="a") == 1
    assert worker.get("batch_size_count", endpoint="b") == 0


def test_job_that_joins_others_counts_them_too(worker):
    worker.metrics.started([run(3), run(4)], 3)
    assert worker.get("batch_size_sum", endpoint="a") == 3
    assert worker.get("batch_size_count", endpoint="b") == 0
    assert worker.get("queue_wait_seconds_count", endpoint="a") == 2


def test_clock_of_the_api_that_is_ahead_makes_no_wait_negative(worker):
    worker.metrics.started([run(accepted=200.0)], 1)
    assert worker.get("queue_wait_seconds_sum", endpoint="a") == 0


def test_jobs_that_ended_are_counted_by_state_and_timed_if_they_ran(worker):
    worker.metrics.finished(job(), result(JobState.DONE, started=107.5))
    worker.metrics.finished(job(), result(JobState.FAILED, started=109.0))
    worker.metrics.finished(job(), result(JobState.LAPSED))
    counts = {s: worker.get("jobs_finished_total", endpoint="a", state=s) for s in JobState if s.terminal}
    assert counts == {"done": 1, "failed": 1, "canceled": 0, "lapsed": 1}
    assert worker.get("run_seconds_count", endpoint="a") == 2
    assert worker.get("run_seconds_sum", endpoint="a") == 3.5


def test_endpoint_that_the_worker_does_not_serve_makes_no_new_series(worker):
    before = worker.names(), len(generate_latest(worker.metrics.registry).splitlines())
    worker.metrics.started([run(endpoint="made-up")], 1)
    worker.metrics.finished(job("made-up"), result(JobState.FAILED, started=101.0))
    assert (worker.names(), len(generate_latest(worker.metrics.registry).splitlines())) == before


def test_restarts_are_counted_by_cause_from_zero(worker):
    assert worker.get("host_restarts_total", cause="timeout") == 0
    for cause in Cause:
        worker.metrics.host_restarts(cause)
    worker.metrics.host_restarts(Cause.ITSELF)
    assert worker.get("host_restarts_total", cause="crash") == 2
    assert worker.get("host_restarts_total", cause="timeout") == 1
    assert worker.get("host_restarts_total", cause="cancel") == 1


def test_host_is_absent_then_loads_then_is_up(worker):
    states = []
    pid = os.getpid()
    for now in (Snapshot(0, True), Snapshot(0, False), Snapshot(pid, False), Snapshot(pid, True)):
        worker.now = now
        states.append((worker.get("host_loading"), worker.get("host_up")))
    assert states == [(0, 0), (0, 0), (1, 0), (0, 1)]
    worker.metrics.host_ready(4.25)
    assert worker.get("host_load_seconds") == 4.25


def test_memory_of_the_host_is_that_of_its_process(worker):
    name = "host_process_resident_memory_bytes"
    assert worker.get(name) is None
    worker.now = Snapshot(os.getpid(), True)
    assert worker.get(name) > 1e6
    assert worker.get(name) == pytest.approx(
        worker.metrics.registry.get_sample_value("process_resident_memory_bytes"), rel=0.2
    )


def test_jobs_at_hand_are_those_of_the_moment_of_the_scrape(worker):
    worker.now = Snapshot(running={"a": 3}, held={"b": 2})
    assert worker.get("jobs_running", endpoint="a") == 3
    assert worker.get("jobs_held", endpoint="b") == 2
    worker.now = Snapshot()
    assert worker.get("jobs_running", endpoint="a") == 0


def test_each_queue_is_named_with_the_worker(worker):
    (family,) = [f for f in worker.metrics.registry.collect() if f.name == "stoker_worker"]
    assert [(s.labels["queue"], s.labels["worker"]) for s in family.samples] == [
        ("a_gpu", "w@host"),
        ("b_gpu", "w@host"),
    ]


def test_gpu_memory_is_there_only_where_a_gpu_is():
    assert b"gpu_memory" not in generate_latest(Worker().metrics.registry)
    worker = Worker(GpuMemory("GPU-aa11", 25, 100), GpuMemory("GPU-bb22", 0, 100))
    assert worker.get("gpu_memory_used_bytes", device="GPU-aa11") == 25
    assert worker.get("gpu_memory_total_bytes", device="GPU-bb22") == 100


def test_what_is_served_parses_follows_the_conventions_and_names_no_job(worker):
    port = free_port()
    worker.metrics.serve("127.0.0.1", port)
    worker.metrics.started([run()], 1)
    worker.metrics.finished(job(), result(JobState.DONE, started=105.0))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["stoker_worker_jobs_finished"].type == "counter"
    assert families["stoker_worker_queue_wait_seconds"].type == "histogram"
    ours = [family for name, family in families.items() if name.startswith("stoker_worker")]
    assert all(family.documentation for family in ours)
    labels = {label for family in ours for sample in family.samples for label in sample.labels}
    assert labels <= {"endpoint", "queue", "state", "cause", "device", "le", "worker", "version"}
    assert "id-of-the-job" not in text and "hush" not in text


def test_port_in_use_is_an_error_that_names_the_setting(worker):
    port = free_port()
    worker.metrics.serve("127.0.0.1", port)
    with pytest.raises(MetricsError, match=rf"port {port} of 127\.0\.0\.1 .*in use.*STOKER_METRICS_PORT"):
        Worker().metrics.serve("127.0.0.1", port)


def test_address_of_another_machine_is_an_error_that_names_the_setting(worker):
    with pytest.raises(MetricsError, match="STOKER_METRICS_HOST"):
        worker.metrics.serve("192.0.2.1", free_port())


def test_documentation_tells_of_every_metric_and_of_no_other():
    worker = Worker(GpuMemory("GPU-aa11", 25, 100))
    worker.now = Snapshot(os.getpid(), True)
    endings = {"counter": "_total", "info": "_info"}
    families = [f for f in worker.metrics.registry.collect() if f.name.startswith("stoker_worker")]
    exposed = {family.name + endings.get(family.type, "") for family in families}
    text = (ROOT / "docs" / "operations.md").read_text().partition("\n## Metrics\n")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = {f"stoker_worker_{name}" for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told <= exposed
    assert all(name.startswith("stoker_worker_host_process_") for name in exposed - told)
    queried = set(re.findall(r"stoker_worker_\w+", text)) - {"stoker_worker_"}
    assert queried <= worker.names()
