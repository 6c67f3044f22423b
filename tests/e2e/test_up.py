"""`stoker up`, from outside: one command, and what a person then does."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.services import ROOT, Process, free_port, wait_until

pytestmark = [pytest.mark.timeout(300)]

UPPER_MODEL = """
import time

from workers.models.base import Model

class Upper(Model):
    def predict(self, jobs):
        for job in jobs:
            if job["seconds"]:
                print("sleeps")
                time.sleep(job["seconds"])
        return [{"text": job["text"].upper()} for job in jobs]
"""
UPPER_ENDPOINT = """
[ENDPOINT]
name = "upper"
title = "Upper"
description = "Says it louder"
[WORKER]
queue = "upper_cpu"
model = "mymodel:Upper"
[INPUTS]
text = { type = "string", required = true }
seconds = { type = "float", default = 0 }
[OUTPUTS]
text = { type = "string" }
"""
PROGRAMS = ("redis", "worker-embed_cpu", "webhooks", "api", "flower")


class Installation(Process):
    """A `stoker up` in a folder of its own, as a user has it: with a model and an endpoint file.

    Attributes:
        start: the folder that it is started in.
        home: its STOKER_HOME.
        env: its environment.
    """

    def __init__(self, start: Path, model: str = UPPER_MODEL, **env: str) -> None:
        self.start = start
        self.home = start / "home"
        self.port, self.flower_port = free_port(), free_port()
        (start / "endpoints").mkdir(exist_ok=True)
        (start / "endpoints" / "upper.toml").write_text(UPPER_ENDPOINT)
        (start / "mymodel.py").write_text(model)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")} | {
            "STOKER_HOME": "home",
            "STOKER_PORT": str(self.port),
            "STOKER_FLOWER_PORT": str(self.flower_port),
            "STOKER_ENDPOINTS": "./endpoints",
            **env,
        }
        command = [sys.executable, str(ROOT / "stoker.py"), "up"]
        super().__init__("stoker up", command, self.env, start / "up.out", self.is_ready, cwd=start)

    def is_ready(self) -> bool:
        return "Stoker is ready." in self.log()

    def pid_of(self, program: str) -> int:
        spawned = re.findall(rf"spawned: '{program}' with pid (\d+)", self.supervisord_log())
        return int(spawned[-1])

    def supervisord_log(self) -> str:
        return (self.home / "log" / "supervisord.log").read_text()

    def call(self, endpoint: str, inputs: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{endpoint}",
            json.dumps(inputs).encode(),
            {"Authorization": f"Bearer {self.secret('demo-key')}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def flower(self, path: str, password: str | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.flower_port}{path}")
        if password is not None:
            credentials = base64.b64encode(f"stoker:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def secret(self, name: str) -> str:
        return (self.home / name).read_text().strip()

    def stoker(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "stoker.py"), *arguments]
        return subprocess.run(
            command, env=self.env | env, cwd=self.start, capture_output=True, text=True, timeout=60
        )


def ports_in_a_row(count: int) -> int:
    """Give the first of `count` ports that nobody listens on now, below those that the system hands out."""
    while True:
        first = random.randrange(20_000, 30_000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return first


@pytest.fixture
def start_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="stoker up-"))
    yield folder
    for process in list(Process.running):
        if isinstance(process, Installation) and process.start == folder:
            process.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def installation(start_folder: Path) -> Installation:
    return Installation(start_folder)


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="stoker-up-"))
    installation = Installation(folder, STOKER_METRICS_PORT=str(ports_in_a_row(4)))
    try:
        installation.wait_ready(90)
        yield installation
    finally:
        installation.close()
        shutil.rmtree(folder, ignore_errors=True)


def works(action: Callable[[], Any]) -> Callable[[], bool]:
    def attempt() -> bool:
        try:
            action()
        except (OSError, ValueError):
            return False
        return True

    return attempt


def status_of(action: Callable[[], Any]) -> int:
    try:
        action()
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_printed_curl_line_gives_an_embedding(running: Installation) -> None:
    (line,) = re.findall(r"^  (curl .*)$", running.log(), re.MULTILINE)
    answer = subprocess.run(
        ["bash", "-c", line], cwd=running.start, capture_output=True, check=True, timeout=30
    )
    body = json.loads(answer.stdout)
    assert body["success"] is True
    assert len(body["embedding"]) == 384
    assert "Demo key  in " in running.log()
    assert running.secret("demo-key") not in running.log()  # which is a file: no secret may stand there


def test_model_of_the_start_folder_is_served(running: Installation) -> None:
    assert running.call("upper", {"text": "hello"})["text"] == "HELLO"


def test_each_worker_serves_its_metrics_where_the_banner_says(running: Installation) -> None:
    running.call("upper", {"text": "hello"})
    told = dict(re.findall(r"(http://127\.0\.0\.1:\d+/metrics)  \(worker-(\w+)\)", running.log()))
    assert sorted(told.values()) == ["embed_cpu", "example_cpu", "text_cpu", "upper_cpu"]
    for url, queue in told.items():
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert f'stoker_worker_info{{queue="{queue}"' in answer.read().decode()


def test_flower_asks_for_its_password(running: Installation) -> None:
    for path in ("/", "/api/workers", "/api/tasks"):
        for password in (None, "wrong"):
            assert status_of(partial(running.flower, path, password)) == 401


def test_flower_lists_workers_and_tasks(running: Installation) -> None:
    job = running.call("embed", {"text": "seen by Flower"})["job_id"]
    password = running.secret("flower-password")

    def tasks() -> bool:
        return job in running.flower("/api/tasks", password)

    wait_until(tasks, 15, "the task in Flower")
    task = running.flower(f"/api/task/info/{job}", password)
    assert task["name"] == "infer.embed"
    assert "seen by Flower" not in json.dumps(task)
    workers = running.flower("/api/workers?refresh=1", password)
    assert {name.partition("@")[0] for name in workers} >= {"embed_cpu", "upper_cpu"}


def test_command_lines_hold_no_secret(running: Installation) -> None:
    pids = [running.pid, *running.children()]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert len(lines) > len(PROGRAMS)
    for name in ("demo-key", "secret-key", "flower-password"):
        assert not any(running.secret(name).encode() in line for line in lines)


def test_home_is_closed_to_others(running: Installation) -> None:
    for path in (running.home, *running.home.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_second_start_is_refused(running: Installation) -> None:
    answer = running.stoker("up")
    assert answer.returncode == 2
    assert f"(process {running.pid})" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_taken_ports_are_refused_by_name(running: Installation, start_folder: Path) -> None:
    answer = running.stoker("up", STOKER_HOME=str(start_folder / "other"))
    assert answer.returncode == 2
    assert "set STOKER_PORT to another port" in answer.stderr
    assert "set STOKER_FLOWER_PORT to another port" in answer.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_program_comes_back(running: Installation, program: str) -> None:
    before = running.pid_of(program)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.pid_of(program) != before, 20, f"a new {program}")
    embeds = works(lambda: running.call("embed", {"text": "still there?"}))
    wait_until(embeds, 40, "an embedding")
    password = running.secret("flower-password")
    wait_until(works(lambda: running.flower("/api/tasks", password)), 30, "Flower")
    wait_until(lambda: f"{program} ended (terminated by SIGKILL)" in running.log(), 10, "a word about it")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_ends_every_process(installation: Installation, number: signal.Signals) -> None:
    installation.wait_ready(90)
    family = installation.children()
    assert len(family) > len(PROGRAMS)
    installation.send_signal(number)
    assert installation.wait(60) == 0
    assert not [pid for pid in family if alive(pid)]
    assert "killing" not in installation.supervisord_log()


def test_client_that_waits_is_answered_before_everything_stops(installation: Installation) -> None:
    installation.wait_ready(90)
    answers: list[dict[str, Any]] = []
    inputs = {"text": "hello", "seconds": 4}
    client = Thread(target=lambda: answers.append(installation.call("upper", inputs)))
    client.start()
    log = installation.home / "log" / "worker-upper_cpu.log"
    wait_until(lambda: "sleeps" in log.read_text(), 20, "the job to run")
    installation.send_signal(signal.SIGTERM)
    assert installation.wait(60) == 0
    client.join(10)
    assert [answer["text"] for answer in answers] == ["HELLO"]


def test_killed_command_takes_every_process_with_it(installation: Installation) -> None:
    installation.wait_ready(90)
    family = installation.children()
    installation.kill9()
    wait_until(lambda: not any(map(alive, family)), 60, "the end of all processes")
    assert "killing" not in installation.supervisord_log()


def test_killed_supervisord_ends_everything(installation: Installation) -> None:
    installation.wait_ready(90)
    family = installation.children()
    os.kill(int((installation.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    assert installation.wait(60) == 1
    assert not [pid for pid in family if alive(pid)]


def test_model_that_cannot_be_loaded_is_named(start_folder: Path) -> None:
    installation = Installation(start_folder, "raise ImportError('no such GPU')")
    wait_until(lambda: "no such GPU" in installation.log(), 60, "the reason")
    wait_until(lambda: "No worker for queue upper_cpu" in installation.log(), 60, "what is missing")
    (installation.start / "mymodel.py").write_text(UPPER_MODEL)
    installation.wait_ready(60)
    assert installation.call("upper", {"text": "hello"})["text"] == "HELLO"


def test_redis_that_cannot_start_ends_the_command(start_folder: Path) -> None:
    (start_folder / "home" / "redis").mkdir(parents=True, mode=0o700)
    (start_folder / "home").chmod(0o700)
    for name in ("appendonlydir", "appendonly.aof"):
        (start_folder / "home" / "redis" / name).write_text("no such thing")
    installation = Installation(start_folder)
    assert installation.wait(60) == 1
    assert "redis does not start, and nothing works without it" in installation.log()
    assert "Traceback" not in installation.log()


def test_wrong_settings_and_files_are_told_without_traceback(start_folder: Path) -> None:
    installation = Installation(start_folder)
    installation.close()
    answer = installation.stoker("up", STOKER_PORT="none", STOKER_HOST_="x")
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 2
    (start_folder / "endpoints" / "upper.toml").write_text(UPPER_ENDPOINT + "\n[NONSENSE]\n")
    for command in ("up", "check"):
        answer = installation.stoker(command)
        assert answer.returncode == 2
        assert "NONSENSE" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_check_lists_the_endpoints(start_folder: Path) -> None:
    installation = Installation(start_folder)
    installation.close()
    answer = installation.stoker("check")
    assert answer.returncode == 0
    assert "upper: queue upper_cpu, mymodel:Upper" in answer.stdout
