"""The one Celery app: queues, routes, acks and the pool.

One task for each endpoint, `infer.<endpoint>`, so that Flower and the routes speak of models; one
queue for each kind of worker, and two beside it for its jobs of high and of bulk priority: what waits in
one queue cannot be overtaken. Both sides build the same app from the same settings and endpoints.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from schemas import Endpoint
from tasks import redisbroker, transport
from tasks.jobs import Priority
from tasks.settings import Settings

EXCHANGE = Exchange("stoker", type="direct", durable=True)
DELIVERY_LIMIT = 20  # a backstop only: a dying worker raises the count of every message it had prefetched
DEAD_LETTERS = "stoker.dead"
VISIBILITY_TIMEOUT = 30  # s; Redis as broker gives a message back when its worker said nothing for so long


def create_celery(settings: Settings, endpoints: Mapping[str, Endpoint]) -> Celery:
    """Build the Celery app. Opens no connection.

    Args:
        settings: how this installation runs.
        endpoints: all endpoints by name.
    """
    redisbroker.register()
    transport.register()
    celery = Celery("stoker", broker=settings.broker_url, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_queues=[
            task_queue(queue, p) for queue in sorted({e.queue for e in endpoints.values()}) for p in Priority
        ],
        task_routes={e.task_name: {"queue": e.queue} for e in endpoints.values()},
        task_create_missing_queues=False,
        task_ignore_result=True,  # results are stored by workers/results.py, one pipeline per batch
        task_acks_late=True,
        worker_pool="workers.pool:BatchPool",
        worker_consumer="workers.consumer:Consumer",
        worker_prefetch_multiplier=2,  # the next batch is at hand when this one ends
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=True,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its broker, however long that is away
        broker_connection_timeout=1.0,  # s; a broker that is silent for longer counts as down
        broker_transport_options=_transport_options(settings.broker_url),
    )
    # Of their own accord kombu takes any certificate of a Redis server, and any host's of RabbitMQ.
    if settings.broker_url.startswith("rediss://"):
        celery.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    elif settings.broker_url.startswith("amqps://"):
        celery.conf.broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # the URL's
    for endpoint in endpoints.values():
        celery.task(_run_elsewhere, name=endpoint.task_name, Request="workers.request:JobRequest")
    return celery


def queue_name(queue: str, priority: Priority) -> str:
    """Name the broker's queue for jobs of this priority in model queue `queue`."""
    return queue if priority is Priority.NORMAL else f"{queue}.{priority}"


def model_queue(name: str) -> str:
    """Give the model queue that the broker's queue `name` belongs to."""
    queue, _, suffix = name.rpartition(".")
    return queue if queue and suffix in (Priority.HIGH, Priority.BULK) else name


def task_queue(queue: str, priority: Priority = Priority.NORMAL) -> Queue:
    """Give the broker's queue for jobs of this priority in model queue `queue`.

    It is durable: a quorum queue on RabbitMQ, a plain list on Redis.
    """
    name = queue_name(queue, priority)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": DEAD_LETTERS,
    }
    return Queue(name, EXCHANGE, routing_key=name, durable=True, queue_arguments=arguments)


def dead_letter_queue() -> Queue:
    """Give the queue of what no worker will run: see `tasks/letters.py`."""
    # RabbitMQ 4 would drop a letter that 20 workers in a row died with; RabbitMQ 3.10 takes -1 for 0.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    return Queue(DEAD_LETTERS, durable=True, queue_arguments=arguments)


def _transport_options(broker_url: str) -> dict[str, Any]:
    fail_fast = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if broker_url.startswith("amqp"):
        return fail_fast | {"confirm_publish": True}
    return fail_fast | {
        "priority_steps": [0],
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "queue_order_strategy": "tasks.redisqueues:PriorityCycle",
    }


def _run_elsewhere(job: dict[str, Any]) -> None:
    """Stand for an endpoint's task in Celery's registry; a BatchPool runs the job instead."""
    raise NotImplementedError("jobs run in a worker's BatchPool: celery -A workers worker -Q <queue>")
