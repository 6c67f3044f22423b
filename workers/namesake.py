"""Two workers of one name: each would take the jobs that the other one runs for its own, left by a death."""

from __future__ import annotations

from celery import Celery

from tasks.brokerlink import broker_errors
from tasks.errors import StoreUnavailable
from tasks.store import JobStore

ANSWERS_WITHIN = 1.0  # s


def has_namesake(app: Celery, name: str) -> bool:
    """Tell whether another worker of this name is there; for one that does not consume yet.

    One that was killed is known for some seconds more, but does not answer.

    Args:
        app: of the worker.
        name: Celery's name of it, `name@host`.
    """
    store = JobStore.from_url(app.stoker_settings.store_url, connections=1)
    queues = {endpoint.queue for endpoint in app.stoker_endpoints.values()}
    try:
        known = any(worker.name == name for queue in queues for worker in store.workers(queue))
    except StoreUnavailable:
        return False
    if not known:
        return False
    with app.connection_for_write() as connection:
        try:
            return bool(app.control.ping([name], ANSWERS_WITHIN, limit=1, connection=connection))
        except broker_errors(connection):
            return False
