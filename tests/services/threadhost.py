"""A model host in a thread: the same loop behind the same interface, without a process between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from schemas import EndpointFileError
from tasks.errors import ModelLoadFailed
from tasks.settings import Settings
from workers.hostchild import serve
from workers.main import build_app
from workers.messages import Died, FromHost, LoadFailed, ToHost
from workers.pool import BatchPool


class ThreadHost:
    """Runs models in a thread of the worker; nothing of it can be ended by force.

    Args:
        queues: names of the queues whose models it loads.
        on_message: is called with each message.
    """

    def __init__(self, queues: Sequence[str], on_message: Callable[[FromHost], None]) -> None:
        self._queues, self._on_message = queues, on_message
        self._lock = threading.Lock()
        self._early: list[ToHost] = []
        self._deliver: Callable[[ToHost], None] | None = None
        self._dead = False
        threading.Thread(target=self._run, name="host", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the worker itself."""
        return os.getpid()

    def send(self, message: ToHost) -> None:
        """Give it a message."""
        with self._lock:
            if self._deliver is None:
                self._early.append(message)
            else:
                self._deliver(message)

    def kill(self) -> None:
        """Hear no more of it; the thread goes on until its model lets it end."""
        self._die("killed")

    def _run(self) -> None:
        try:
            serve(Settings.from_env(), self._queues, self._emit, self._listen)
        except (ModelLoadFailed, EndpointFileError) as error:
            self._emit(LoadFailed(str(error)))
        finally:
            self._die("exit status 0")

    def _listen(self, deliver: Callable[[ToHost], None]) -> None:
        with self._lock:
            self._deliver = deliver
            for message in self._early:
                deliver(message)

    def _emit(self, message: FromHost) -> None:
        if not self._dead:
            self._on_message(message)

    def _die(self, reason: str) -> None:
        with self._lock:
            if self._dead:
                return
            self._dead = True
        self._on_message(Died(reason))


class ThreadPool(BatchPool):
    """A pool whose models run in the worker's process."""

    spawn = ThreadHost


def __getattr__(name: str) -> object:
    """Give the Celery app: `celery -A tests.services.threadhost worker`."""
    if name != "app":
        raise AttributeError(name)
    app = build_app()
    app.conf.worker_pool = "tests.services.threadhost:ThreadPool"
    return app
