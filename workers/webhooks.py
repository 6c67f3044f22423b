"""The worker that tells clients' servers of their jobs: `celery -A workers.webhooks worker`.

A stock Celery worker with a pool of threads and a queue of its own: a server that does not answer holds up no
model. What is to be sent, and when, is in the job store (`tasks/webhooks/outbox.py`); a thread hands what is
due to the queue, a message at a time for each thread that is free.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import Celery, bootsteps
from celery.signals import setup_logging
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.tasks import Tasks
from celery.worker.state import reserved_requests
from kombu import Queue

from tasks.accounts import WebhookStore
from tasks.celery import EXCHANGE, create_celery
from tasks.database import Database
from tasks.errors import SettingsError
from tasks.guard.client import Guard
from tasks.settings import Settings
from tasks.store import JobStore
from tasks.webhooks.courier import Courier
from tasks.webhooks.outbox import Outbox
from workers.consumer import DELAYED_DELIVERY
from workers.main import log_as_told

logger = logging.getLogger(__name__)

QUEUE = "stoker.webhooks"
TASK = "webhooks.deliver"
THREADS = 16
POLL = 0.5  # s
SWEEP_EVERY = 600  # polls


class Dispatcher(bootsteps.StartStopStep):
    """Hands messages that are due to the queue, as long as there is a broker."""

    requires = (Tasks,)
    _thread: threading.Thread | None = None

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._end = threading.Event()

    def start(self, consumer: Any) -> None:
        """Begin, on each connection."""
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(consumer.app, self._end), name="dispatcher", daemon=True
        )
        self._thread.start()

    def stop(self, consumer: Any) -> None:
        """Stop: the connection is lost, or the worker ends."""
        self._end.set()

    def _run(self, app: Celery, end: threading.Event) -> None:
        polls, fails = 0, False
        while not end.wait(POLL):
            try:
                self._hand_out(app)
                if polls % SWEEP_EVERY == 0:
                    app.stoker_outbox.sweep()
                polls, fails = polls + 1, False
            except Exception as error:  # store or broker are away: what is due stays due
                if not fails:  # once for each outage
                    logger.warning("nothing can be sent at the moment: %s", error)
                fails = True

    def _hand_out(self, app: Celery) -> None:
        outbox: Outbox = app.stoker_outbox
        outbox.lapse_late()
        for name, attempts in outbox.take(2 * THREADS - len(reserved_requests)):
            try:
                app.tasks[TASK].apply_async((name, attempts), retry=False)
            except Exception:
                outbox.give_back(name)
                raise


class Consumer(CeleryConsumer):
    """Celery's consumer, less the queues for delayed tasks, and with the dispatcher."""

    class Blueprint(CeleryConsumer.Blueprint):
        """The stock steps, but for these two."""

        default_steps = [  # noqa: RUF012 - a class attribute in Celery too
            *(step for step in CeleryConsumer.Blueprint.default_steps if step != DELAYED_DELIVERY),
            Dispatcher,
        ]


def build_app() -> Celery:
    """Build the app that `celery -A workers.webhooks` finds.

    Raises:
        SystemExit: the settings are wrong; with the reasons.
    """
    try:
        settings = Settings.from_env()
        accounts = WebhookStore(Database.of(settings))
    except SettingsError as error:
        raise SystemExit(str(error)) from error
    secret = settings.installation_secret()
    outbox = Outbox(JobStore.from_url(settings.store_url))
    courier = Courier(outbox, Guard(settings.outgoing), secret, accounts.rotation, settings.webhook_delays)
    app = create_celery(settings, {})
    app.conf.update(
        # It holds what is being sent now, and the store knows all of it: a quorum queue for the sake of
        # RabbitMQ 4.3, which takes no prefetch of the kind that Celery asks for on others.
        task_queues=[
            Queue(
                QUEUE, EXCHANGE, routing_key=QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"}
            )
        ],
        task_default_queue=QUEUE,
        worker_pool="threads",
        worker_concurrency=THREADS,
        worker_prefetch_multiplier=1,
        worker_consumer="workers.webhooks:Consumer",
    )
    app.stoker_outbox = outbox

    @app.task(name=TASK, acks_late=True, ignore_result=True)
    def deliver(name: str, attempts: int) -> None:
        courier.deliver(name, attempts)

    setup_logging.connect(log_as_told, weak=False)
    return app


def __getattr__(name: str) -> Any:
    if name == "app":
        globals()["app"] = app = build_app()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
