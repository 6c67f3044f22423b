"""The app factory: puts the parts together. Reads files, opens no connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from celery import Celery
from flask import Flask, Request, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from werkzeug.routing import MapAdapter

from app import (
    auth,
    bodies,
    errors,
    headers,
    health,
    jobs,
    limits,
    outputs,
    pages,
    status,
    stream,
    uploads,
    webhooks,
)
from app import endpoints as endpoint_views
from app.brokerwatch import BrokerWatch
from app.conversion import Converter
from app.crew import Crew
from app.fetching import Fetcher
from app.heldbytes import HeldBytes
from app.proxies import TrustedProxies
from app.queues import Queues
from app.routing import endpoint_converter
from app.services import EXTENSION, Services
from app.streamed import StreamingJson
from app.tokens import SESSION_LIFETIME, Authenticator
from app.turns import Turns
from schemas import Endpoint, load_endpoints
from tasks.accounts import Clients, KeyCache, KeyRing, KeyStore
from tasks.celery import create_celery
from tasks.database import Database
from tasks.events import EventListener
from tasks.idempotency import IdempotencyKeys
from tasks.publisher import Publisher
from tasks.rates import Rates
from tasks.replies import ReplyListener
from tasks.settings import Settings
from tasks.store import JobStore
from tasks.uploads import UploadLimits, Uploads
from tasks.usage.ledger import Ledger
from tasks.usage.queue import UsageQueue
from tasks.usage.writer import UsageWriter
from tasks.webhooks.outbox import Outbox

logger = logging.getLogger(__name__)


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie; it goes over HTTPS only where it was given over HTTPS."""

    @cache  # noqa: B019 -- there is one app, which lives as long as this; Flask would make one for each request
    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Give what signs the cookies."""
        return super().get_signing_serializer(app)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Give the session of a request: an empty one, without looking further, if it has no cookie."""
        if app.config["SESSION_COOKIE_NAME"] not in request.environ.get("HTTP_COOKIE", ""):
            return self.session_class()
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie shall be marked Secure."""
        return request.is_secure


class Api(Flask):
    """Flask, less what no request needs here."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Give what finds the view of a request: by its path, whatever host it names."""
        if request is None:
            return None
        return self.url_map.bind("", request.root_path, path_info=request.path, default_method=request.method)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give the function as it is: none is a coroutine."""
        return func


def create_app(
    settings: Settings | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
    celery: Celery | None = None,
    store: JobStore | None = None,
) -> Flask:
    """Build the HTTP API.

    Connections are opened by the first request that needs them, so the app may be built before a fork.

    Args:
        settings: how this installation runs; default: from the environment.
        endpoints: all endpoints by name; default: of the endpoint folders.
        celery: the Celery app; default: one for the settings' broker.
        store: the job store; default: one for the settings' store.

    Raises:
        SettingsError: the settings are wrong.
        EndpointFileError: an endpoint file is wrong.
    """
    settings = settings or Settings.from_env()
    found = (
        load_endpoints(settings.endpoint_folders, settings.media_limits) if endpoints is None else endpoints
    )
    secret = settings.installation_secret()
    store = store or JobStore.from_url(settings.store_url)
    database = Database.of(settings, hurried=True)
    keys = KeyCache(KeyStore(database))
    celery = celery or create_celery(settings, found)

    app = Api(__name__.partition(".")[0], static_folder="static")
    app.extensions[EXTENSION] = Services(
        settings=settings,
        endpoints=found,
        celery=celery,
        broker=BrokerWatch(celery),
        publisher=Publisher(celery, store),
        store=store,
        replies=ReplyListener(store),
        events=EventListener(store),
        crew=Crew(store.workers),
        idempotency=IdempotencyKeys(store),
        keys=keys,
        auth=Authenticator(Clients(_keys_of_files(settings, found, secret), keys), secret),
        rates=Rates(store.connection_pool),
        queues=Queues(store),
        converter=Converter(),
        held=_held_bytes(settings),
        usage=UsageWriter(UsageQueue(store), Ledger(database), settings.usage_days),
        fetcher=Fetcher(settings.outgoing, settings.max_body_size),
        outbox=Outbox(store),
        openapi=pages.openapi_json(found),
        uploads=Uploads(store, _upload_limits(settings)),
    )
    _configure(app, settings, secret)
    app.url_map.converters["endpoint"] = endpoint_converter(found)
    errors.init_errors(app)
    headers.init_headers(app)
    limits.init_limits(app)
    auth.init_auth(app)
    app.teardown_request(bodies.let_go)
    for module in (health, endpoint_views, jobs, status, stream, outputs, uploads, pages, webhooks):
        app.register_blueprint(module.blueprint)
    proxies = TrustedProxies(app.wsgi_app, settings.trusted_proxies)
    turns = Turns(proxies.__call__)
    app.wsgi_app = turns.__call__  # type: ignore[method-assign]  # as a method it takes no frame in C
    return app


def _configure(app: Flask, settings: Settings, secret: str) -> None:
    app.config.update(
        SECRET_KEY=secret,
        MAX_CONTENT_LENGTH=settings.max_body_size,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=SESSION_LIFETIME),
    )
    app.url_map.merge_slashes = False  # an unknown path is answered by 404, never by a redirect
    app.session_interface = SessionCookie()
    app.json = StreamingJson(app)


def _held_bytes(settings: Settings) -> HeldBytes:
    most = settings.max_held_bytes
    return HeldBytes(most, share=max(most // 2, settings.max_body_size))


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        settings.upload_lifetime, files=settings.uploads_per_key, bytes=settings.upload_bytes_per_key
    )


def _keys_of_files(settings: Settings, found: Mapping[str, Endpoint], secret: str) -> KeyRing:
    return KeyRing.load(secret, found, settings.demo_key_file if settings.demo_key else None)
