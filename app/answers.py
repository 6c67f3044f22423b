"""What a client is told of a job: the bodies of results and of progress."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from app.content import Content
from app.errors import ApiError, error_body
from app.services import services
from app.streamed import LargeText
from schemas import Endpoint
from tasks.blobs import Blobs, unpack
from tasks.history import JobSummary
from tasks.jobs import JobState, JobStatus, Progress, Result, WorkerInfo
from tasks.records import estimate

_CODES = {JobState.FAILED: "job_failed", JobState.LAPSED: "lapsed", JobState.CANCELED: "canceled"}


def result_body(endpoint: Endpoint, job_id: str, result: Result) -> dict[str, Any]:
    """Give the body for a job that has ended well: its outputs and times.

    Raises:
        ApiError: it has ended otherwise.
    """
    if result.state is not JobState.DONE:
        raise job_error(job_id, result)
    head = {"success": True, "job_id": job_id, "ep_version": endpoint.version}
    meta = _worker_meta(endpoint, result) if endpoint.provide_worker_meta_data else {}
    return {**head, **whole_outputs(result.outputs, result.blobs), **meta, **_times(result)}


def job_error(job_id: str, result: Result) -> ApiError:
    """Give the error for a job that has ended without outputs."""
    messages = result.error or f"Job {job_id}: {result.state}"
    return ApiError(_CODES[result.state], messages, job_id=job_id, job_state=result.state.value)


def progress_body(endpoint: Endpoint, status: JobStatus, workers: Sequence[WorkerInfo]) -> dict[str, Any]:
    """Give the body that tells how a job stands.

    A failed job is `done` with a result that tells of failure: AIME's clients ask on until they read `done`.

    Raises:
        ApiError: the job has lapsed or was canceled.
    """
    head = {"success": True, "job_id": status.id, "ep_version": endpoint.version}
    result = status.result
    if result is None:
        return {**head, "job_state": status.state.value, "progress": _progress(status, workers)}
    if result.state in (JobState.LAPSED, JobState.CANCELED):
        raise job_error(status.id, result)
    return {**head, "job_result": _outcome(endpoint, status.id, result), "job_state": JobState.DONE.value}


def job_body(endpoint: Endpoint, status: JobStatus, workers: Sequence[WorkerInfo]) -> dict[str, Any]:
    """Give the body that stands for a job: its true state, and its progress or whatever its outcome is."""
    head = {
        "success": True,
        "job_id": status.id,
        "endpoint": endpoint.name,
        "ep_version": endpoint.version,
        "job_state": status.state.value,
        "start_time": status.accepted,
        "start_time_compute": status.started if status.result is None else status.result.started,
    }
    if endpoint.provide_worker_meta_data:
        head["auth"] = status.worker
    if status.result is None:
        return {**head, "progress": _progress(status, workers)}
    return {**head, "job_result": _outcome(endpoint, status.id, status.result)}


def summary_body(job: JobSummary) -> dict[str, Any]:
    """Give what the list of jobs says of one of them, by the names of `job_body`."""
    return {
        "job_id": job.id,
        "endpoint": job.endpoint,
        "job_state": job.state.value,
        "start_time": job.accepted,
        "start_time_compute": job.started,
    }


def stream_body(endpoint: Endpoint, status: JobStatus, workers: Sequence[WorkerInfo]) -> dict[str, Any]:
    """Give the body of an event of `/stream_progress`: that of `/progress`, with the progress unpacked."""
    head = {"success": True, "job_id": status.id, "ep_version": endpoint.version}
    if status.result is None:
        return {**head, "job_state": status.state.value, **_progress(status, workers)}
    state = JobState.DONE if status.state is JobState.FAILED else status.state
    return {**head, "job_state": state.value, "job_result": _outcome(endpoint, status.id, status.result)}


def _outcome(endpoint: Endpoint, job_id: str, result: Result) -> dict[str, Any]:
    """Give the body of a result, also of one that is an error."""
    if result.state is JobState.DONE:
        return result_body(endpoint, job_id, result)
    failure = error_body(job_error(job_id, result)) | _times(result)
    return failure | {"ep_version": endpoint.version}


def _progress(status: JobStatus, workers: Sequence[WorkerInfo]) -> dict[str, Any]:
    return {
        "progress": status.progress.percent,
        "queue_position": status.queue_position,
        "estimate": estimate(workers, status.queue_position),
        "num_workers_online": len(workers),
        "progress_data": _whole_progress(status.progress),
    }


def whole_outputs(outputs: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    """Put the large outputs back in, to be read when they are sent; one that is gone stays null."""
    if not blobs:
        return outputs
    contents = stored_texts([name for _, name in blobs])
    return unpack(outputs, blobs, [LargeText(content) if content.size else None for content in contents])


def stored_texts(names: Sequence[str]) -> list[Content]:
    """Give large texts by name, to be read when they are sent; one that is gone has no bytes."""
    store = services().store
    sizes = store.text_sizes(names)
    return [Content(size, partial(store.text_part, name)) for name, size in zip(names, sizes, strict=True)]


def _whole_progress(progress: Progress) -> dict[str, Any]:
    """Put the large partial outputs in at once: the next ones may take their place at any moment."""
    if not progress.blobs:
        return progress.outputs
    texts = services().store.texts([name for _, name in progress.blobs])
    return unpack(progress.outputs, progress.blobs, texts)


def _times(result: Result) -> dict[str, float | None]:
    return {
        "start_time": result.accepted,
        "start_time_compute": result.started,
        "result_received_time": result.finished,
        "compute_duration": result.compute_duration,
        "total_duration": result.total_duration,
    }


def _worker_meta(endpoint: Endpoint, result: Result) -> dict[str, Any]:
    workers = services().store.workers(endpoint.queue)
    said = next((worker.description for worker in workers if worker.name == result.worker), {})
    return {"auth": result.worker, "worker_interface_version": said.get("interface_version")}
