"""What every request works with, kept at the app: no module of `app` holds state of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from celery import Celery
from flask import Request, current_app, g, request

from app.brokerwatch import BrokerWatch
from app.conversion import Converter
from app.crew import Crew
from app.fetching import Fetcher
from app.heldbytes import HeldBytes
from app.queues import Queues
from app.tokens import Authenticator
from schemas import Endpoint
from tasks.accounts import KeyCache
from tasks.events import EventListener
from tasks.idempotency import IdempotencyKeys
from tasks.publisher import Publisher
from tasks.rates import Rates
from tasks.replies import ReplyListener
from tasks.settings import Settings
from tasks.store import JobStore
from tasks.uploads import Uploads
from tasks.usage.writer import UsageWriter
from tasks.webhooks.outbox import Outbox

EXTENSION = "stoker"
ACCEPTED_JOB = "stoker.job"  # in the environ of a request: the job that it stands for, once that is accepted


@dataclass(frozen=True)
class Services:
    """The parts of one API process.

    Attributes:
        settings: how this installation runs.
        endpoints: all endpoints by name.
        celery: the Celery app.
        broker: whether the broker is there.
        publisher: records and publishes jobs.
        store: jobs, results, workers.
        replies: hands results to the requests that wait for them.
        events: follows jobs for the streams.
        crew: the workers of each queue.
        idempotency: which job an idempotency key stands for.
        keys: the keys that are in the database.
        auth: tells which client a credential stands for.
        rates: counts the requests of clients.
        queues: estimates how long a job would wait.
        converter: loads inputs that hold files.
        held: counts the bytes of bodies.
        usage: brings what clients have used to the database.
        fetcher: fetches files that requests name by URL.
        outbox: what clients' servers are told of their jobs.
        openapi: the description of the API, as JSON.
        uploads: files that clients have sent before their jobs.
    """

    settings: Settings
    endpoints: Mapping[str, Endpoint]
    celery: Celery
    broker: BrokerWatch
    publisher: Publisher
    store: JobStore
    replies: ReplyListener
    events: EventListener
    crew: Crew
    idempotency: IdempotencyKeys
    keys: KeyCache
    auth: Authenticator
    rates: Rates
    queues: Queues
    converter: Converter
    held: HeldBytes
    usage: UsageWriter
    fetcher: Fetcher
    outbox: Outbox
    openapi: bytes
    uploads: Uploads

    def close(self) -> None:
        """End the threads and the database of this process; for one that goes on without its API."""
        self.replies.close()
        self.events.close()
        self.usage.close()
        self.keys.close()


def services() -> Services:
    """Give the services of the current app."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    found: Services = app.extensions[EXTENSION]
    return found


def this_request() -> Request:
    """Give the current request itself: each look at it through Flask's proxy takes half a microsecond."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def caller() -> str:
    """Give the id of the client of the current request; empty as long as its key is not known."""
    client = g.get("client")
    return "" if client is None else str(client.id)


def called_endpoint() -> Endpoint | None:
    """Give the endpoint that the URL of the current request names, if it names one.

    It is kept in `g`: a view that has waited has no `request` any more.
    """
    if "endpoint" not in g:
        found = (request.view_args or {}).get("endpoint")
        g.endpoint = found if isinstance(found, Endpoint) else None
    endpoint: Endpoint | None = g.endpoint
    return endpoint
