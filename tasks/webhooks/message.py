"""The body of a message: which job, what happened, and where its outputs are. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.blobs import unpack
from tasks.jobs import JobState, Result
from tasks.records import dumps


def body(job_id: str, record: Mapping[str, str]) -> bytes:
    """Give the body of a message as JSON in UTF-8.

    Images, sounds, videos and other large outputs are links; a result that is too large, or is not
    there any more, is left out altogether.

    Args:
        job_id: the job.
        record: as `Outbox.begin` gave it.
    """
    state = JobState(record["state"])
    data: dict[str, Any] = {
        "job_id": job_id,
        "endpoint": record["endpoint"],
        "job_state": state.value,
        "url": f"/jobs/{job_id}",
    }
    if record.get("result"):
        data |= _outcome(job_id, Result.from_wire(json.loads(record["result"])))
    at = datetime.fromtimestamp(float(record["created"]), UTC)
    event = {"type": f"job.{record['event']}", "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "data": data}
    return dumps(event).encode()


def _outcome(job_id: str, result: Result) -> dict[str, Any]:
    times = {
        "start_time": result.accepted,
        "start_time_compute": result.started,
        "result_received_time": result.finished,
    }
    if result.state is not JobState.DONE:
        return times | {"error": [result.error or f"Job {job_id}: {result.state}"]}
    # A link takes the place of what lies in the store, as of a file that is small enough not to.
    links = [_link(job_id, path) for path, _ in result.blobs]
    return times | {"outputs": _linked(job_id, [], unpack(result.outputs, result.blobs, links))}


def _linked(job_id: str, path: list[str | int], value: Any) -> Any:
    if isinstance(value, str) and value.startswith("data:"):
        return _link(job_id, path)
    if isinstance(value, dict):
        return {name: _linked(job_id, [*path, name], part) for name, part in value.items()}
    if isinstance(value, list):
        return [_linked(job_id, [*path, place], part) for place, part in enumerate(value)]
    return value


def _link(job_id: str, path: list[str | int]) -> Any:
    """Give where an output is to be had: by its name and place in a list; deeper inside: with all others."""
    has_address = len(path) == 1 or (len(path) == 2 and isinstance(path[1], int))
    return {"url": f"/jobs/{job_id}" + (f"/outputs/{'/'.join(map(str, path))}" if has_address else "")}
