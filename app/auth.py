"""Who may do what: the guard before every request, and the routes about keys.

One rule everywhere: a credential is an API key or a session token. It is given as `Authorization: Bearer`,
as parameter `key` or as parameter `client_session_auth_key`; the first of them that is given decides.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Request, Response, g
from werkzeug.exceptions import MethodNotAllowed

from app.bodies import hand_over
from app.errors import ApiError
from app.params import request_params
from app.services import called_endpoint, services, this_request
from schemas import Endpoint
from tasks.accounts import Client

# The only views that open without a key; what they show may still depend on one.
PUBLIC = frozenset(
    {
        "health.healthz",
        "health.readyz",
        "endpoints.list_endpoints",
        "endpoints.describe",
        "auth.validate_key",
        "auth.login",
        "pages.openapi",
        "pages.docs",
        "static",
    }
)
KEY_PARAMETERS = ("key", "client_session_auth_key")
LOGGED_CLIENT = "stoker.client"  # in the environ of a request: whose it is, for the access log

blueprint = Blueprint("auth", __name__)


def init_auth(app: Flask) -> None:
    """Put the guard before every request and add the routes about keys."""
    app.before_request(guard)
    app.register_blueprint(blueprint)


def guard() -> Response | None:
    """Refuse a request to any view that is not public unless its credential opens it.

    Raises:
        ApiError: the credential is missing, not valid, or not for this endpoint.
        MethodNotAllowed: the endpoint is not called by this method.
    """
    request = this_request()
    if request.routing_exception is not None:
        return None  # no route: 404 or 405, whoever asks
    endpoint = called_endpoint()
    methods = _methods(request, endpoint)
    if request.method == "OPTIONS":
        return Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(sorted(methods))})
    if request.method not in methods:
        raise MethodNotAllowed(sorted(methods))
    if request.endpoint not in PUBLIC:
        client = g.client = authenticate()
        request.environ[LOGGED_CLIENT] = client.id
        hand_over()
        if endpoint is not None:
            authorize(client, endpoint)
    return None


def authenticate() -> Client:
    """Give the client that the request's credential stands for.

    Raises:
        ApiError: there is no credential, or it is not valid.
        DatabaseUnavailable: nobody can tell at the moment.
    """
    credential = presented()
    if credential is None:
        raise ApiError("key_missing", "API key missing")
    client = services().auth.resolve(credential)
    if client is None:
        raise ApiError("key_not_valid", "Key not valid")
    return client


def authorize(client: Client, endpoint: Endpoint) -> None:
    """Make sure that `client` may call `endpoint`.

    Raises:
        ApiError: it may not.
    """
    if not client.opens(endpoint.name):
        raise ApiError("not_authorized", f"Client not authorized for endpoint {endpoint.name}!")


def presented() -> str | None:
    """Give the credential that decides, as it was sent; None if there is none."""
    scheme, _, bearer = this_request().headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip()
    values = request_params().values
    for name in KEY_PARAMETERS:
        if values.get(name) not in (None, ""):
            return str(values[name])
    return None


@blueprint.route("/<endpoint:endpoint>/login", methods=["GET", "POST"])
def login(endpoint: Endpoint) -> dict[str, Any]:
    """Give a session token for the key; unlike the key it ends by itself."""
    client = authenticate()
    authorize(client, endpoint)
    token = services().auth.session_token(presented() or "", client)
    return {"success": True, "ep_version": endpoint.version, "client_session_auth_key": token}


@blueprint.route("/api/validate_key", methods=["GET", "POST"])
def validate_key() -> dict[str, Any]:
    """Tell whether the credential is valid. A question: no is an answer, not an error."""
    credential = presented()
    valid = credential is not None and services().auth.resolve(credential) is not None
    return {"success": valid, "error": None if valid else "Key not valid"}


def _methods(request: Request, endpoint: Endpoint | None) -> set[str]:
    """The methods of the current route; a job is submitted by those that its endpoint file names."""
    if request.endpoint == "jobs.run" and endpoint is not None:
        return {*endpoint.methods, "OPTIONS"}
    rule = request.url_rule
    return set(rule.methods or ()) if rule is not None else set()
