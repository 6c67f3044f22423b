"""What all commands share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from schemas import Endpoint
    from tasks.settings import Settings

WRONG_USE = 2  # exit status: something must be changed before it can work


def load() -> tuple[Settings, dict[str, Endpoint]]:
    """Read settings and endpoint files; ends the program with all that is wrong with them."""
    from schemas import EndpointFileError, load_endpoints
    from tasks.errors import SettingsError
    from tasks.settings import Settings

    try:
        settings = Settings.from_env()
        return settings, load_endpoints(settings.endpoint_folders, settings.media_limits)
    except SettingsError as error:
        fail(error.problems)
    except EndpointFileError as error:
        fail(str(error).splitlines())


def fail(problems: list[str]) -> NoReturn:
    """End the program with what is wrong, one sentence each."""
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(WRONG_USE)
