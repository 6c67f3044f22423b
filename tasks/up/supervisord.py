"""supervisord, which starts programs again when they end: its configuration, its process, its words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.up import bound
from tasks.up.programs import Program

LOG_SIZE = "10MB"
LOG_BACKUPS = 3
RETRIES = 1_000_000  # it never gives up; the pause before a start grows by 1 s with each failure


def config(programs: Sequence[Program], folder: Path) -> str:
    """Give the text of the configuration file.

    Its paths are relative, since supervisord has no way to write some characters in a path: it runs in the
    home of the installation, with the folders `run` and `log`.

    Args:
        programs: what to run.
        folder: current folder of the programs.
    """
    sections = [
        {
            "": "supervisord",
            "nodaemon": "true",
            "logfile": "log/supervisord.log",
            "logfile_maxbytes": LOG_SIZE,
            "logfile_backups": LOG_BACKUPS,
            "pidfile": "run/supervisord.pid",
            "childlogdir": "log",
            "nocleanup": "true",
            "umask": "077",
        }
    ]
    sections += [_program(program, folder) for program in programs]
    for priority in sorted({program.priority for program in programs}):
        members = [program.name for program in programs if program.priority == priority]
        sections.append({"": f"group:{priority}", "programs": ",".join(members), "priority": priority})
    return "\n".join(_section(section) for section in sections)


def _program(program: Program, folder: Path) -> dict[str, object]:
    command = bound_command(program.command, lock=program.lock, folder=folder)
    return {
        "": f"program:{program.name}",
        "command": " ".join(map(_escaped, command)),
        "priority": program.priority,
        "autostart": "true",
        "autorestart": "true",
        "startsecs": program.start_time,
        "startretries": RETRIES,
        "stopwaitsecs": program.stop_time,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"log/{program.name}.log",
        "stdout_logfile_maxbytes": LOG_SIZE,
        "stdout_logfile_backups": LOG_BACKUPS,
    }


def _section(values: dict[str, object]) -> str:
    lines = [f"{key} = {value}" for key, value in values.items() if key]
    return "\n".join([f"[{values['']}]", *lines, ""])


def _escaped(part: str) -> str:
    """Escape for supervisord's shlex, expansions and comments (a quoted ` #` would start one)."""
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", part).replace("%", "%%")


def bound_command(
    command: Iterable[str], parent: int | None = None, lock: Path | None = None, folder: Path | None = None
) -> tuple[str, ...]:
    """Give the command that runs `command` bound to the life of its parent; see `tasks/up/bound.py`."""
    options = {"--parent": parent, "--lock": lock, "--folder": folder}
    given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    return (sys.executable, "-I", bound.__file__, *given, "--", *command)


def start(home: Path, environ: Mapping[str, str], lock: IO[str]) -> subprocess.Popen[bytes]:
    """Start supervisord on `home`/run/supervisord.conf.

    Its output is a pipe, not blocking. It ends when the calling thread does.

    Args:
        home: folder of the installation.
        environ: its environment, and so that of all programs.
        lock: the open lock of the installation, which it holds until it has ended.
    """
    command = (sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", "run/supervisord.conf")
    with (home / "log" / "supervisord.err").open("wb") as errors:
        process = subprocess.Popen(
            bound_command(command, parent=os.getpid()),
            cwd=home,
            env=environ,
            stdin=lock,  # of inherited files it keeps only the first three open
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us: we stop it in order
        )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process


@dataclass(frozen=True)
class Event:
    """What happened to a program.

    Attributes:
        kind: `started` (it stays up), `ended` (unexpectedly) or `stopped` (as it was told).
        program: its name.
        detail: how it ended.
    """

    kind: str
    program: str
    detail: str = ""


_EVENTS = (
    ("started", re.compile(r" success: (?P<program>\S+) entered RUNNING state")),
    ("ended", re.compile(r" exited: (?P<program>\S+) \((?P<detail>.*); (?:not )?expected\)")),
    ("stopped", re.compile(r" stopped: (?P<program>\S+) ")),
)


def parse_event(line: str) -> Event | None:
    """Read a line of supervisord's log; None if it tells nothing about a program."""
    for kind, pattern in _EVENTS:
        if found := pattern.search(line):
            groups = found.groupdict()
            return Event(kind, groups["program"], groups.get("detail") or "")
    return None
