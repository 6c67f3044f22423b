"""One table of cases for all clients: Python (plain, on an event loop) and JavaScript (Node, a browser).

The server holds no answer for longer than a second, so that calls that take longer are answered by 202.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.data import client_cases
from tests.services import ROOT, Api, Process, RedisServer, Worker, missing
from tests.services.faulty import FaultyProxy

KEY = "a-key-for-the-tests"
QUEUES = "trial_cpu,steps_cpu,pictures_cpu"
LONG = {"steps": 120}  # of 10 ms
CLIENT_JS = ROOT / "client" / "js" / "stoker.js"
CASES_JS = ROOT / "tests" / "data" / "client_cases.js"
LIMIT = 60  # s; for all cases of one client
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
import { run } from "./client_cases.js";
const report = (outcomes) => fetch("/report", { method: "POST", body: JSON.stringify(outcomes) });
fetch("/cases.json").then((answer) => answer.json()).then(run).then(report, (error) => report({ error }));
</script>"""

MAIN = """import fs from "node:fs";
import { run } from "./client_cases.js";
console.log(JSON.stringify(await run(JSON.parse(fs.readFileSync("cases.json")))));
"""

Task = dict[str, Any]
Waves = Sequence[list[Task]]
Outcomes = dict[str, dict[str, Any]]


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
    "a stream that breaks off": Case("stream", LONG, {"outputs": {"steps": 120}}, "steps", plan=["cut"] * 2),
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
        "STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "endpoints"),
        "STOKER_MAX_WAIT": "1",
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


def node(waves: Waves, folder: Path) -> Outcomes:
    program = shutil.which("node")
    if program is None:
        missing("node is not installed: apt-get install nodejs")
    (folder / "package.json").write_text('{"type": "module"}')
    for source in (CLIENT_JS, CASES_JS):
        shutil.copy(source, folder)
    (folder / "cases.json").write_text(json.dumps(waves))
    (folder / "main.js").write_text(MAIN)
    answer = subprocess.run([program, "main.js"], cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def chromium(waves: Waves, folder: Path) -> Outcomes:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")  # too large for every run of CI
    for source in (CLIENT_JS, CASES_JS):
        shutil.copy(source, folder)
    (folder / "cases.json").write_text(json.dumps(waves))
    (folder / "index.html").write_text(PAGE)
    reports: queue.Queue[Any] = queue.Queue()
    handler = functools.partial(Site, reports, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
        url = f"http://127.0.0.1:{site.server_port}/"
        browser = Process(
            "chromium", [program, *flags, url], os.environ, folder / "chromium.log", lambda: True
        )
        try:
            return dict(reports.get(timeout=LIMIT))
        finally:
            browser.close()
            site.shutdown()


class Site(http.server.SimpleHTTPRequestHandler):
    """Serves the page of the browser, and takes its report."""

    def __init__(self, reports: queue.Queue[Any], *args: Any, **kwargs: Any) -> None:
        self.reports = reports
        super().__init__(*args, **kwargs)

    def do_POST(self) -> None:
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


RUNNERS = {
    "Python": lambda waves, folder: client_cases.run(waves, plain=True),
    "Python, async": lambda waves, folder: client_cases.run(waves, plain=False),
    "Node": node,
    "Chromium": chromium,
}


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


@pytest.mark.parametrize("name", ["a stream", "a stream that breaks off"])
def test_a_stream_tells_of_steps_in_order_and_none_twice(run: Run, name: str) -> None:
    steps = [step for step in run.outcomes[name]["steps"] if step]
    assert len(steps) > 5 and steps == sorted(set(steps))


def test_a_canceled_job_is_canceled_for_good(run: Run) -> None:
    first, last = run.outcomes["a cancel"]["states"]
    assert first in ("processing", "canceled") and last == "canceled"


def test_names_of_endpoints_are_listed(run: Run) -> None:
    assert {"trial", "steps", "pictures"} <= set(run.outcomes["descriptions"]["names"])
