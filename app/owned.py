"""Jobs belong to the API key that submitted them: to every other one they do not exist."""

from __future__ import annotations

from flask import g

from app.errors import ApiError
from app.services import services
from schemas import Endpoint
from tasks.jobs import JobStatus


def own_job(job_id: str) -> tuple[Endpoint, JobStatus]:
    """Give a job of the current request's key, and the endpoint that it was submitted to.

    Raises:
        ApiError: it is unknown, forgotten, somebody else's, or of an endpoint that the key opens no more.
    """
    status = services().store.get(job_id)
    if status is None or status.owner != g.client.id or not g.client.opens(status.endpoint):
        raise unknown_job(job_id)
    endpoint = services().endpoints.get(status.endpoint)
    if endpoint is None:
        raise unknown_job(job_id)
    return endpoint, status


def unknown_job(job_id: str) -> ApiError:
    """Give the answer for a job that is not there, for whatever reason: all of them look alike."""
    return ApiError("job_not_found", f"Client has no active request with this job id {job_id[:100]}")
