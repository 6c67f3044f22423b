"""What the server tells of itself: the document for programs, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup, escape

from app.accept import JSON
from app.guide import errors, sheet
from app.openapi import build
from app.openapi.routes import OPERATIONS, TAGS
from app.services import services
from schemas import Endpoint

LIFETIME = 60  # s that a copy may be used without asking; files of endpoints change with a restart only
# The page is made of what comes from here: no scripts, nothing of other sites, in nobody's frame.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("pages", __name__)


def openapi_json(endpoints: Mapping[str, Endpoint]) -> bytes:
    """Give the OpenAPI document; it is the same as long as the process lives."""
    document = build(endpoints, _version())
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Give the description of the API."""
    return _kept(Response(services().openapi, mimetype=JSON))


@blueprint.get("/docs")
def docs() -> Response:
    """Show the description of the API."""
    server = request.url_root.rstrip("/")
    groups = [(tag, [(route, o) for route, o in OPERATIONS.items() if o.tag == tag]) for tag in TAGS]
    page = render_template(
        "docs.html",
        version=_version(),
        server=server,
        sheets=[sheet(endpoint, server) for endpoint in services().endpoints.values()],
        groups=groups,
        errors=errors(),
        max_wait=services().settings.max_wait,
        webhooks=services().settings.webhooks,
    )
    response = _kept(Response(page, mimetype="text/html"))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.app_template_filter("ticks")
def in_code(text: str) -> Markup:
    """Put what stands between backticks into `<code>`."""
    parts = escape(text).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def _kept(response: Response) -> Response:
    """Let clients keep the answer, and ask whether it is still right."""
    response.cache_control.public = True
    response.cache_control.max_age = LIFETIME
    response.add_etag()
    response.make_conditional(request)
    return response


def _version() -> str:
    try:
        return version("stoker")
    except PackageNotFoundError:  # run from its files
        return "0"
