"""A whole installation on free ports: broker, store, workers, APIs."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from tests.bench.load import Load, Measured
from tests.services import ROOT, Api, Process, RabbitMQ, RedisServer, Worker, free_port

KEY = "benchmark"
P = TypeVar("P", bound=Process)
TICKS = os.sysconf("SC_CLK_TCK")  # per s, in /proc


@dataclass(frozen=True)
class Installation:
    """One that runs.

    Attributes:
        label: for tables.
        parts: processes whose CPU time is counted, by name.
        port: of its API.
        store_url: of its job store.
        echo: its endpoint that gives the input back.
    """

    label: str
    parts: dict[str, Callable[[], list[int]]]
    port: int
    store_url: str = ""
    echo: str = "echo"

    def run(self, load: Load) -> tuple[Measured, dict[str, float]]:
        """Send a load to it; gives what was measured, and the CPU time by part, in ms per request."""
        return self.measure(replace(load, port=self.port).run)

    def measure(self, run: Callable[[], Measured]) -> tuple[Measured, dict[str, float]]:
        """The same for anything that `run` does."""
        before = self._cpu()
        measured = run()
        spent = {name: value - before[name] for name, value in self._cpu().items()}
        return measured, {name: value * 1000 / measured.sent for name, value in spent.items()}

    def api_memory(self) -> float:
        """Give the resident memory of all API processes together, in MB."""
        return sum(map(resident, self.parts["API"]()))

    def _cpu(self) -> dict[str, float]:
        return {name: sum(map(cpu_time, pids())) for name, pids in self.parts.items()}


class Site:
    """Starts installations and ends all of them.

    A broker is `embedded` (the Redis server that is also the store) or `rabbitmq` (one node, a vhost each).

    Attributes:
        folder: for what they write.
        cleanup: what is called at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rabbitmq: RabbitMQ | None = None
        self.cleanup = ExitStack()

    def close(self) -> None:
        """End everything."""
        self.cleanup.close()

    def install(
        self,
        broker: str,
        queue: str,
        workers: int = 1,
        api_processes: int = 1,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Installation:
        """Start an installation with `workers` workers of `queue`; gives it when it is ready."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        known = set(Process.running)
        redis = RedisServer(folder)
        self.cleanup.callback(redis.close)
        stores = family(*(process for process in Process.running if process not in known))
        node = self.rabbitmq() if broker == "rabbitmq" else None
        label = f"{broker}, {api_processes} API process{'es' if api_processes > 1 else ''}"
        label += f", {workers} workers" if workers > 1 else ""
        (folder / "demo-key").write_text(KEY)
        env = {
            "STOKER_HOME": str(folder),
            "STOKER_BROKER_URL": node.vhost() if node else redis.broker_url,
            "STOKER_STORE_URL": redis.socket_url,
            "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
            "STOKER_API_PROCESSES": str(api_processes),
            **settings,
        }
        crew = [self._run(Worker(queue, env, folder)) for _ in range(workers)]
        api = self._run(Api(env, folder))
        for process in (*crew, api):
            process.wait_ready()
        parts: dict[str, Callable[[], list[int]]] = {
            "API": lambda: family(api),
            "worker": lambda: [worker.pid for worker in crew],
            "model host": lambda: [pid for worker in crew for pid in worker.children()],
            "Redis": lambda: stores,
            "RabbitMQ": lambda: family(*(p for p in Process.running if p.name == "RabbitMQ" and node)),
        }
        return Installation(label, parts, api.port, redis.socket_url)

    def litserve(self, python: Path) -> Installation:
        """Start LitServe, as it is out of the box, by an interpreter that has it."""
        port = free_port()
        command: list[str | Path] = [python, ROOT / "tests" / "bench" / "litserve_echo.py", str(port)]
        server = Process("LitServe", command, os.environ, self.folder / "litserve.log", lambda: listens(port))
        self._run(server).wait_ready(60)
        return Installation("LitServe", {"LitServe": lambda: family(server)}, port, echo="predict")

    def _run(self, process: P) -> P:
        self.cleanup.callback(process.close)
        return process

    def rabbitmq(self) -> RabbitMQ:
        """Give the node, started for the first who asks."""
        if self._rabbitmq is None:
            folder = self.folder / "rabbitmq"
            folder.mkdir()
            self._rabbitmq = RabbitMQ(folder)
            self.cleanup.callback(self._rabbitmq.close)
        return self._rabbitmq


@contextmanager
def site() -> Iterator[Site]:
    """Give a site in a folder of its own, with a short path, since a Unix socket's may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-bench-"))
    place = Site(folder)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    """Tell whether somebody takes connections at a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def family(*processes: Process) -> list[int]:
    """List the ids of these processes and of all their descendants."""
    return [pid for process in processes for pid in (process.pid, *process.children())]


def cpu_time(pid: int) -> float:
    """Give the CPU time that a process has used, in s; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """Give the memory that a process has to itself or shares, in MB; 0 for one that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
