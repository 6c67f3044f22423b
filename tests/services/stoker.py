"""Stoker's own processes: workers and APIs."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.process import Process, free_port

BIN = Path(sys.executable).parent  # of the virtual environment


class Worker(Process):
    """A real worker process: `celery -A <app> worker -Q <queue>`."""

    def __init__(
        self,
        queue: str,
        env: Mapping[str, str],
        folder: Path,
        options: Sequence[str] = (),
        app: str = "workers",
    ) -> None:
        self.hostname = f"test-{uuid.uuid4().hex[:8]}@{socket.gethostname()}"
        command = [str(BIN / "celery"), "-A", app, "worker", "-Q", queue, "-n", self.hostname, *options]
        log_file = folder / f"{self.hostname}.log"
        super().__init__(f"worker {queue}", command, _python_env(env), log_file, self.consumes)

    def consumes(self) -> bool:
        """Tell whether its models are loaded and it consumes."""
        return f"{self.hostname} ready." in self.log()


class Api(Process):
    """A real API: gunicorn with tasks/gunicorn.py.

    Attributes:
        port: that it listens on.
        url: http://127.0.0.1:<port>
    """

    def __init__(self, env: Mapping[str, str], folder: Path, wsgi: str = "app:create_app()") -> None:
        self.port = int(env.get("STOKER_PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(BIN / "gunicorn"), "-c", "python:tasks.gunicorn", wsgi]
        env = _python_env(env) | {"STOKER_PORT": str(self.port)}
        super().__init__("API", command, env, folder / f"api-{self.port}.log", self.answers)

    def answers(self) -> bool:
        """Tell whether it answers, with whatever status."""
        try:
            urllib.request.urlopen(f"{self.url}/healthz", timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


def _python_env(env: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("STOKER_")} | dict(env)
