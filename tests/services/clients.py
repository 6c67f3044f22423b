"""The clients of this repository, told to carry cases out: see tests/data/client_cases.*."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.data import client_cases
from tests.services.process import ROOT, Process, missing

LIMIT = 60  # s; for all cases of one client
CLIENT_JS = ROOT / "client" / "js" / "stoker.js"
CASES_JS = ROOT / "tests" / "data" / "client_cases.js"
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
        missing("chromium is not installed: apt-get install chromium")
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
