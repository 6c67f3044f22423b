"""Runs a program that ends with its parent: `python bound.py [OPTIONS] -- COMMAND...`.

Runs as a file of its own, on nothing but the standard library, and is replaced by the command.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # prctl(2); it outlives exec


def main(argv: Sequence[str] | None = None) -> None:
    """Bind this process to the thread that started it, then become the command.

    Args:
        argv: `--parent`: id of the process that must still be the parent. `--lock`: file to lock first; the
            lock is held until the command, and all that it forks, has ended.
            `--folder`: to run the command in. Then the command.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int)
    parser.add_argument("--lock")
    parser.add_argument("--folder")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args(argv)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if arguments.parent is not None and os.getppid() != arguments.parent:
        sys.exit(1)  # it ended before it was watched
    if arguments.lock is not None:
        lock = os.open(arguments.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock, True)
    if arguments.folder is not None:
        os.chdir(arguments.folder)
    os.execvp(arguments.command[0], arguments.command)


if __name__ == "__main__":
    main()
