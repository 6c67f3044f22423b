"""Webhooks: which server a request wants to be told of its job, and how it stands with what was told."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from app.accept import JSON, require_accepts
from app.owned import own_job
from app.params import Params
from app.services import services
from tasks.errors import WebhookProblems
from tasks.guard.rules import shown_url
from tasks.webhooks.hook import Webhook, read_webhook
from tasks.webhooks.outbox import Delivery

WEBHOOK = "webhook"

blueprint = Blueprint("webhooks", __name__)


def wanted_webhook(params: Params) -> Webhook | None:
    """Give the webhook of the current request: what it names, else what its client has.

    Raises:
        WebhookProblems: what it names cannot be.
    """
    settings, value = services().settings, params.values.get(WEBHOOK)
    if value is None:
        own: Webhook | None = g.client.webhook
        return own if settings.webhooks else None
    if not settings.webhooks:
        raise WebhookProblems(["this server sends no webhooks"])
    return read_webhook(value, settings.outgoing)


def webhook_problems(params: Params) -> dict[str, list[str]]:
    """Give what is wrong with the webhook of the current request, by the parameter's name."""
    try:
        wanted_webhook(params)
    except WebhookProblems as error:
        return {WEBHOOK: [f"Parameter {WEBHOOK}: {problem}!" for problem in error.problems]}
    return {}


@blueprint.get("/jobs/<job_id>/webhooks")
def of_job(job_id: str) -> dict[str, Any]:
    """Tell what the client's server was told of a job, and what not yet."""
    require_accepts(JSON)
    own_job(job_id)
    found = services().outbox.of_job(job_id)
    return {"success": True, "job_id": job_id, "webhooks": [_body(delivery) for delivery in found]}


def _body(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "type": f"job.{delivery.event}",
        "url": shown_url(delivery.hook.url),
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_status": delivery.status,
        "last_error": delivery.error,
        "created": delivery.created,
        "next_attempt": delivery.due,
    }
