"""What a worker tells Prometheus.

The dispatcher says what happens; what there is at the moment is looked up when somebody scrapes. Labels are
queues, endpoints, states, causes and devices: there are few of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tasks.errors import StokerError
from tasks.jobs import Job, JobState, Result
from workers.gpu import Gpus
from workers.table import Run
from workers.verdict import Cause

PREFIX = "stoker_worker"
SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0),
)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CAUSES = {
    Cause.ITSELF: "crash",
    Cause.TIMEOUT: "timeout",
    Cause.CANCEL: "cancel",
    Cause.LOADING: "loading",
    Cause.WORN: "recycle",
}


class MetricsError(StokerError):
    """The metrics cannot be served where the settings say."""


@dataclass(frozen=True)
class Snapshot:
    """A worker at one moment.

    Attributes:
        host_pid: process id of the model host; 0: there is none.
        host_ready: whether its models are loaded.
        running: number of jobs on the model, by endpoint.
        held: number of jobs that the worker holds and has not started, by endpoint.
    """

    host_pid: int = 0
    host_ready: bool = False
    running: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)


class Metrics:
    """Counts what a worker does, and shows what it holds.

    Args:
        name: Celery's name of the worker.
        queues: names of those that it serves.
        endpoints: names of those that it serves; jobs of others are not counted.
        look: gives the worker as it is now; called from other threads.
        gpus: those that it may use.

    Attributes:
        registry: all of it.
    """

    def __init__(
        self,
        name: str,
        queues: Iterable[str],
        endpoints: Sequence[str],
        look: Callable[[], Snapshot],
        gpus: Gpus | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        info = Info(PREFIX, "The worker: one line for each of its queues", ["queue"], registry=self.registry)
        for queue in queues:
            info.labels(queue).info({"worker": name, "version": version("stoker")})
        waits = self._histogram("queue_wait_seconds", "From the acceptance of a job to its start", SECONDS)
        sizes = self._histogram("batch_size", "Jobs on the model together, at each start", SIZES)
        runs = self._histogram("run_seconds", "From the start of a job to its outcome", SECONDS)
        finished = Counter(
            f"{PREFIX}_jobs_finished_total",
            "Jobs that ended",
            ["endpoint", "state"],
            registry=self.registry,
        )
        restarts = Counter(
            f"{PREFIX}_host_restarts_total",
            "Ends of model hosts that were followed by another one",
            ["cause"],
            registry=self.registry,
        )
        self._waits = {endpoint: waits.labels(endpoint) for endpoint in endpoints}
        self._sizes = {endpoint: sizes.labels(endpoint) for endpoint in endpoints}
        self._runs = {endpoint: runs.labels(endpoint) for endpoint in endpoints}
        states = [state for state in JobState if state.terminal]
        self._finished = {(e, state): finished.labels(e, state) for e in endpoints for state in states}
        self._restarts = {cause: restarts.labels(CAUSES[cause]) for cause in Cause}
        self._load = Gauge(
            f"{PREFIX}_host_load_seconds", "What the newest model host took to load", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        ProcessCollector(f"{PREFIX}_host", lambda: look().host_pid, registry=self.registry)
        self.registry.register(_Now(endpoints, look, gpus or Gpus()))

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, ["endpoint"], buckets=buckets, registry=self.registry)

    def serve(self, host: str, port: int) -> None:
        """Answer `GET /metrics` from threads of its own, as long as this process lives.

        Raises:
            MetricsError: the address cannot be listened on; says which settings to change.
        """
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MetricsError(
                f"the metrics cannot be served on port {port} of {host} ({reason}): set STOKER_METRICS_PORT "
                "to a free port, or to 0 for no metrics, or see STOKER_METRICS_HOST"
            ) from error

    def started(self, runs: Iterable[Run], together: int) -> None:
        """Take runs that start together, and how many the model has now, those included."""
        endpoints = set()
        for run in runs:
            if run.started is not None and (waits := self._waits.get(run.job.endpoint)):
                endpoints.add(run.job.endpoint)
                waits.observe(max(0.0, run.started - run.job.accepted))  # clocks of two machines differ
        for endpoint in endpoints:
            self._sizes[endpoint].observe(together)

    def finished(self, job: Job, result: Result) -> None:
        """Take the outcome of a job."""
        if count := self._finished.get((job.endpoint, result.state)):
            count.inc()
            if result.started is not None:
                self._runs[job.endpoint].observe(max(0.0, result.finished - result.started))

    def host_ready(self, load_time: float) -> None:
        """Take the seconds that a model host took to load its models."""
        self._load.set(load_time)

    def host_restarts(self, cause: Cause) -> None:
        """Count a model host that has ended and is followed by another one."""
        self._restarts[cause].inc()


class _Now(Collector):
    """What is looked up at each scrape."""

    def __init__(self, endpoints: Sequence[str], look: Callable[[], Snapshot], gpus: Gpus) -> None:
        self._endpoints, self._look, self._gpus = endpoints, look, gpus

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges of this moment."""
        now = self._look()
        there = now.host_pid != 0
        yield _gauge("host_up", "Whether the model host has loaded its models", int(there and now.host_ready))
        yield _gauge("host_loading", "Whether the model host loads", int(there and not now.host_ready))
        running = _gauge("jobs_running", "Jobs on the model", labels=["endpoint"])
        held = _gauge("jobs_held", "Jobs that the worker holds and has not started", labels=["endpoint"])
        for endpoint in self._endpoints:
            running.add_metric([endpoint], now.running.get(endpoint, 0))
            held.add_metric([endpoint], now.held.get(endpoint, 0))
        yield from (running, held)
        yield from self._gpu_memory()

    def _gpu_memory(self) -> Iterator[GaugeMetricFamily]:
        readings = self._gpus.read()
        if not readings:
            return
        used = _gauge("gpu_memory_used_bytes", "Memory in use, whoever uses it", labels=["device"])
        total = _gauge("gpu_memory_total_bytes", "Memory of the device", labels=["device"])
        for reading in readings:
            used.add_metric([reading.device], reading.used)
            total.add_metric([reading.device], reading.total)
        yield from (used, total)


def _gauge(
    name: str, text: str, value: float | None = None, labels: Sequence[str] | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value, labels)
