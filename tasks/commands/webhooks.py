"""`stoker webhooks`: to which servers of clients what was told, and how they know that it is us."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from tasks.commands.common import fail, load, print_table, problems_told, shown_time

if TYPE_CHECKING:  # SQLAlchemy takes its time, and is not there where only a worker is installed
    from schemas import Endpoint
    from tasks.accounts import WebhookStore
    from tasks.settings import Settings
    from tasks.webhooks.outbox import Delivery, Outbox

HEADINGS = ("MESSAGE", "CLIENT", "EVENT", "STATE", "ATTEMPTS", "CREATED", "NEXT", "URL", "WHY")
LISTED = 100


@click.group()
def webhooks() -> None:
    """Webhooks: clients' servers, their secrets, and what they were told."""


@webhooks.command("list")
@click.option("--state", type=click.Choice(["pending", "delivered", "failed", "gone"]), help="Only these.")
@click.option(
    "--limit",
    default=LISTED,
    type=click.IntRange(min=1),
    show_default=True,
    metavar="N",
    help="Not more than these.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of objects.")
def list_(state: str | None, limit: int, as_json: bool) -> None:
    """List messages of the last four days, newest first; those that arrived, of the last day."""
    settings, _ = load()
    with problems_told():
        chosen = (d for d in _outbox(settings).newest() if state in (None, d.state))
        found = list(islice(chosen, limit))
    if as_json:
        click.echo(json.dumps([_public(delivery) for delivery in found], indent=2))
    else:
        print_table([HEADINGS, *map(_row, found)])


@webhooks.command()
@click.argument("ids", metavar="MESSAGE...", nargs=-1)
@click.option("--failed", is_flag=True, help="All messages that were given up.")
def redeliver(ids: tuple[str, ...], failed: bool) -> None:
    """Send messages again, with all their attempts; also to a server that wanted no more."""
    settings, _ = load()
    if bool(ids) == failed:
        fail(["say which messages: their ids, or --failed"])
    with problems_told():
        outbox = _outbox(settings)
        found = outbox.find(ids) if ids else [d for d in outbox.newest() if d.state == "failed"]
        if unknown := sorted(set(ids) - {delivery.id for delivery in found}):
            fail([f"there is no message {name}" for name in unknown])
        for delivery in found:
            outbox.redeliver(delivery)
            click.echo(f"{delivery.id} pending")


@webhooks.command()
@click.argument("key")
def secret(key: str) -> None:
    """Print the secret with which messages about the jobs of KEY's client are signed."""
    with _accounts(key) as (store, client, settings):
        _give_secret(settings, client, store.rotation(client).number)


@webhooks.command()
@click.argument("key")
@click.option(
    "--overlap", metavar="DURATION", help="How long the old one signs, too: 1h, 7d. [default: not at all]"
)
def rotate(key: str, overlap: str | None) -> None:
    """Print a new secret for KEY's client, and end the old one."""
    from tasks.accounts.grants import read_duration

    with _accounts(key) as (store, client, settings):
        seconds = 0.0 if overlap is None else read_duration("--overlap", overlap)
        _give_secret(settings, client, store.rotate(client, time.time(), seconds).number)


@webhooks.command("set")
@click.argument("key")
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, help="started or completed; may be given again. [default: completed]"
)
def set_(key: str, url: str, events: tuple[str, ...]) -> None:
    """Tell the server at URL of all jobs of KEY's client whose requests name no other."""
    from tasks.webhooks.hook import read_webhook

    with _accounts(key, files=False) as (store, client, settings):
        store.set(client, read_webhook({"url": url, "events": list(events) or None}, settings.outgoing))
        _give_secret(settings, client, store.rotation(client).number)


@webhooks.command()
@click.argument("key")
def unset(key: str) -> None:
    """Tell no server of the jobs of KEY's client unless their requests name one."""
    with _accounts(key, files=False) as (store, client, _):
        store.set(client, None)


def _give_secret(settings: Settings, client: str, number: int) -> None:
    """Print the secret, and nothing else, to stdout."""
    from tasks.webhooks.signing import secret_of, shown

    click.echo(f"Secret {number} of client {client}", err=True)
    click.echo(shown(secret_of(settings.installation_secret(), client, number)))


@contextmanager
def _accounts(key: str, files: bool = True) -> Iterator[tuple[WebhookStore, str, Settings]]:
    """Give the webhooks of the database, and the client of a key: by its id, or by its name in a file."""
    from tasks.accounts import KeyStore, WebhookStore
    from tasks.database import Database

    settings, endpoints = load()
    with problems_told(), closing(Database.of(settings)) as database:
        named = _in_files(settings, endpoints, key)
        if named and not files:
            fail(
                [f"{key} stands in a file: only a key made by `stoker keys add` can have a server of its own"]
            )
        if len(named) > 1:
            fail([f"several keys in files are called {key}: name one by its id, {' or '.join(named)}"])
        client = named[0] if named else KeyStore(database).find(key).client.id
        yield WebhookStore(database), client, settings


def _in_files(settings: Settings, endpoints: dict[str, Endpoint], name: str) -> list[str]:
    from tasks.accounts import KeyRing

    demo = settings.demo_key_file if settings.demo_key else None
    return KeyRing.load(settings.installation_secret(), endpoints, demo).named(name)


def _outbox(settings: Settings) -> Outbox:
    from tasks.store import JobStore
    from tasks.webhooks.outbox import Outbox

    return Outbox(JobStore.from_url(settings.store_url))


def _public(delivery: Delivery) -> dict[str, Any]:
    from tasks.guard.rules import shown_url

    values = asdict(delivery)
    del values["hook"]
    return values | {"url": shown_url(delivery.hook.url)}


def _row(delivery: Delivery) -> tuple[str, ...]:
    public = _public(delivery)
    return (
        delivery.id,
        delivery.owner,
        delivery.event,
        delivery.state,
        str(delivery.attempts),
        shown_time(delivery.created),
        "-" if delivery.due is None else shown_time(delivery.due),
        public["url"],
        delivery.error or "-",
    )
