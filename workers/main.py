"""The Celery app of a worker: the shared one, fitted to the queues that this worker serves."""

from __future__ import annotations

import json
import logging
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging
from kombu import serialization
from kombu.utils.json import dumps

from schemas import OPTIONAL, Endpoint, EndpointFileError, load_endpoints
from tasks import transport
from tasks.celery import create_celery, model_queue
from tasks.errors import SettingsError
from tasks.settings import LOG_FORMAT, Settings


def build_app() -> Celery:
    """Build the app that `celery -A workers` finds.

    Raises:
        SystemExit: settings or endpoint files are wrong; with the reasons. Celery's command line wraps
            any other exception into a traceback.
    """
    try:
        settings = Settings.from_env()
        endpoints = load_endpoints(settings.endpoint_folders, settings.media_limits)
    except (SettingsError, EndpointFileError) as error:
        raise SystemExit(str(error)) from error
    app = create_celery(settings, endpoints)
    serialization.register("json", dumps, _plain_json, "application/json", "utf-8")
    transport.register("workers.transport:Transport")
    app.stoker_settings = settings
    app.stoker_endpoints = endpoints
    setup_logging.connect(log_as_told, weak=False)
    celeryd_init.connect(_fit_to_queues, weak=False)
    return app


def served(endpoints: dict[str, Endpoint], queues: set[str]) -> list[Endpoint]:
    """List the endpoints whose jobs a worker of these model queues runs, by name."""
    return [e for _, e in sorted(endpoints.items()) if e.queue in queues and e.model is not None]


def _plain_json(data: Any) -> Any:
    """Read JSON as it stands. kombu's own reader makes dates and bytes of what clients may have written."""
    return json.loads(data if isinstance(data, str) else str(data, "utf-8"))


def _fit_to_queues(conf: Any, options: dict[str, Any], instance: Any, **_: Any) -> None:
    """Let the worker hold two full batches of each priority: the one that runs and the next."""
    endpoints = instance.app.stoker_endpoints
    names = options.get("queues") or []
    names = names.split(",") if isinstance(names, str) else list(names)
    known = {e.queue for e in endpoints.values()}
    if unknown := [name for name in names if model_queue(name) not in known]:  # Celery would give a traceback
        raise SystemExit(
            f"no endpoint file names the queue {', '.join(unknown)}: look at STOKER_ENDPOINTS"
            + "".join(f", or set {name}" for name in _settings_of({*map(model_queue, unknown)}))
        )
    mine = served(endpoints, {model_queue(name) for name in names} or known)
    # An event that is lost costs a line in Flower; waiting for its confirm would hold up the loop.
    conf.broker_transport_options = {**conf.broker_transport_options, "confirm_publish": False}
    if options.get("concurrency") is None:
        conf.worker_concurrency = max((e.max_batch_size for e in mine), default=1)


def _settings_of(queues: set[str]) -> list[str]:
    """List the settings without which endpoints of these queues are not offered."""
    return [
        setting
        for setting, folder in OPTIONAL.items()
        if queues & {endpoint.queue for endpoint in load_endpoints([folder]).values()}
    ]


def log_as_told(loglevel: int | str | None = None, **_: Any) -> None:
    """Log at the settings' level, or at that of the command line if it says more."""
    wanted = logging.getLevelName(Settings.from_env().log_level.upper())
    asked = loglevel if isinstance(loglevel, int) else logging.getLevelName(str(loglevel or "ERROR").upper())
    logging.basicConfig(level=min(wanted, asked), format=LOG_FORMAT)
    for name in ("celery.worker.strategy", "celery.app.trace"):  # the batch's line speaks for its jobs
        logging.getLogger(name).setLevel(logging.WARNING)
