"""Stoker as its users install it: from a wheel, far from a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest

from tests.services import ROOT, Process, free_port

pytestmark = [pytest.mark.timeout(300)]

NOT_SOURCES = ("*.egg-info", ".*", "__pycache__", "build", "dist", "tests")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of a virtual environment with the wheel in it.

    What Stoker depends on comes from the environment of the tests; Stoker itself does not.
    """
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True, timeout=120)
    venv.create(folder / "venv", symlinks=True)
    (wheel,) = folder.glob("stoker-*.whl")
    python = folder / "venv" / "bin" / "python"
    install = ["--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, timeout=120)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def env() -> dict[str, str]:
    """The environment of a user who has set nothing but free ports."""
    ours = ("STOKER_", "PYTHON", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {"STOKER_PORT": str(free_port()), "STOKER_FLOWER_PORT": str(free_port())}


def test_up_serves_from_a_wheel_in_an_empty_folder(
    installed: Path, env: dict[str, str], tmp_path: Path
) -> None:
    start = tmp_path / "empty"
    start.mkdir()
    where = [str(installed / "python"), "-c", "import app, tasks, workers; print(tasks.__file__)"]
    answer = subprocess.run(where, env=env, cwd=start, capture_output=True, text=True, timeout=60, check=True)
    assert Path(answer.stdout).is_relative_to(installed.parent)
    log = tmp_path / "up.out"
    command = [str(installed / "stoker"), "up"]
    up = Process("stoker up", command, env, log, lambda: "Stoker is ready." in log.read_text(), cwd=start)
    try:
        up.wait_ready(90)
        key = (start / ".stoker" / "demo-key").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{env['STOKER_PORT']}/text",
            json.dumps({"prompt": "The function returns"}).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        for path in ("docs", "static/docs.css", "openapi.json"):
            urllib.request.urlopen(f"http://127.0.0.1:{env['STOKER_PORT']}/{path}", timeout=20).close()
        with urllib.request.urlopen(request, timeout=20) as response:
            assert json.loads(response.read())["success"] is True
        assert up.terminate(60) == 0
    finally:
        up.close()
