"""Which programs make up an installation, and how each of them is run. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import Endpoint
from tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # folder of our packages
WORKER_GRACE = 25  # s; what a running batch may take to end
API_GRACE = 30  # s; after Ctrl-C nobody waits as long as a job may take


@dataclass(frozen=True)
class Program:
    """A program that runs as long as the installation does.

    Attributes:
        name: of its log, and in messages.
        command: program and arguments. No secrets: everybody on the machine reads them.
        priority: programs start in this order and stop in the reverse one; equal ones stop together.
        start_time: seconds after which it counts as started; if it ends sooner, the next start waits.
        stop_time: seconds that it may take to end before it is killed.
        essential: whether nothing works without it.
        lock: file that is locked as long as it runs, so that it never runs twice.
    """

    name: str
    command: tuple[str, ...]
    priority: int
    start_time: int
    stop_time: int
    essential: bool = False
    lock: Path | None = None


def worker_queues(endpoints: Mapping[str, Endpoint]) -> list[str]:
    """List the queues that workers of ours serve: those of enabled endpoints with a model."""
    return sorted({e.queue for e in endpoints.values() if e.enabled and e.model is not None})


def metrics_ports(settings: Settings, endpoints: Mapping[str, Endpoint]) -> dict[str, int]:
    """Give the port of each worker's metrics, by queue: STOKER_METRICS_PORT and the next ones, or none."""
    first = settings.metrics_port
    return {queue: first + n for n, queue in enumerate(worker_queues(endpoints))} if first else {}


def programs(
    settings: Settings, endpoints: Mapping[str, Endpoint], redis_server: Path | None
) -> list[Program]:
    """List the programs of an installation.

    The API stops before the workers: whoever waits for a result still gets it.

    Args:
        settings: how this installation runs.
        endpoints: all endpoints by name.
        redis_server: program of the embedded broker and store; None: they run elsewhere.
    """
    run = settings.home / "run"
    celery = (sys.executable, "-m", "celery", "--quiet", "-A", "workers")
    found = []
    if redis_server is not None:
        command = (str(redis_server), str(run / "redis.conf"))
        lock = settings.home / "redis" / "lock"
        found.append(Program("redis", command, 100, 1, 15, essential=True, lock=lock))
    ports = metrics_ports(settings, endpoints)
    drain = settings.drain_timeout or WORKER_GRACE
    for queue in worker_queues(endpoints):
        options = ("worker", "-Q", queue, "-n", f"{queue}@%h", "--loglevel", settings.log_level)
        own = ["env", f"STOKER_DRAIN_TIMEOUT={drain}"]
        if ports:
            own.append(f"STOKER_METRICS_PORT={ports[queue]}")
        found.append(Program(f"worker-{queue}", (*own, *celery, *options), 200, 10, drain + 5))
    if settings.webhooks:
        told = ("worker", "-n", "webhooks@%h", "--loglevel", settings.log_level)
        courier = (sys.executable, "-m", "celery", "--quiet", "-A", "workers.webhooks", *told)
        found.append(Program("webhooks", courier, 200, 5, 30))
    patience = ("--graceful-timeout", str(API_GRACE))
    gunicorn = (
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:tasks.gunicorn",
        *patience,
        "app:create_app()",
    )
    found.append(Program("api", gunicorn, 300, 3, API_GRACE + 5, essential=True))
    address = (f"--address={settings.flower_host}", f"--port={settings.flower_port}")
    flower = (*celery, "flower", f"--conf={run / 'flower.py'}", *address)
    found.append(Program("flower", flower, 400, 3, 5))
    return found


def flower_config(password: str) -> str:
    """Give Flower's configuration file; with a password set, its pages and its API ask for it.

    Args:
        password: of the user `stoker`.
    """
    return f"basic_auth = [{'stoker:' + password!r}]\npersistent = False\nbroker_api = None\n"
