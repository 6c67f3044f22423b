"""`stoker usage`: what clients have used."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from tasks.commands.common import fail, print_table, problems_told
from tasks.usage.record import DAY

if TYPE_CHECKING:
    from tasks.usage.ledger import Filter, Ledger
    from tasks.usage.record import UsageRecord

TOTALS = ("jobs", "done", "failed", "canceled", "lapsed", "waited", "model_seconds", "bytes_in", "bytes_out")
TIMES = ("accepted", "started", "finished")
JOBS = (
    "job",
    "client",
    "key",
    "endpoint",
    "outcome",
    *TIMES,
    "waited",
    "model_seconds",
    "bytes_in",
    "bytes_out",
)
ROWS = 500  # of a table of jobs that are aligned together
STDOUT = "-"


@click.command()
@click.option("--key", metavar="ID", help="Of this API key; the id of a client stands for all its keys.")
@click.option("--endpoint", metavar="NAME", help="Of this endpoint.")
@click.option(
    "--since", metavar="WHEN", help="Jobs that ended then or later: 2026-11-01 (UTC), or 7d, 12h ago."
)
@click.option("--until", metavar="WHEN", help="Jobs that ended before.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(("day", "key", "client", "endpoint")),
    help="What is told apart; may be given again. [default: key, endpoint]",
)
@click.option("--jobs", "single", is_flag=True, help="Single jobs instead of totals.")
@click.option(
    "--csv", "file", metavar="[FILE]", is_flag=False, flag_value=STDOUT, help="As CSV: to FILE, else printed."
)
def usage(
    key: str | None,
    endpoint: str | None,
    since: str | None,
    until: str | None,
    by: Sequence[str],
    single: bool,
    file: str | None,
) -> None:
    """Show how much clients have used: jobs, time of models, bytes.

    Only jobs that have ended count, a few seconds later.
    """
    if single and by:
        fail(["--jobs and --by are both given: keep one"])
    groups = tuple(dict.fromkeys(by or ("key", "endpoint")))
    with problems_told(), _ledger() as ledger:
        wanted = _read_filter(key, endpoint, since, until)
        if single:
            _give(JOBS, (_job_row(record) for record in ledger.jobs(wanted)), file)
        else:
            named = ("name",) if {"key", "client"} & set(groups) else ()
            head = (*groups, *named, *TOTALS)
            _give(
                head,
                ([_shown(n, row.get(n, "")) for n in head] for row in ledger.totals(wanted, groups)),
                file,
            )


@contextmanager
def _ledger() -> Iterator[Ledger]:
    from tasks.database import Database
    from tasks.settings import Settings
    from tasks.usage.ledger import Ledger

    with closing(Database.of(Settings.from_env())) as database:
        yield Ledger(database)


def _read_filter(key: str | None, endpoint: str | None, since: str | None, until: str | None) -> Filter:
    from tasks.accounts.secret import id_named_by
    from tasks.usage.ledger import Filter

    now, problems = time.time(), list[str]()
    begin, end = (_moment(*given, now, problems) for given in (("--since", since), ("--until", until)))
    if begin is not None and end is not None and begin >= end:
        problems.append("--since is not before --until: nothing lies between them")
    if problems:
        fail(problems)
    return Filter(None if key is None else id_named_by(key) or key, endpoint, begin, end)


def _moment(option: str, text: str | None, now: float, problems: list[str]) -> float | None:
    """Read a day, which begins at midnight in UTC, or a duration before now."""
    from tasks.accounts.grants import read_duration
    from tasks.errors import KeyProblems

    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass
    try:
        return now - read_duration(option, text)
    except KeyProblems:
        problems.append(f"{option} {text!r} is neither a day as 2026-11-01 nor a duration as 7d, 12h or 30m")
        return None


def _job_row(record: UsageRecord) -> list[str]:
    return [_shown(name, getattr(record, name)) for name in JOBS]


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "day":
        return datetime.fromtimestamp(value * DAY, UTC).strftime("%Y-%m-%d")
    if name in TIMES:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _give(head: Sequence[str], rows: Iterable[Sequence[str]], file: str | None) -> None:
    if file is None:
        _print(head, rows)
    elif file == STDOUT:
        _write(sys.stdout, head, rows)
    else:
        try:
            with open(file, "w", newline="", encoding="utf-8") as stream:
                _write(stream, head, rows)
        except OSError as error:
            fail([f"{file} cannot be written: {error.strerror}"])


def _write(stream: IO[str], head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    writer = csv.writer(stream)  # RFC 4180
    writer.writerow(head)
    writer.writerows(rows)


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [[name.replace("_", " ").upper() for name in head]]
    for row in rows:
        table.append([cell or "-" for cell in row])
        if len(table) == ROWS:
            print_table(table)
            table.clear()
    print_table(table)
