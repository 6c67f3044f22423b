"""The model host: a child process that owns the models and the GPU.

It is started as a new program, not forked, so CUDA never meets fork; it dies with its worker.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

from schemas import EndpointFileError, load_endpoints
from tasks.errors import ModelLoadFailed
from tasks.settings import LOG_FORMAT, Settings
from tasks.store import JobStore
from workers.loading import build_loop, describe, load_models
from workers.luggage import Luggage
from workers.main import served
from workers.messages import Done, FromHost, Jobs, LoadFailed, Ready, ToHost
from workers.pipe import Pipe

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve queues over a connection that was inherited.

    Args:
        argv: file descriptor of the connection, process id of the worker, names of the queues.
    """
    fd, parent, *queues = sys.argv[1:] if argv is None else argv
    _die_with(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker: it tells us what to do
    settings = Settings.from_env()
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    pipe = Pipe(socket.socket(fileno=int(fd)))
    try:
        serve(settings, queues, pipe.send, lambda deliver: _listen(pipe, deliver))
    except (ModelLoadFailed, EndpointFileError) as error:
        pipe.send(LoadFailed(str(error)))
        sys.exit(1)


def serve(
    settings: Settings,
    queues: Sequence[str],
    emit: Callable[[FromHost], None],
    listen: Callable[[Callable[[ToHost], None]], None],
) -> None:
    """Load the models of these queues and run their jobs until told to stop.

    Args:
        settings: where the endpoint files are.
        queues: names of model queues.
        emit: takes what the host has to say, from any thread.
        listen: is called once with what takes messages from now on, from one thread.

    Raises:
        ModelLoadFailed: a model cannot be loaded.
        EndpointFileError: an endpoint file is wrong.
    """
    began = time.monotonic()
    endpoints = served(load_endpoints(settings.endpoint_folders, settings.media_limits), set(queues))
    models, batch_time = load_models(endpoints)
    luggage = Luggage(JobStore.from_url(settings.store_url, connections=2, silence=60))
    loop = build_loop(endpoints, models, emit, luggage)
    gc.freeze()  # models and their libraries stay: they need not be looked through between batches

    def deliver(message: ToHost) -> None:
        if isinstance(message, Jobs):
            items, lost = luggage.fetch(message.items)
            message = Jobs(items)
            if lost:
                emit(Done(lost, 0.0, time.time()))
        loop.deliver(message)

    listen(deliver)
    emit(Ready(time.monotonic() - began, describe(models), batch_time))
    loop.run()


def _listen(pipe: Pipe, deliver: Callable[[ToHost], None]) -> None:
    threading.Thread(target=_read, args=(pipe, deliver), name="reader", daemon=True).start()


def _read(pipe: Pipe, deliver: Callable[[ToHost], None]) -> None:
    try:
        while True:
            for message in pipe.receive():
                deliver(message)
    except (EOFError, OSError):
        os._exit(0)  # the worker is gone: its jobs are delivered to another one


def _die_with(parent: int) -> None:
    """Be killed when the thread that started us ends, also when its process is killed with -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
