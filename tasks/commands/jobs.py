"""`stoker jobs`: what became of jobs whose messages died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tasks.commands.common import fail, load, print_table, problems_told, shown_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas import Endpoint
    from tasks.letters import Letter
    from tasks.settings import Settings
    from tasks.store import JobStore

HEADINGS = ("JOB", "ENDPOINT", "QUEUE", "DIED", "WHY")
UNSAID = "-"


@click.group()
def jobs() -> None:
    """Dead jobs: those that the message broker gave up, or that no worker could read.

    They have failed. Their messages are kept for a week, so that they can run again.
    """


@jobs.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of objects.")
def list_(as_json: bool) -> None:
    """List dead jobs, oldest first."""
    settings, _ = load()
    letters = _chosen(_store(settings), (), every=True)
    if as_json:
        click.echo(
            json.dumps([letter.to_wire() | {"error": letter.explain()} for letter in letters], indent=2)
        )
    else:
        print_table([HEADINGS, *(_row(letter) for letter in letters)])


@jobs.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
def requeue(ids: tuple[str, ...], every: bool) -> None:
    """Let dead jobs run again, under the same ids, and say in which state that leaves them."""
    from tasks.celery import create_celery
    from tasks.deadletters import DeadLetters
    from tasks.errors import BrokerUnavailable, StoreUnavailable
    from tasks.publisher import Publisher

    settings, endpoints = load()
    store = _store(settings)
    letters = _chosen(store, ids, every)
    if problems := [problem for letter in letters if (problem := _obstacle(letter, endpoints))]:
        fail([*problems, "Nothing was requeued."])
    dead, publisher = DeadLetters(store), Publisher(create_celery(settings, endpoints), store)
    for done, letter in enumerate(letters):
        try:
            state = dead.requeue(publisher, endpoints[str(letter.endpoint)], letter)
        except (BrokerUnavailable, StoreUnavailable) as error:
            fail([f"{error}: {done} of {len(letters)} jobs were requeued, the others are as before"])
        click.echo(f"{letter.id} {state.value if state else 'is gone'}")
    publisher.close()


@jobs.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
def drop(ids: tuple[str, ...], every: bool) -> None:
    """Forget the messages of dead jobs; the jobs stay failed."""
    from tasks.deadletters import DeadLetters

    settings, _ = load()
    store = _store(settings)
    for letter in _chosen(store, ids, every):
        with problems_told():
            DeadLetters(store).drop(letter.id)
        click.echo(f"{letter.id} dropped")


def _store(settings: Settings) -> JobStore:
    from tasks.store import JobStore

    return JobStore.from_url(settings.store_url)


def _chosen(store: JobStore, ids: tuple[str, ...], every: bool) -> list[Letter]:
    """Give the letters that are meant; ends the program if one is not there."""
    from tasks.deadletters import DeadLetters

    if bool(ids) == every:
        fail(["say which jobs: their ids, or --all"])
    with problems_told():
        letters = DeadLetters(store).letters(list(dict.fromkeys(ids)))
    if unknown := sorted(set(ids) - {letter.id for letter in letters}):
        fail([f"there is no dead job {job_id}" for job_id in unknown])
    return letters


def _obstacle(letter: Letter, endpoints: Mapping[str, Endpoint]) -> str | None:
    """Say why a job cannot run again, if so."""
    if not letter.holds_job:
        return f"{letter.id} holds no job and can only be dropped: stoker jobs drop {letter.id}"
    if letter.endpoint not in endpoints:
        return f"{letter.id} is for endpoint {letter.endpoint}, which no endpoint file here describes"
    return None


def _row(letter: Letter) -> tuple[str, ...]:
    died = shown_time(letter.died)
    why = letter.reason if letter.count == 1 else f"{letter.reason} x {letter.count}"
    return letter.id, letter.endpoint or UNSAID, letter.queue or UNSAID, died, f"{why}: {letter.explain()}"
