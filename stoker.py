"""The command line `stoker`."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

try:
    import click
except ModuleNotFoundError:  # installed for the sake of the client
    sys.exit(
        "Stoker's server is not installed; write `[server,worker]` after what you gave to `pip install`."
    )

from tasks.commands.common import fail, load
from tasks.commands.jobs import jobs
from tasks.commands.keys import keys, migrate
from tasks.commands.usage import usage
from tasks.commands.webhooks import webhooks
from tasks.commands.workerhealth import worker_health


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
    settings, endpoints = load()
    from tasks.up import UpError
    from tasks.up import up as run

    try:
        status = run(settings, endpoints, Path.cwd(), _say)
    except UpError as error:
        fail(error.problems)
    sys.exit(status)


@main.command()
def check() -> None:
    """Check the settings and the endpoint files."""
    _, endpoints = load()
    for name, endpoint in sorted(endpoints.items()):
        served = _model(endpoint.model) if endpoint.model else "served from elsewhere"
        click.echo(f"  {name}: queue {endpoint.queue}, {served if endpoint.enabled else 'disabled'}")
    click.echo(f"OK: {len(endpoints)} endpoints")


@main.command("demo-key")
def demo_key() -> None:
    """Print the key that opens every endpoint; make it if there is none."""
    from tasks.secrets import read_or_create

    settings, _ = load()
    try:
        click.echo(read_or_create(settings.demo_key_file))
    except OSError as error:
        fail([f"{settings.demo_key_file} can be neither read nor made: {error}"])


@main.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """End a job, waiting or running, and say in which state that leaves it."""
    from tasks.errors import StoreUnavailable
    from tasks.store import JobStore

    settings, _ = load()
    try:
        state = JobStore.from_url(settings.store_url).cancel(job_id)
    except StoreUnavailable as error:
        fail([str(error)])
    if state is None:
        fail([f"there is no job {job_id}, or its result has been forgotten"])
    click.echo(state.value)


def _model(name: str) -> str:
    """Show a model; say so if its module is not here, as it need not be where no worker runs."""
    package = name.partition(":")[0].partition(".")[0]
    if find_spec(package) or PathFinder.find_spec(package, [str(Path.cwd())]):
        return name
    return f"{name} (there is no module {package} here: a worker needs it in the folder where it starts)"


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal was closed: what runs is stopped in order all the same
        click.echo(line)


main.add_command(jobs)
main.add_command(keys)
main.add_command(migrate)
main.add_command(usage)
main.add_command(webhooks)
main.add_command(worker_health)

if __name__ == "__main__":
    main()
