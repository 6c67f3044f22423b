"""What clients have used, with real gunicorn processes and a real worker."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services import BIN, Api, Worker, wait_until

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


def test_every_job_is_accounted_for_though_api_processes_die(
    start_api: Callable[..., Api], start_worker: Callable[..., Worker], stoker_env: dict[str, str]
) -> None:
    def stoker(*arguments: str) -> str:
        done = subprocess.run(
            [BIN / "stoker", *arguments], env=os.environ | stoker_env, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def call(text: str) -> int:
        body = json.dumps({"text": text, "action": "sleep", "seconds": 0.01}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{api.url}/trial", body, headers)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    start_worker("trial_cpu")
    api = start_api({"STOKER_API_PROCESSES": "2"})
    key = stoker("keys", "add", "Mobile app", "--endpoint", "trial", "--seconds-per-day", "100",
                 "--bytes-per-day", "4000")  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, ["some text"] * 20)) == {200}
        for process in api.children():
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: _answers(call), 20, "the API to serve again")
        statuses = list(pool.map(call, ["some text"] * 60))
    assert set(statuses) == {200, 429}
    accepted = 21 + statuses.count(200)

    def totals() -> dict[str, str]:
        found = list(csv.DictReader(io.StringIO(stoker("usage", "--csv"))))
        return found[0] if found else {}

    wait_until(lambda: totals().get("jobs") == str(accepted), 30, "all jobs to be in the database")
    row = totals()
    assert (row["name"], row["endpoint"], row["done"]) == ("Mobile app", "trial", str(accepted))
    assert 3900 < int(row["bytes_in"]) <= 4000
    # The model sleeps 10 ms for each job, one after another: that is shared out, whatever the batches.
    assert 0.01 * accepted <= float(row["model_seconds"]) < 0.03 * accepted + 1


def _answers(call: Callable[[str], int]) -> bool:
    try:
        return call("some text") == 200
    except OSError:
        return False
