"""What workers do with a full queue: nobody waits, nothing but the workers' own pace counts."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.stack import Site, cpu_time
from tests.services import ROOT, RedisServer, Worker
from tests.services.submitter import Submitter

CLIENTS = 64
PROCESS, THREAD = "workers", "tests.services.threadhost"


class Queue:
    """A queue of an installation without an API, on RabbitMQ.

    Args:
        place: where to start it.
        endpoint: whose queue it is; its only input is a text.
    """

    def __init__(self, place: Site, endpoint: str) -> None:
        self._place = place
        self._folder = Path(tempfile.mkdtemp(dir=place.folder))
        redis = RedisServer(self._folder)
        place.cleanup.callback(redis.close)
        self._env = {
            "STOKER_HOME": str(self._folder),
            "STOKER_BROKER_URL": place.rabbitmq().vhost(),
            "STOKER_STORE_URL": redis.socket_url,
            "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
        }
        self._submitter = Submitter(self._env)
        place.cleanup.callback(self._submitter.close)
        self._endpoint = endpoint
        self._queue = self._submitter.endpoints[endpoint].queue

    def drain(self, jobs: int, workers: int, app: str = PROCESS) -> dict[str, float]:
        """Fill the queue, then start workers; gives jobs/s from first start to last end, and CPU time."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            ids = list(
                clients.map(lambda n: self._submitter.submit(self._endpoint, text="hello"), range(jobs))
            )
        with self._workers(workers, app) as crew:
            while self._submitter.store.queue_length(self._queue):
                time.sleep(0.05)
            results = self._submitter.results(ids, timeout=60)
            spent = sum(cpu_time(pid) for worker in crew for pid in (worker.pid, *worker.children()))
        took = max(r.finished for r in results) - min(r.started or r.finished for r in results)
        return {"rate": jobs / took, "cpu_ms_per_job": spent * 1000 / jobs}

    @contextmanager
    def _workers(self, count: int, app: str) -> Iterator[Sequence[Worker]]:
        crew = [Worker(self._queue, self._env, self._folder, app=app) for _ in range(count)]
        try:
            yield crew
        finally:
            for worker in crew:
                worker.close()


def medians(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Give the median of each value, and all rates."""
    found: dict[str, Any] = {name: round(statistics.median(r[name] for r in runs), 3) for name in runs[0]}
    return found | {"rates": [round(r["rate"]) for r in runs]}
