"""A private PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tests.services.process import Process, missing

USER = "stoker"
INSTALLED = "/usr/lib/postgresql"  # where Debian puts its versions, off the PATH


class PostgreSQL:
    """A private PostgreSQL server on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self._bin = _programs()
        self._folder = folder
        self._data = folder / "data"
        self._run_as = _run_as(folder)
        self._process: Process | None = None
        self._call("initdb", "-D", self._data, "-U", USER, "--auth=trust", "--no-sync", "--no-instructions")
        self.start()

    def start(self) -> None:
        """Start it on its data; for one that was killed."""
        options = {"listen_addresses": "", "unix_socket_directories": self._folder, "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [*self._run_as, self._bin / "postgres", "-D", self._data, *settings]
        log = self._folder / "postgres.log"
        self._process = Process("PostgreSQL", command, os.environ, log, self.answers, self._folder)
        self._process.wait_ready(20)

    def answers(self) -> bool:
        """Tell whether it takes connections now."""
        return (
            self._run(
                "pg_isready", "-q", "-h", self._folder, "-U", USER, "-d", "postgres", check=False
            ).returncode
            == 0
        )

    def database(self) -> str:
        """Make an empty database; gives its URL, for STOKER_DATABASE_URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._call("createdb", "-h", self._folder, "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={quote(str(self._folder))}"

    def send_signal(self, signum: int) -> None:
        """Send a signal to each of its processes: SIGSTOP makes it silent, SIGCONT speak again."""
        if self._process:
            for pid in (self._process.pid, *self._process.children()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)

    def kill(self) -> None:
        """End it as a crash does; its data stay."""
        if self._process:
            self._process.close()

    close = kill

    def _call(self, program: str, *arguments: str | Path) -> None:
        self._run(program, *arguments, check=True)

    def _run(self, program: str, *arguments: str | Path, check: bool) -> subprocess.CompletedProcess[bytes]:
        command = [*self._run_as, self._bin / program, *arguments]
        return subprocess.run(command, check=check, capture_output=True, cwd=self._folder)


def _programs() -> Path:
    """Find the folder of PostgreSQL's programs, the newest first. Skips the test where there is none."""
    versions = sorted(Path(INSTALLED).glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    missing("no PostgreSQL server: install postgresql (apt-get install postgresql)")


def _run_as(folder: Path) -> list[str]:
    """Give what comes before a command, since PostgreSQL refuses to be run by root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres" if _has("postgres") else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.parent.chmod(0o711)  # the tests' own folder, closed to others
    # To become another user takes back that the process dies with its parent, so it is said again.
    become = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]
    return ["setpriv", *become, "--"]


def _has(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
