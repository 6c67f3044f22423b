"""The command line `stoker`."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

try:
    import click
except ModuleNotFoundError:  # installed for the sake of the client
    sys.exit(
        "Stoker's server is not installed; write `[server,worker]` after what you gave to `pip install`."
    )

from tasks.commands.keys import keys, migrate

if TYPE_CHECKING:
    from schemas import Endpoint
    from tasks.settings import Settings

WRONG_USE = 2  # exit status: something must be changed before it can work


def _version() -> str:
    try:
        return version_of("stoker")
    except PackageNotFoundError:
        return "not installed"


@click.group()
@click.version_option(_version(), package_name="stoker", prog_name="stoker")
def main() -> None:
    """Run Stoker, an AI model inference server.

    It is set up by environment variables or a file stoker.toml; see docs/operations.md.
    """


@main.command()
def up() -> None:
    """Run the API, the workers, Flower and, if needed, Redis on this machine."""
    settings, endpoints = _load()
    from tasks.up import UpError
    from tasks.up import up as run

    try:
        status = run(settings, endpoints, Path.cwd(), _say)
    except UpError as error:
        _fail(error.problems)
    sys.exit(status)


@main.command()
def check() -> None:
    """Check the settings and the endpoint files."""
    _, endpoints = _load()
    for name, endpoint in sorted(endpoints.items()):
        served = endpoint.model or "served from elsewhere"
        click.echo(f"  {name}: queue {endpoint.queue}, {served if endpoint.enabled else 'disabled'}")
    click.echo(f"OK: {len(endpoints)} endpoints")


@main.command("demo-key")
def demo_key() -> None:
    """Print the key that opens every endpoint; make it if there is none."""
    from tasks.secrets import read_or_create

    settings, _ = _load()
    try:
        click.echo(read_or_create(settings.demo_key_file))
    except OSError as error:
        _fail([f"{settings.demo_key_file} can be neither read nor made: {error}"])


@main.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """End a job, waiting or running, and say in which state that leaves it."""
    from tasks.errors import StoreUnavailable
    from tasks.store import JobStore

    settings, _ = _load()
    try:
        state = JobStore.from_url(settings.store_url).cancel(job_id)
    except StoreUnavailable as error:
        _fail([str(error)])
    if state is None:
        _fail([f"there is no job {job_id}, or its result has been forgotten"])
    click.echo(state.value)


main.add_command(keys)
main.add_command(migrate)


def _load() -> tuple[Settings, dict[str, Endpoint]]:
    from schemas import EndpointFileError, load_endpoints
    from tasks.errors import SettingsError
    from tasks.settings import Settings

    try:
        settings = Settings.from_env()
        return settings, load_endpoints(settings.endpoint_folders, settings.media_limits)
    except SettingsError as error:
        _fail(error.problems)
    except EndpointFileError as error:
        _fail(str(error).splitlines())


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal was closed: what runs is stopped in order all the same
        click.echo(line)


def _fail(problems: list[str]) -> NoReturn:
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(WRONG_USE)


if __name__ == "__main__":
    main()
