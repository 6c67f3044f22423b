"""The JavaScript client: its own tests, and what it must have in common with the Python client."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import client
from tests.services.process import ROOT, missing

FOLDER = ROOT / "client" / "js"
EXPORTED = re.compile(r"^export class (\w+)", re.M)


def test_its_own_tests_pass() -> None:
    node = shutil.which("node")
    if node is None:
        missing("node is not installed: apt-get install nodejs")
    tests = Path(__file__).with_name("stoker.test.mjs")
    run = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout


def test_what_it_exports_is_declared_and_named_as_in_python() -> None:
    exported = EXPORTED.findall((FOLDER / "stoker.js").read_text())
    assert set(exported) == set(EXPORTED.findall((FOLDER / "stoker.d.ts").read_text()))
    python_only = {"JobEvents", "JobProgress", "JobResult", "ProgressInfo"}
    assert set(exported) == {name for name in client.__all__ if name[0].isupper()} - python_only


def test_its_package_names_files_that_are_there_and_the_version_of_the_python_client() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    assert all((FOLDER / name).is_file() for name in [*package["files"], package["types"]])
    assert f"version = {package['version']}\n" in (ROOT / "client" / "setup.cfg").read_text()
