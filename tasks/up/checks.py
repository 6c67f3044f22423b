"""What must hold before the first process starts."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.settings import Settings
from tasks.up.errors import UpError

OURS = ("app", "schemas", "tasks", "workers")
LOCK = "up.lock"
HIGHEST_PORT = 65535


def check_machine(settings: Settings, metrics_ports: Mapping[str, int], start: Path, ours: Path) -> None:
    """Check what only the machine can tell.

    Args:
        settings: how this installation runs.
        metrics_ports: ports of the workers' metrics, by queue.
        start: folder that `stoker up` was started in.
        ours: folder of Stoker's own packages.

    Raises:
        UpError: with everything that is missing.
    """
    problems = [*_platform(), *_hidden(start, ours), *_ports(settings, metrics_ports)]
    if problems:
        raise UpError(problems)


def prepare_home(home: Path) -> None:
    """Make the folder of the installation, open to its owner only.

    Raises:
        UpError: it cannot be used.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(home.stat().st_mode) & 0o077:
            if any(home.iterdir()) and not (home / LOCK).exists():  # whose folder is this?
                raise UpError(
                    [f"STOKER_HOME={home} holds other files, open to other users: choose another folder."]
                )
            home.chmod(0o700)
        for name in ("run", "log", "redis"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = f"STOKER_HOME={home} cannot be used: {error.strerror}. Set STOKER_HOME to a folder of yours."
        raise UpError([reason]) from error


@contextmanager
def only_one(home: Path) -> Iterator[IO[str]]:
    """Hold the lock of the installation; a child that inherits the file holds it as well.

    Raises:
        UpError: another `stoker up` holds it.
    """
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UpError([_already(home, file.read().strip())]) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def _already(home: Path, pid: str) -> str:
    if pid and Path("/proc", pid).exists():
        return (
            f"Stoker runs already in STOKER_HOME={home} (process {pid}): stop it, or set another STOKER_HOME."
        )
    return (
        f"Processes of an ended `stoker up` in STOKER_HOME={home} are still stopping: try again in a minute."
    )


def _platform() -> Iterator[str]:
    needed = {"pidfd_open": os, "eventfd": os, "pidfd_send_signal": signal}
    missing = [name for name, module in needed.items() if not hasattr(module, name)]
    if not sys.platform.startswith("linux"):
        yield f"The server needs Linux 5.4 or newer; this is {sys.platform}. The client runs anywhere."
    elif missing:
        yield f"This Python lacks {', '.join(missing)}: it was built for an older Linux than 5.4."


def _hidden(start: Path, ours: Path) -> Iterator[str]:
    if start == ours:
        return
    for name in OURS:
        if (start / name).is_dir() or (start / f"{name}.py").exists():
            yield (
                f"`{name}` in {start} hides Stoker's own package of that name: "
                "rename it, or start from another folder."
            )


@dataclass(frozen=True)
class _Listener:
    setting: str
    what: str
    host: str
    port: int

    def problem(self) -> str | None:
        """Say what keeps it from listening."""
        if self.port > HIGHEST_PORT:
            return f"there is no port {self.port} for {self.what}: set {self.setting} to a lower one."
        reason = _refusal(self.host, self.port)
        if reason is None:
            return None
        hint = f"set {self.setting} to another port"
        if "in use" not in reason:
            hint = f"see {self.setting} and {self.setting.replace('PORT', 'HOST')}"
        return f"{self.what} cannot listen on port {self.port} of {self.host} ({reason}): {hint}."


def _ports(settings: Settings, metrics_ports: Mapping[str, int]) -> Iterator[str]:
    listeners = [
        _Listener("STOKER_PORT", "the API", settings.host, settings.port),
        _Listener("STOKER_FLOWER_PORT", "Flower", settings.flower_host, settings.flower_port),
    ]
    for queue, port in metrics_ports.items():
        what = f"the metrics of worker-{queue}"
        listeners.append(_Listener("STOKER_METRICS_PORT", what, settings.metrics_host, port))
    taken: dict[int, _Listener] = {}
    for listener in listeners:
        other = taken.setdefault(listener.port, listener)
        if other is not listener:
            yield (
                f"{other.what} and {listener.what} cannot both have port {listener.port}: "
                f"change {other.setting} or {listener.setting}."
            )
        elif problem := listener.problem():
            yield problem


def _refusal(host: str, port: int) -> str | None:
    """Try to listen as gunicorn and Flower do; give the reason if that fails."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
