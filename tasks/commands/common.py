"""What all commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from schemas import Endpoint
    from tasks.settings import Settings

WRONG_USE = 2  # exit status: something must be changed before it can work


def load() -> tuple[Settings, dict[str, Endpoint]]:
    """Read settings and endpoint files; ends the program with all that is wrong with them."""
    from schemas import load_endpoints
    from tasks.settings import Settings

    with problems_told():
        settings = Settings.from_env()
        endpoints = load_endpoints(settings.endpoint_folders, settings.media_limits)
    return settings, endpoints


def fail(problems: list[str]) -> NoReturn:
    """End the program with what is wrong, one sentence each."""
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(WRONG_USE)


@contextmanager
def problems_told() -> Iterator[None]:
    """End the program with what is wrong with what it was given, or with the store or database, if so."""
    from schemas import EndpointFileError
    from tasks.errors import (
        DatabaseUnavailable,
        KeyProblems,
        SettingsError,
        StoreUnavailable,
        WebhookProblems,
    )

    try:
        yield
        return
    except (SettingsError, KeyProblems) as error:
        problems = error.problems
    except WebhookProblems as error:
        problems = [f"Webhook: {problem}" for problem in error.problems]
    except EndpointFileError as error:
        problems = str(error).splitlines()
    except (DatabaseUnavailable, StoreUnavailable) as error:
        problems = [str(error)]
    fail(problems)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def shown_time(at: float) -> str:
    """Give a time, in seconds since 1970, as the clock here shows it."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
