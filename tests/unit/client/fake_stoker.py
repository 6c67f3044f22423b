"""A server in memory, written from the HTTP contract, for the client to talk to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

KEY = "a-key-that-nobody-may-see"
JOB_ID = "9b4a62b5-613d-461e-95a1-b3b1acdd8f4b#7"
Reply = tuple[int, Any] | tuple[int, Any, Mapping[str, str]] | Exception


def queued(position: int = 1) -> Reply:
    progress = {"progress": 0, "queue_position": position, "estimate": 1.5, "progress_data": {}}
    return 200, {
        "success": True,
        "job_id": JOB_ID,
        "ep_version": 1,
        "job_state": "queued",
        "progress": progress,
    }


def processing(percent: float, **outputs: Any) -> Reply:
    progress = {"progress": percent, "queue_position": 0, "estimate": 0.5, "progress_data": outputs}
    return 200, {"success": True, "job_id": JOB_ID, "job_state": "processing", "progress": progress}


def result(**outputs: Any) -> dict[str, Any]:
    return {"success": True, "job_id": JOB_ID, "ep_version": 1, **outputs, "compute_duration": 0.02}


def done(**outputs: Any) -> Reply:
    return 200, {"success": True, "job_id": JOB_ID, "job_state": "done", "job_result": result(**outputs)}


@dataclass
class FakeStoker:
    """Answers each route with its replies in turn, the last one for ever; keeps the requests.

    A job is answered with its id when it does not wait for the result, else by `replies["/bench"]`.
    """

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        queue = self.replies.get(request.url.path, [(404, "no such page")])
        reply = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(reply, Exception):
            raise reply
        status, body, headers = (*reply, {})[:3]
        if isinstance(body, str):
            return httpx.Response(status, text=body, headers=headers)
        return httpx.Response(status, json=body, headers=headers)

    def accept_job(self, *polls: Reply) -> None:
        self.replies["/bench"] = [(200, {"success": True, "job_id": JOB_ID, "ep_version": 1})]
        self.replies["/bench/progress"] = list(polls)

    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests if request.content]
