"""What the server offers: the list of endpoints and the description of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint

from app.auth import authenticate, presented
from app.services import services
from schemas import Endpoint
from tasks.jobs import WorkerInfo

IMPLICIT_INPUTS = {
    "client_session_auth_key": {"type": "string"},
    "key": {"type": "string"},
    "wait_for_result": {"type": "bool"},
    "cancel_on_disconnect": {"type": "bool"},
    "webhook": {"type": "json"},
}
MODEL_FIELDS = ("label", "quantization", "size", "family", "type", "repo_name")

blueprint = Blueprint("endpoints", __name__)


@blueprint.route("/api/endpoints", methods=["GET", "POST"])
def list_endpoints() -> dict[str, Any]:
    """Name all endpoints or, with a key, those that it opens."""
    names = list(services().endpoints)
    if presented() is not None:
        client = authenticate()
        names = [name for name in names if client.opens(name)]
    return {"endpoints": names}


@blueprint.route("/api/endpoints/<endpoint:endpoint>", methods=["GET", "POST"])
@blueprint.route("/api/<endpoint:endpoint>", methods=["GET", "POST"])
def describe(endpoint: Endpoint) -> dict[str, Any]:
    """Describe an endpoint: its limits, its workers, its parameters."""
    store = services().store
    workers = store.workers(endpoint.queue)
    if not endpoint.provide_worker_meta_data:  # everybody may ask, and names tell of hosts
        workers = [replace(worker, name=f"worker {n}") for n, worker in enumerate(workers, 1)]
    return {
        "name": endpoint.name,
        "title": endpoint.title,
        "description": endpoint.description,
        "http_methods": list(endpoint.methods),
        "version": endpoint.version,
        "max_queue_length": endpoint.max_queue_length,
        "max_time_in_queue": math.ceil(endpoint.max_time_in_queue),
        "free_queue_slots": max(0, endpoint.max_queue_length - store.queue_length(endpoint.queue)),
        "category": endpoint.category,
        "num_active_workers": len(workers),
        "num_workers": len(workers),
        "workers": [describe_worker(worker) for worker in workers],
        "parameter_description": {
            "input": {**_plain(endpoint.inputs), **IMPLICIT_INPUTS},
            "output": _plain(endpoint.outputs),
            "progress": {"OUTPUTS": _plain(endpoint.progress_outputs)},
        },
    }


def describe_worker(worker: WorkerInfo) -> dict[str, Any]:
    """Describe a worker by the names of AIME's endpoint details; what it does not say is unknown."""
    said = worker.description
    model = said.get("model") or {}
    return {
        "name": worker.name,
        "state": worker.state,
        "max_batch_size": worker.max_batch_size,
        "free_slots": max(0, worker.max_batch_size - worker.running),
        "gpu_name": said.get("gpu_name", ""),
        "num_gpus": said.get("num_gpus", 0),
        "framework": said.get("framework"),
        "framework_version": said.get("framework_version"),
        "pytorch_version": said.get("pytorch_version"),
        "model": {name: model.get(name, "Unknown") for name in MODEL_FIELDS},
    }


def _plain(value: Any) -> Any:
    """Turn read-only mappings and tuples into what JSON knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
