"""Keys of the database with real gunicorn processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.accounts.secret import new_key
from tests.services import BIN, Api, PostgreSQL, wait_until

StartApi = Callable[..., Api]
pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


@pytest.fixture
def stoker(stoker_env: dict[str, str]) -> Callable[..., str]:
    """Run a command of `stoker` in the installation; gives what it prints."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> str:
        environment = os.environ | stoker_env | dict(env or {})
        done = subprocess.run(
            [BIN / "stoker", *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return run


def status(api: Api, path: str, key: str, timeout: float = 20) -> int:
    """Give the status of the answer to a request for a job that is not waited for."""
    request = urllib.request.Request(
        f"{api.url}{path}",
        data=json.dumps({"wait_for_result": False}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_keys_are_made_used_and_revoked_while_two_processes_serve(
    start_api: StartApi, stoker: Callable[..., str]
) -> None:
    api = start_api({"STOKER_API_PROCESSES": "2", "STOKER_REQUESTS_PER_MINUTE": "30"})
    key = stoker("keys", "add", "Mobile app", "--endpoint", "trial", "--requests-per-minute", "10")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: status(api, "/trial", key), range(30)))
    assert sorted(statuses) == [200] * 10 + [429] * 20
    wait_until(
        lambda: stoker("keys", "list").splitlines()[1].split()[-1] != "-", 20, "the last use of the key"
    )
    stoker("keys", "revoke", key.split("_")[1])
    wait_until(
        lambda: {status(api, "/trial", key) for _ in range(8)} == {401},
        10,
        "both processes to refuse the key",
    )
    assert "Traceback" not in api.log() and key not in api.log()


def test_while_postgresql_is_silent_the_api_goes_on(
    start_api: StartApi, stoker: Callable[..., str], postgresql: PostgreSQL
) -> None:
    env = {"STOKER_DATABASE_URL": postgresql.database()}
    stoker("migrate", env=env)
    known = stoker("keys", "add", "known", "--all-endpoints", env=env)
    api = start_api(env)
    assert status(api, "/trial", known) == 200
    _, unknown = new_key()  # of which only the database can tell that it is none
    postgresql.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as pool:
            begin = time.monotonic()
            refused = [pool.submit(status, api, "/trial", unknown) for _ in range(20)]
            for _ in range(10):
                assert status(api, "/trial", known, timeout=1) == 200
            assert time.monotonic() - begin < 1.5, "waited for the database"
            assert {future.result() for future in refused} == {503}
            assert time.monotonic() - begin < 10
    finally:
        postgresql.send_signal(signal.SIGCONT)
    wait_until(lambda: status(api, "/trial", unknown) == 401, 10, "the database to be asked again")
