"""Child processes that end with the test session, even when that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
TRIES = 3  # to start a server: another process may take the free port in between
LOG_TAIL = 8000  # characters of each log in the report of a failed test
PR_SET_PDEATHSIG = 1  # prctl(2)

_libc = ctypes.CDLL(None)


class StartError(Exception):
    """A service did not become ready."""


def missing(what: str) -> NoReturn:
    """Skip the test that needs what this machine lacks; where CI=true, fail it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI=true, and {what}", pytrace=False)
    pytest.skip(what)


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that nobody listens on now."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], timeout: float, what: str, interval: float = 0.05) -> Any:
    """Poll `condition` until it gives something true.

    Args:
        condition: called again and again.
        timeout: in s.
        what: is waited for; a text for the error.
        interval: between two calls, in s.

    Returns:
        What the condition gave.

    Raises:
        TimeoutError: it stayed false.
    """
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(interval)
    return result


class Process:
    """A child process in a session of its own, with its output in a file.

    Attributes:
        running: all that were started and not closed; their logs go into the report of a failed test.
        name: for reports.
    """

    running: ClassVar[list[Process]] = []

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        env: Mapping[str, str],
        log_file: Path,
        is_ready: Callable[[], bool] = lambda: True,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self._log_file = log_file
        self._is_ready = is_ready
        with log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        Process.running.append(self)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._popen.poll()

    def log(self) -> str:
        """Give all that it has written to stdout and stderr."""
        return self._log_file.read_text(errors="replace")

    def children(self) -> list[int]:
        """List the process ids of all its descendants."""
        return list(_descendants(self.pid))

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end and give its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        return self._popen.wait(timeout)

    def terminate(self, timeout: float = 30) -> int:
        """Send SIGTERM, wait for its end and give its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self._popen.terminate()
        return self.wait(timeout)

    def kill9(self) -> None:
        """End this one process (not its children) as a crash does."""
        self._popen.kill()
        self._popen.wait()

    def send_signal(self, signum: int) -> None:
        """Send any signal to this one process."""
        self._popen.send_signal(signum)

    def close(self) -> None:
        """End it and all of its children, at once; may be called twice."""
        family = self.children()
        if self.returncode is None:
            self.kill9()
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self in Process.running:
            Process.running.remove(self)

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until it serves.

        Raises:
            StartError: it ended, or `timeout` seconds passed; the message holds its log.
        """
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self.returncode is not None:
                raise self._start_error(f"ended with status {self.returncode}")
            if time.monotonic() > deadline:
                raise self._start_error(f"is not ready after {timeout} s")
            time.sleep(0.05)

    def _start_error(self, what: str) -> StartError:
        return StartError(f"{self.name} {what}:\n{self.log()[-LOG_TAIL:]}")


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _descendants(pid: int) -> Iterator[int]:
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:
            continue
        for child in children:
            yield int(child)
            yield from _descendants(int(child))
