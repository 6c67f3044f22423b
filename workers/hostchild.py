"""The model host: a child process that owns the models and the GPU.

It is started as a new program, not forked, so CUDA never meets fork; it dies with its worker.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from schemas import Endpoint, EndpointFileError, load_endpoints
from tasks.errors import ModelLoadFailed
from tasks.settings import Settings
from workers.loop import ModelLoop
from workers.main import LOG_FORMAT, served
from workers.messages import FromHost, Item, LoadFailed, Ready, Report
from workers.models.base import Model
from workers.queueing import Limits
from workers.runner import Runner

logger = logging.getLogger(__name__)

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
    connection = Connection(int(fd))
    lock = threading.Lock()

    def emit(message: FromHost) -> None:
        with lock:  # a model may report from threads of its own
            connection.send(message)

    began = time.monotonic()
    runners: dict[str, Runner] = {}
    limits: dict[str, Limits] = {}
    loop = ModelLoop(runners, limits, emit)
    try:
        endpoints = served(load_endpoints(settings.endpoint_folders), set(queues))
        models = load_models(endpoints)
    except (ModelLoadFailed, EndpointFileError) as error:
        emit(LoadFailed(str(error)))
        sys.exit(1)
    for endpoint in endpoints:
        model = models[str(endpoint.model)]
        runners[endpoint.name] = Runner(endpoint, model, lambda *said: emit(Report(*said)), loop.is_canceled)
        limits[endpoint.name] = Limits(
            endpoint.max_batch_size, endpoint.max_wait, endpoint.max_batch_cost or math.inf
        )
    threading.Thread(target=_read, args=(connection, loop), name="reader", daemon=True).start()
    emit(Ready(time.monotonic() - began, _describe(models)))
    loop.run()


def load_models(endpoints: Sequence[Endpoint]) -> dict[str, Model]:
    """Load each model that these endpoints name, once, and warm it up with their examples.

    Returns:
        Models by their names in the endpoint files.

    Raises:
        ModelLoadFailed: with the name of the model and the reason.
    """
    models: dict[str, Model] = {}
    for endpoint in endpoints:
        name = str(endpoint.model)
        try:
            if name not in models:
                model = _find(name)()
                model.load()
                models[name] = model
        except Exception as error:  # the end of this host, whatever a model may raise
            logger.debug("loading %s", name, exc_info=True)
            reason = (
                f"model {name} of endpoint {endpoint.name} cannot be loaded: {type(error).__name__}: {error}"
            )
            raise ModelLoadFailed(reason) from error
        _warm_up(endpoint, models[name])
    return models


def _find(name: str) -> type[Model]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _warm_up(endpoint: Endpoint, model: Model) -> None:
    if endpoint.example is None:
        return
    inputs = {**endpoint.default_session_vars(), **endpoint.load_inputs(endpoint.example)}
    (outcome,) = Runner(endpoint, model).run([Item(0, "warm-up", endpoint.name, inputs)])
    if outcome.error:
        reason = f"model {endpoint.model} fails on the example of endpoint {endpoint.name}: {outcome.error}"
        raise ModelLoadFailed(reason)


def _describe(models: dict[str, Model]) -> dict[str, Any]:
    """Give what the first model says of itself."""
    return next((model.description for model in models.values()), {})


def _read(connection: Connection, loop: ModelLoop) -> None:
    try:
        while True:
            loop.deliver(connection.recv())
    except (EOFError, OSError):
        os._exit(0)  # the worker is gone: its jobs are delivered to another one


def _die_with(parent: int) -> None:
    """Be killed when the thread that started us ends, also when its process is killed with -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
