"""One table of cases for all clients: Python (plain, on an event loop) and JavaScript (Node, a browser).

The server holds no answer for longer than a second, so that calls that take longer are answered by 202.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.services import ROOT, Api, RedisServer, Worker, missing
from tests.services.clients import RUNNERS, Task
from tests.services.faulty import FaultyProxy

KEY = "a-key-for-the-tests"
QUEUES = "trial_cpu,steps_cpu,pictures_cpu,example_cpu"
FOLDERS = ROOT / "tests" / "data" / "endpoints", ROOT / "schemas" / "endpoints"
LONG = {"steps": 120}  # of 10 ms


@dataclass(frozen=True)
class Case:
    """What a client is told to do, and what must come of it.

    Attributes:
        op: the operation, by its name in tests/data/client_cases.*
        expect: parts of the outcome; each must be there.
        plan: faults on the way, see FaultyProxy.
        runs: how often the model must have run the job; None: it does not count.
    """

    op: str
    params: dict[str, Any] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)
    endpoint: str = "trial"
    key: str = KEY
    plan: Sequence[str] = ()
    runs: int | None = None


def error(kind: str, status: int | None, code: str | None, **more: Any) -> dict[str, Any]:
    return {"error": {"kind": kind, "status": status, "code": code, **more}}


def png() -> str:
    buffer = BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


ECHO = {"outputs": {"text": "Žižka 火"}}
CASES = {
    "a request": Case("request", {"text": "Žižka 火"}, ECHO, runs=1),
    "a request that is answered by 202": Case("request", LONG, {"outputs": {"steps": 120}}, "steps"),
    "a request with progress": Case("progress", LONG, {"outputs": {"steps": 120}, "same": True}, "steps"),
    "a request that is lost": Case("request", {"text": "Žižka 火"}, ECHO, plan=["drop"] * 2, runs=1),
    "a request whose answer is lost": Case("request", {"text": "Žižka 火"}, ECHO, plan=["lose"] * 2, runs=1),
    "a busy server": Case("request", {"text": "Žižka 火"}, ECHO, plan=["busy"] * 2, runs=1),
    "a submission": Case("submit", {"text": "Žižka 火"}, ECHO, runs=1),
    "a submission whose answer is lost": Case(
        "submit", {"text": "Žižka 火"}, ECHO, plan=["lose", "drop"], runs=1
    ),
    "a submission with a name": Case("twice", {"text": "x"}, {"same": True}, runs=1),
    "a stream": Case("stream", LONG, {"outputs": {"steps": 120}}, "steps"),
    "a stream that breaks off": Case(
        "stream", {"steps": 300}, {"outputs": {"steps": 300}}, "steps", plan=["cut"] * 2
    ),
    "a cancel": Case("cancel", {"steps": 3000}, error("JobCanceled", 200, "canceled"), "steps"),
    "a timeout": Case("late", {"steps": 3000}, {**error("Timeout", None, None), "same": True}, "steps"),
    "files in all forms": Case(
        "file", {"image": png()}, {"outputs": [["PNG", 5, 4, "RGB"], "image/png"] * 4}, "pictures"
    ),
    "a login": Case("login", expect={"same": True}),
    "descriptions": Case("describe", expect={"outputs": {"name": "trial"}}),
    "wrong inputs": Case(
        "request",
        {"seconds": "a", "text": 5, "nonsense": 1},
        error("BadRequest", 400, "invalid_input"),
    ),
    "a wrong key": Case("request", expect=error("Unauthorized", 401, "key_not_valid"), key="wrong"),
    "a login with a wrong key": Case("login", expect=error("LoginFailed", 401, "key_not_valid"), key="wrong"),
    "an unknown endpoint": Case("request", expect=error("EndpointNotFound", 404, "not_found"), endpoint="no"),
    "an unknown job": Case(
        "unknown", expect=error("JobNotFound", 404, "job_not_found", job_id="no-such-job")
    ),
    "a model that fails": Case("request", {"action": "raise"}, error("JobFailed", 500, "job_failed")),
    "a model that fails, with progress": Case(
        "progress", {"action": "raise"}, error("JobFailed", 200, "job_failed")
    ),
}


@pytest.fixture(scope="module")
def api(
    _redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Api]:
    if not _redis_server.answers():
        _redis_server.start()
    _redis_server.flush()
    folder = tmp_path_factory.mktemp("clients")
    (folder / "demo-key").write_text(KEY)
    env = {
        "STOKER_HOME": str(folder),
        "STOKER_BROKER_URL": _redis_server.broker_url,
        "STOKER_STORE_URL": _redis_server.socket_url,
        "STOKER_ENDPOINTS": ":".join(map(str, FOLDERS)),
        "STOKER_MAX_WAIT": "1",
        "STOKER_CORS_ORIGINS": "*",  # the page of the browser comes from another port
    }
    api, worker = Api(env, folder), Worker(QUEUES, env, folder)
    try:
        api.wait_ready()
        worker.wait_ready()
        yield api
    finally:
        worker.close()
        api.close()


class Run:
    """All cases with one client: what came of them."""

    def __init__(self, client: str, api: Api, folder: Path) -> None:
        self.folder = folder
        self.proxies = {name: FaultyProxy(api.port, case.plan) for name, case in CASES.items() if case.plan}
        # The neighbours of a job that fails run once more, and runs are counted: failures come last.
        waves: tuple[list[Task], list[Task]] = ([], [])
        for name, case in CASES.items():
            params = case.params | ({"log": str(self._log(name))} if case.runs else {})
            url = self.proxies[name].url if case.plan else api.url
            waves[case.params.get("action") == "raise"].append(
                {"name": name, "op": case.op, "url": url, "endpoint": case.endpoint}
                | {"key": case.key, "params": params}
            )
        try:
            self.outcomes = RUNNERS[client](waves, folder)
        finally:
            for proxy in self.proxies.values():
                proxy.close()

    def runs(self, name: str) -> int:
        """How often the model has run the job of a case."""
        return len(self._log(name).read_text().splitlines())

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@pytest.fixture(scope="module", params=RUNNERS)
def run(request: pytest.FixtureRequest, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(request.param, api, tmp_path_factory.mktemp("client"))


@pytest.mark.parametrize("name", CASES)
def test_a_client_does_what_all_clients_do(run: Run, name: str) -> None:
    case, outcome = CASES[name], run.outcomes[name]
    for part, expected in case.expect.items():
        found = outcome.get(part)
        if isinstance(expected, dict):
            found = {key: (found or {}).get(key) for key in expected}
        assert found == expected, outcome
    if case.runs is not None:
        assert run.runs(name) == case.runs
    if case.plan:
        assert run.proxies[name].unused == []


def test_wrong_inputs_are_told_by_name(run: Run) -> None:
    assert set(run.outcomes["wrong inputs"]["error"]["errors"]) == {"seconds", "text", "nonsense"}


def test_progress_is_told_as_it_happens(run: Run) -> None:
    assert "processing" in run.outcomes["a request with progress"]["states"]


def test_a_stream_goes_on_after_what_was_seen(run: Run) -> None:
    assert run.proxies["a stream that breaks off"].resumed == [False, True, True]


@pytest.mark.parametrize("name", ["a stream", "a stream that breaks off"])
def test_a_stream_tells_of_steps_in_order_and_none_twice(run: Run, name: str) -> None:
    steps = [step for step in run.outcomes[name]["steps"] if step]
    assert len(steps) > 1 and steps == sorted(set(steps))


def test_a_canceled_job_is_canceled_for_good(run: Run) -> None:
    first, last = run.outcomes["a cancel"]["states"]
    assert first in ("processing", "canceled") and last == "canceled"


def test_names_of_endpoints_are_listed(run: Run) -> None:
    assert {"trial", "steps", "pictures"} <= set(run.outcomes["descriptions"]["names"])


EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "clients.md").read_text(), re.M | re.S)


def command(language: str, source: str, folder: Path) -> list[str]:
    """Write an example down, and give what runs it; skips the test if that is missing here."""
    programs = {"sh": "sh", "python": sys.executable, "javascript": "node"}
    programs |= {"php": "php", "java": "java", "cpp": "g++"}
    names = {"javascript": "example.mjs", "java": "Example.java"}
    program = shutil.which(programs[language])
    if program is None:
        missing(f"{programs[language]} is not installed: make services")
    file = folder / names.get(language, f"example.{language}")
    file.write_text(source)
    if language == "javascript":
        shutil.copytree(ROOT / "client" / "js", folder / "node_modules" / "stoker-client")
    if language == "cpp":
        build = [program, str(file), "-o", str(folder / "example"), "-lcurl"]
        built = subprocess.run(build, capture_output=True, text=True, timeout=60)
        if "curl/curl.h: No such file" in built.stderr:
            missing("the headers of libcurl are not installed: make services")
        assert built.returncode == 0, built.stderr
        return [str(folder / "example")]
    return [program, str(file)]


@pytest.mark.parametrize(
    ("language", "source"), EXAMPLES, ids=[f"{language}{n}" for n, (language, _) in enumerate(EXAMPLES)]
)
def test_examples_of_the_documentation_run(api: Api, tmp_path: Path, language: str, source: str) -> None:
    env = os.environ | {"SERVER": api.url, "KEY": KEY}
    run = subprocess.run(
        command(language, source, tmp_path), env=env, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert "You said: Hello" in run.stdout
    if "stream(" in source or "/events" in source:
        assert "processing" in run.stdout and " of 5" in run.stdout
