"""Celery's request, for jobs: a revoke goes through the pool, so that the store says what became of it."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class JobRequest(Request):
    """A request whose job is only ended by the dispatcher.

    Celery itself would ack the message of a revoked task at once, and nobody would tell the client.
    """

    def revoked(self) -> bool:
        """Never here: the pool sees that the id was revoked and hands the job on as canceled."""
        return False

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Describe it for `celery inspect` and Flower: never with what the client sent."""
        return dict(super().info(safe=True))

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Stop the job, running or not; for `revoke(terminate=True)`."""
        pool.cancel(self)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Do nothing: at a cold shutdown the message goes back to the broker and the job runs elsewhere."""
