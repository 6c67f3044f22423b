"""Is it alive, is it ready: for `make run`, load balancers and people."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint

from app.errors import ApiError
from app.services import services
from tasks.errors import StoreUnavailable

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """Tell that this process answers; asks nobody else."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> dict[str, Any]:
    """Tell whether a job can be done now: store, broker, and a worker for every queue with a model.

    Raises:
        ApiError: not ready; `error` names what is missing.
    """
    parts = services()
    store_answers, broker_answers = _store_answers(), parts.broker.answers()
    workers = _workers() if store_answers else {}
    missing = [] if store_answers else ["The job store does not answer"]
    missing += [] if broker_answers else ["The message broker does not answer"]
    missing += [f"No worker for queue {queue}" for queue, count in workers.items() if not count]
    report = {"store": store_answers, "broker": broker_answers, "workers": workers}
    if missing:
        raise ApiError("not_ready", missing, retry_after=1, ready=False, **report)
    return {"ready": True, **report}


def _store_answers() -> bool:
    try:
        services().store.ping()
    except StoreUnavailable as error:
        logger.warning("not ready: %s", error)
        return False
    return True


def _workers() -> dict[str, int]:
    """Count the workers of each queue that this installation has a model for."""
    parts = services()
    served = {e.queue for e in parts.endpoints.values() if e.enabled and e.model is not None}
    return {queue: len(parts.store.workers(queue)) for queue in sorted(served)}
