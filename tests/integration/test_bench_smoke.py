"""The benchmarks still run; how fast does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.services import ROOT, redis_program

PERCENTILES = {"p50", "p90", "p95", "p99", "max"}


def test_benchmark_measures_a_running_installation_and_keeps_what_it_found(tmp_path):
    redis_program()  # skips where there is none
    options = "--seconds 0.5 --runs 1 --clients 4 --brokers embedded --api-processes 1"
    command = [sys.executable, "-m", "tests.bench", "simgpu", *options.split(), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr

    (file,) = tmp_path.iterdir()
    found = json.loads(file.read_text())
    assert found["benchmark"] == "simgpu"
    assert found["commit"] and found["date"] and found["machine"]["cpus"] >= 1
    assert {"python", "celery", "redis-server"} <= set(found["versions"])
    (case,) = found["cases"]
    assert case["errors"] == 0 and case["rate"] > 0
    assert set(case["latency"]) == PERCENTILES
    assert {"API", "worker", "model host", "Redis"} <= set(case["cpu_ms_per_request"])
    assert case["batches"]
    assert len(case["runs"]) == 1
    assert case["name"] in done.stdout
