"""Carries the cases of tests/e2e/test_clients.py out with the Python client, plainly or on an event loop."""

from __future__ import annotations

import asyncio
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from PIL import Image

import client
from client import JobProgress, JobResult, Media, ModelAPI

Outcome = dict[str, Any]


class Face:
    """The client as all operations see it; plain calls block an event loop that has nothing else to do."""

    def __init__(self, api: ModelAPI, plain: bool) -> None:
        self._api = api
        self._plain = plain
        self.session_token = lambda: api.client_session_auth_key

    async def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._plain:
            return getattr(self._api, name)(*args, **kwargs)
        return await getattr(self._api, f"{name}_async")(*args, **kwargs)

    async def events(self, job_id: str, until: str = "") -> list[Any]:
        """Follow a job to its end, or until its state is `until`."""
        found: list[Any] = []
        if self._plain:
            for event in self._api.stream(job_id):
                found.append(event)
                if isinstance(event, JobProgress) and event.info["job_state"] == until:
                    break
        else:
            async for event in self._api.stream(job_id):
                found.append(event)
                if isinstance(event, JobProgress) and event.info["job_state"] == until:
                    break
        return found


async def request(face: Face, params: dict[str, Any]) -> Outcome:
    return {"outputs": await face.call("do_api_request", params)}


async def progress(face: Face, params: dict[str, Any]) -> Outcome:
    told: list[str] = []
    results: list[Any] = []

    def hear(info: client.ProgressInfo, data: Any) -> None:
        told.append(info["job_state"])

    outputs = await face.call("do_api_request", params, results.append, hear)
    return {"outputs": outputs, "states": told, "same": results == [outputs]}


async def submit(face: Face, params: dict[str, Any]) -> Outcome:
    return {"outputs": await face.call("result", await face.call("submit", params))}


async def twice(face: Face, params: dict[str, Any]) -> Outcome:
    name = str(uuid.uuid4())
    one, two = [await face.call("submit", params, idempotency_key=name) for _ in range(2)]
    await face.call("result", one)
    return {"same": one == two}


async def stream(face: Face, params: dict[str, Any]) -> Outcome:
    *reports, last = await face.events(await face.call("submit", params))
    assert isinstance(last, JobResult)
    return {"steps": [report.data.get("step", 0) for report in reports], "outputs": last.result}


async def cancel(face: Face, params: dict[str, Any]) -> Outcome:
    job_id = await face.call("submit", params)
    await face.events(job_id, until="processing")
    states = [await face.call("cancel", job_id)]
    try:
        await face.call("result", job_id)
    except client.JobCanceled as error:
        return {**describe_error(error), "states": [*states, await face.call("cancel", job_id)]}
    raise AssertionError("a canceled job has a result")


async def late(face: Face, params: dict[str, Any]) -> Outcome:
    job_id = await face.call("submit", params)
    try:
        await face.call("result", job_id, timeout=0)
    except client.Timeout as error:
        await face.call("cancel", job_id)
        return {**describe_error(error), "same": error.job_id == job_id}
    raise AssertionError("a job that runs has a result")


async def unknown(face: Face, params: dict[str, Any]) -> Outcome:
    return {"outputs": await face.call("result", "no-such-job")}


async def login(face: Face, params: dict[str, Any]) -> Outcome:
    await face.call("do_api_login")
    return {"same": isinstance(face.session_token(), str)}


async def describe(face: Face, params: dict[str, Any]) -> Outcome:
    return {
        "names": await face.call("get_endpoint_list"),
        "outputs": await face.call("get_endpoint_details"),
    }


async def file(face: Face, params: dict[str, Any]) -> Outcome:
    given = Media(params["image"])
    outputs: list[Any] = []
    for form in (params["image"], given.data, BytesIO(given.data), Image.open(BytesIO(given.data))):
        result = await face.call("do_api_request", {"image": form})
        outputs += [result["seen"][0], Media(result["image"]).type]
    return {"outputs": outputs}


def describe_error(error: client.StokerClientError) -> Outcome:
    return {
        "error": {
            "kind": type(error).__name__,
            "status": error.status,
            "code": error.code,
            "errors": getattr(error, "errors", {}),
            "job_id": getattr(error, "job_id", None),
        }
    }


def run(waves: list[list[dict[str, Any]]], *, plain: bool) -> dict[str, Outcome]:
    """Carry the cases of each wave out at the same time; gives what came of each case, by its name."""
    outcomes: dict[str, Outcome] = {}
    for cases in waves:
        outcomes |= _run_at_once(cases, plain)
    return outcomes


def _run_at_once(cases: list[dict[str, Any]], plain: bool) -> dict[str, Outcome]:

    async def perform(case: dict[str, Any]) -> Outcome:
        async with ModelAPI(case["url"], case["endpoint"], case["key"]) as api:
            try:
                outcome: Outcome = await globals()[case["op"]](Face(api, plain), case["params"])
            except client.StokerClientError as error:
                return describe_error(error)
            except Exception:
                return {"broke": traceback.format_exc()}
            return outcome

    async def all_at_once() -> list[Outcome]:
        return await asyncio.gather(*map(perform, cases))

    if plain:
        with ThreadPoolExecutor(len(cases)) as pool:
            found = list(pool.map(lambda case: asyncio.run(perform(case)), cases))
    else:
        found = asyncio.run(all_at_once())
    return dict(zip((case["name"] for case in cases), found, strict=True))
