"""`stoker up`, from the first check to the last process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from schemas import Endpoint
from tasks.secrets import read_or_create
from tasks.settings import Settings
from tasks.up import embedded, processes, supervisord
from tasks.up.checks import check_machine, only_one, prepare_home
from tasks.up.loop import Loop, Start
from tasks.up.programs import ROOT, Program, flower_config, metrics_ports, programs
from tasks.up.ready import banner, missing, shown
from tasks.up.watch import Watch, tail

Say = Callable[[str], None]

SUPERVISORD_GRACE = 20.0  # s that supervisord needs beside what it grants its programs
ORPHAN_GRACE = 10.0  # s for programs that have lost their supervisord
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # many workers, few cores


def up(settings: Settings, endpoints: Mapping[str, Endpoint], start: Path, say: Say) -> int:
    """Run the installation until it is told to stop (SIGINT, SIGTERM, SIGHUP).

    Call it from the main thread. When it returns, every process that it started has ended.

    Args:
        settings: how this installation runs.
        endpoints: all endpoints by name.
        start: the current folder; models of the user are imported from here.
        say: is called with each line for the person who started it.

    Returns:
        The exit status: 0 after a stop that was asked for, else 1.

    Raises:
        UpError: it cannot start; nothing was started.
    """
    os.umask(0o077)
    prepare_home(settings.home)
    with only_one(settings.home) as lock:
        check_machine(settings, metrics_ports(settings, endpoints), start, ROOT)
        found = _prepare(settings, endpoints)
        key = _secrets(settings)

        def ready() -> list[str]:
            is_read = sys.stdout.isatty()  # else the lines go to a log
            return banner(settings, endpoints, start, key if is_read or key is None else "")

        names = ", ".join(program.name for program in found)
        say(f"Starting {names} (logs in {shown(settings.home / 'log', start)})")
        with embedded.synced(settings.home / "redis") if settings.embedded else nullcontext():
            return run(
                found, settings.home, start, _environment(start), lock, lambda: missing(settings), ready, say
            )


def _prepare(settings: Settings, endpoints: Mapping[str, Endpoint]) -> list[Program]:
    server = None
    if settings.embedded:
        server = embedded.find_server(settings.home / "redis")
        embedded.write_config(
            settings.home / "run" / "redis.conf", settings.redis_socket, settings.home / "redis"
        )
    password = settings.flower_password or read_or_create(settings.home / "flower-password")
    (settings.home / "run" / "flower.py").write_text(flower_config(password))
    return programs(settings, endpoints, server)


def _secrets(settings: Settings) -> str | None:
    if settings.secret_key is None:
        read_or_create(settings.home / "secret-key")
    return read_or_create(settings.demo_key_file) if settings.demo_key else None


def _environment(start: Path) -> dict[str, str]:
    ours = [] if ROOT.name.endswith("-packages") else [ROOT]
    path = [*map(str, ours), str(start), os.environ.get("PYTHONPATH", "")]
    return {
        **dict.fromkeys(ONE_THREAD, "1"),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
    }


def run(
    found: Sequence[Program],
    home: Path,
    start: Path,
    environ: Mapping[str, str],
    lock: IO[str],
    missing: Callable[[], list[str]],
    ready: Callable[[], list[str]],
    say: Say,
) -> int:
    """Run programs under supervisord until a signal comes.

    Args:
        found: the programs.
        home: folder of the installation, with the folders `run` and `log`.
        start: current folder of the programs.
        environ: environment of the programs.
        lock: the open lock of the installation.
        missing: tells what is missing until the installation is ready.
        ready: gives the lines to say when it is.
        say: takes lines for the person who started it.

    Returns:
        The exit status.
    """
    (home / "run" / "supervisord.conf").write_text(supervisord.config(found, start))
    processes.adopt_orphans()
    with _stop_signals() as signals:
        process = supervisord.start(home, environ, lock)
        try:
            watch = Watch(found, home / "log")
            status = Loop(process, watch, Start(missing, ready, time.monotonic()), signals, say).run()
            _stop(process, found, signals, say)
        finally:
            processes.end_descendants(ORPHAN_GRACE if process.poll() is not None and not signals else 0)
            process.wait()
    if status and watch.hopeless is None:
        for line in tail(home / "log" / "supervisord.err"):
            say(f"  | {line}")
    say("Everything is stopped.")
    return status


def _stop(process: subprocess.Popen[bytes], found: Sequence[Program], signals: list[int], say: Say) -> None:
    """Let supervisord stop its programs in order; a second signal ends the patience."""
    if process.poll() is not None:
        return
    say("Stopping: requests and batches that run are finished. Once more Ctrl-C stops at once.")
    signals.clear()
    process.terminate()
    stop_times = {program.priority: program.stop_time for program in found}  # equal priorities stop together
    until = time.monotonic() + sum(stop_times.values()) + SUPERVISORD_GRACE
    while process.poll() is None and time.monotonic() < until and not signals:
        assert process.stdout is not None
        process.stdout.read()  # a full pipe would stop it
        processes.reap(except_for=process.pid)
        time.sleep(0.05)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list instead of dying of them."""
    seen: list[int] = []

    def handle(number: int, _: Any) -> None:
        seen.append(number)

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
