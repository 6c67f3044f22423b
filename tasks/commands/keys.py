"""`stoker keys`: API keys in the database; and `stoker migrate`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tasks.commands.common import print_table, problems_told

if TYPE_CHECKING:  # SQLAlchemy takes its time, and is not there where only a worker is installed
    from tasks.accounts import Client, KeyRecord, KeyStore
    from tasks.settings import Settings

HEAD = (
    "KEY",
    "CLIENT",
    "STATE",
    "ENDPOINTS",
    "PRIORITY",
    "PER MINUTE",
    "AT ONCE",
    "BYTES A DAY",
    "SECONDS A DAY",
    "CREATED",
    "EXPIRES",
    "LAST USED",
)


@click.group()
def keys() -> None:
    """API keys: add, list, revoke, rotate.

    An API that runs takes notice within seconds.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--endpoint", "endpoints", multiple=True, metavar="NAME", help="What it opens; may be given again."
)
@click.option("--all-endpoints", is_flag=True, help="It opens every endpoint, also later ones.")
@click.option("--priority", default="normal", show_default=True, help="high, normal or bulk.")
@click.option(
    "--requests-per-minute", metavar="N", help="At each endpoint; 0: any number. [default: the setting]"
)
@click.option("--jobs-at-once", metavar="N", help="At each endpoint; 0: any number. [default: file, setting]")
@click.option(
    "--bytes-per-day", metavar="N", help="Of inputs, at each endpoint; 0: any. [default: file, setting]"
)
@click.option(
    "--seconds-per-day", metavar="N", help="Of models, at each endpoint; 0: any. [default: file, setting]"
)
@click.option("--expires", metavar="DURATION", help="When it ends by itself: 90d, 12h, 30m. [default: never]")
def add(
    name: str,
    endpoints: Sequence[str],
    all_endpoints: bool,
    priority: str,
    requests_per_minute: str | None,
    jobs_at_once: str | None,
    bytes_per_day: str | None,
    seconds_per_day: str | None,
    expires: str | None,
) -> None:
    """Make a key for the client NAME and print it, this once."""
    from schemas import load_endpoints
    from tasks.accounts.grants import read_grant
    from tasks.settings import Settings

    with problems_told():
        settings = Settings.from_env()
        grant = read_grant(
            name,
            endpoints,
            load_endpoints(settings.endpoint_folders),
            all_endpoints=all_endpoints,
            priority=priority,
            requests_per_minute=requests_per_minute,
            jobs_at_once=jobs_at_once,
            bytes_per_day=bytes_per_day,
            seconds_per_day=seconds_per_day,
            expires=expires,
        )
        with _store(settings) as keys:
            _give(*keys.add(grant, time.time()))


@keys.command("list")
def list_() -> None:
    """Show all keys, also those that have ended, by their public part."""
    with problems_told(), _store() as keys:
        records = keys.all()
    now = time.time()
    print_table([HEAD, *(_row(record, now) for record in records)])


@keys.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(ids: Sequence[str]) -> None:
    """End keys for good, and the sessions that were opened by them."""
    with problems_told(), _store() as keys:
        for record in keys.revoke(ids, time.time()):
            click.echo(f"Key {record.id} of {record.client.name} is revoked")


@keys.command()
@click.argument("id", metavar="ID")
@click.option(
    "--overlap", metavar="DURATION", help="How long the old key stays valid: 1h, 7d. [default: not at all]"
)
def rotate(id: str, overlap: str | None) -> None:
    """Print a new key for the same client, this once, and end the old one.

    The client keeps its jobs, its limits and its endpoints.
    """
    from tasks.accounts.grants import read_duration

    with problems_told():
        seconds = 0.0 if overlap is None else read_duration("--overlap", overlap)
        with _store() as keys:
            _give(*keys.rotate(id, time.time(), seconds))


@click.command()
def migrate() -> None:
    """Bring the database to the version of this Stoker.

    Needed for PostgreSQL only, before the API starts; a SQLite file is brought there by itself.
    """
    from tasks.database import Database
    from tasks.settings import Settings

    with problems_told(), closing(Database.of(Settings.from_env())) as database:
        done = database.upgrade()
    click.echo("The database has been upgraded" if done else "Nothing to do")


@contextmanager
def _store(settings: Settings | None = None) -> Iterator[KeyStore]:
    from tasks.accounts import KeyStore
    from tasks.database import Database
    from tasks.settings import Settings

    with closing(Database.of(settings or Settings.from_env())) as database:
        yield KeyStore(database)


def _give(record: KeyRecord, key: str) -> None:
    """Print the key, and nothing else, to stdout: `KEY=$(stoker keys add ...)`."""
    client = record.client
    until = "without end" if record.expires is None else f"until {_date(record.expires)}"
    click.echo(f"Key {record.id} of {client.name} for {_endpoints(client)}, valid {until}.", err=True)
    click.echo("It is shown this once: nobody can read it out of the database.", err=True)
    click.echo(key)


def _row(record: KeyRecord, now: float) -> tuple[str, ...]:
    from tasks.accounts.secret import shown

    client = record.client
    own = client.limits
    limits = (own.requests_per_minute, own.jobs_at_once, own.bytes_per_day, own.seconds_per_day)
    return (
        shown(record.id),
        client.name,
        record.state(now),
        _endpoints(client),
        client.priority.value,
        *("default" if limit is None else str(limit or "any") for limit in limits),
        *(_date(at) for at in (record.created, record.expires, record.last_used)),
    )


def _endpoints(client: Client) -> str:
    return "all endpoints" if client.endpoints is None else ",".join(sorted(client.endpoints))


def _date(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
