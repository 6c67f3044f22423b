"""Gunicorn for the API: `gunicorn -c python:tasks.gunicorn 'app:create_app()'`.

Address, port and number of processes come from Stoker's own settings, and so do the proxies that are believed
(`app/proxies.py`): gunicorn itself believes none.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import resource
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

from tasks.errors import SettingsError
from tasks.settings import LOG_FORMAT, Settings

GARBAGE = 20_000  # objects made and not freed between two collections; Python's default is 700
LARGE = 8 << 20  # bytes; what is larger gets memory of its own
_encode = json.JSONEncoder(separators=(",", ":")).encode
M_MMAP_THRESHOLD = -3  # of mallopt(3)
TURN = 16  # requests of a process, of whichever client
OURS = ("app", "tasks", "schemas")  # packages; others tell what they do with URLs, in which keys may stand
OPEN_FILES = 65536  # a waiting client holds one; the usual soft limit is 1024

try:
    _settings = Settings.from_env()
except SettingsError as error:
    sys.exit(str(error))

_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = OPEN_FILES if _hard == resource.RLIM_INFINITY else min(OPEN_FILES, _hard)
if _soft != resource.RLIM_INFINITY and _soft < _wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_wanted, _hard))


class _Logger(Logger):
    """Writes one JSON object for each request: no query and no Referer, where keys may stand, and no body."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log the error that is being handled; a client that has vanished is none."""
        if isinstance(sys.exc_info()[1], TimeoutError) and msg.startswith("Socket error"):
            self.debug("a client is gone without a word")
        else:
            super().exception(msg, *args, **kwargs)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Write the line of a request."""
        if not self.access_log_enabled:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "address": environ.get("REMOTE_ADDR", ""),
            "client": environ.get("stoker.client"),
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "status": resp.status_code,
            "job": environ.get("stoker.job"),
            "bytes": resp.sent,
            "seconds": round(request_time.total_seconds(), 6),
            "request_id": next((value for name, value in resp.headers if name == "X-Request-Id"), None),
        }
        with suppress(OSError):  # a full disk stops no request
            sys.stdout.write(f"{_encode(line)}\n")  # as a record of `logging` it would take twice the time
            sys.stdout.flush()


def post_fork(server: Any, worker: Any) -> None:
    """Let what the app logs have the time and its level, on stderr beside gunicorn's own lines."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(_settings.log_level.upper())


def post_worker_init(worker: Any) -> None:
    """Let the app see when this process is told to stop: event streams end then, their clients come back.

    From here on the process helps to bring what clients have used to the database.

    What was made at the start is taken out of garbage collection, and cycles are looked for less often:
    requests leave hardly any behind.
    """
    worker.wsgi.config["IS_ENDING"] = lambda: not worker.alive
    if services := worker.wsgi.extensions.get("stoker"):
        services.usage.start()
    # The call of an object takes a frame in C, which a client that waits keeps; that of a method does not.
    worker.wsgi = worker.wsgi.wsgi_app
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    _give_back_large_memory()


def pre_request(worker: Any, req: Any) -> None:
    """Give the other clients their turn: there may be one whose next request is always there already."""
    if worker.nr % TURN == 0:
        time.sleep(0)


def _give_back_large_memory() -> None:
    """Let glibc give the memory of large values back to the system as soon as they are gone.

    By itself it keeps what is below a bound that grows with what was freed: after some files of 20 MB a
    process held 10 times as much.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGE)


proc_name = "stoker-api"
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = [f"{_host}:{_settings.port}"]
backlog = 4096  # connections that wait to be accepted; the kernel caps it at net.core.somaxconn
workers = _settings.api_processes
worker_class = "tasks.apiworker.ApiWorker"
worker_connections = 20000  # per process
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a slow disk is no dead worker

timeout = 60  # s without a turn of the event loop, then the process is replaced; no limit for a request
# s; on SIGTERM whoever waits for a job gets its result in this time, or its id: none is held for longer.
# What stops gunicorn (supervisor, container runtime) must be at least as patient.
graceful_timeout = _settings.max_wait + 60
keepalive = 6  # s; more than NGINX keeps an idle connection, so that it is never closed under a request
limit_request_line = 8190  # bytes, gunicorn's highest: inputs may stand in the query; longer ones are POSTed
limit_request_fields = 100
limit_request_field_size = 8190  # bytes

loglevel = _settings.log_level
logger_class = _Logger
accesslog = "-" if _settings.log_level in ("debug", "info") else None
forwarded_allow_ips = ""

control_socket_disable = True  # it would be one path for all installations of a user
