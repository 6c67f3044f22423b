"""Processes below this one, wherever they were started: Linux hands us the orphans too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def adopt_orphans() -> None:
    """Become the parent of every process below us whose own parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap(except_for: int) -> None:
    """Forget adopted children that have ended.

    Args:
        except_for: a child that somebody else waits for.
    """
    with contextlib.suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid == except_for:
                return
            os.waitpid(found.si_pid, 0)


def descendants(pid: int) -> list[int]:
    """List the processes below `pid`, parents first; zombies are left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found = list(children.get(pid, []))
    for child in found:  # grows while it is walked
        found += children.get(child, [])
    return found


def end_descendants(grace: float) -> None:
    """Ask all processes below us to end, and kill those that have not after `grace` seconds."""
    until = time.monotonic() + grace
    _signal_all(signal.SIGTERM)
    while descendants(os.getpid()):
        if time.monotonic() >= until:
            _signal_all(signal.SIGKILL)
        time.sleep(0.05)


def _signal_all(number: signal.Signals) -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
