"""`stoker worker-health`: whether workers hear the broker, for health checks."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import click

from tasks.commands.common import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas import Endpoint
    from tasks.settings import Settings

UNHEALTHY = 1  # exit status


@click.command("worker-health")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME@HOST",
    help="A worker; may be repeated. Default: this host's.",
)
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(min=0.1), help="In seconds.")
def worker_health(names: tuple[str, ...], timeout: float) -> None:
    """Ask workers through the broker whether they consume; status 1 if one does not.

    A worker's process may live and hear nothing: only a way through the broker and back tells.
    """
    settings, endpoints = load()
    host = socket.gethostname()
    expected = set(names) or _announced(settings, endpoints.values(), host)
    answers = _ask(settings, sorted(expected), host, timeout)
    if not expected | answers.keys():
        click.echo(f"no worker of {host} answered within {timeout:g} s", err=True)
        sys.exit(UNHEALTHY)
    problems = 0
    for name in sorted(expected | answers.keys()):
        queues = answers.get(name)
        if queues:
            click.echo(f"{name} consumes {', '.join(queues)}")
            continue
        problems += 1
        problem = (
            f"did not answer within {timeout:g} s" if queues is None else "answers, but consumes no queue"
        )
        click.echo(f"{name} {problem}", err=True)
    sys.exit(UNHEALTHY if problems else 0)


def _announced(settings: Settings, endpoints: Iterable[Endpoint], host: str) -> set[str]:
    """Name the workers of `host` that the store knows: they are to answer. None if it does not answer."""
    from tasks.errors import StoreUnavailable
    from tasks.store import JobStore

    store = JobStore.from_url(settings.store_url, connections=1)
    try:
        names = {worker.name for queue in {e.queue for e in endpoints} for worker in store.workers(queue)}
    except StoreUnavailable:
        return set()
    return {name for name in names if name.endswith(f"@{host}")}


def _ask(settings: Settings, names: list[str], host: str, timeout: float) -> dict[str, list[str]]:
    """Ask these workers, or all of `host`, for the queues that they consume; gives the answers by name."""
    from tasks.brokerlink import broker_errors
    from tasks.celery import create_celery

    celery = create_celery(settings, {})
    to: dict[str, Any] = {"destination": names} if names else {"pattern": f"*@{host}", "matcher": "glob"}
    with celery.connection_for_write() as connection:
        try:
            inspect = celery.control.inspect(timeout=timeout, connection=connection, **to)
            answers = inspect.active_queues() or {}
        except broker_errors(connection) as error:
            click.echo(f"the message broker cannot be reached: {error}", err=True)
            sys.exit(UNHEALTHY)
    return {name: [queue["name"] for queue in queues] for name, queues in answers.items()}
