"""The command line of the benchmarks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest

from tests.bench import report
from tests.bench.benches import BENCHES, Options
from tests.services import ROOT

FOLDER = ROOT / "tests" / "bench" / "results"  # which git ignores


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in text.split(",")) if text else None
    except ValueError:
        raise click.BadParameter("write numbers, separated by commas") from None


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--seconds", default=5.0, help="Of each run.", show_default=True)
@click.option("--runs", default=3, help="Of each case; medians are told.", show_default=True)
@click.option(
    "--clients", callback=_numbers, help="Numbers of clients, as 1,64; default: the benchmark's own."
)
@click.option("--brokers", default="embedded,rabbitmq", help="Brokers of `echo`.", show_default=True)
@click.option(
    "--api-processes", default="1,2", callback=_numbers, show_default=True,
    help="Numbers of API processes of `echo`; the other benchmarks take the last one.",
)  # fmt: skip
@click.option("--workers", default=1, help="Number of workers of `echo` and `simgpu`.", show_default=True)
@click.option(
    "--litserve", type=click.Path(exists=True, path_type=Path),
    help="A Python that has LitServe, whose echo is then measured in turns with ours.",
)  # fmt: skip
@click.option("--out", default=FOLDER, type=click.Path(path_type=Path), help="Folder of the results.")
def main(names: tuple[str, ...], brokers: str, out: Path, **options: Any) -> None:
    """Measure how fast Stoker is, on this machine. Without NAMES: all benchmarks, one after another."""
    machine = report.machine()
    click.echo(f"commit {report.commit()}, {machine['cpus']} cores of {machine['cpu']}, "
               f"load average {machine['load_average']:.1f}")  # fmt: skip
    chosen = Options(**options, brokers=tuple(brokers.split(",")), say=_say)
    for name in names or BENCHES:
        click.echo(f"\n{name}: {BENCHES[name].__doc__}")
        try:
            cases, found = BENCHES[name](chosen)
        except pytest.skip.Exception as error:
            raise click.ClickException(str(error)) from error
        if cases:
            click.echo(report.table(cases))
        for key, value in found.items():
            click.echo(f"{key.replace('_', ' ')}: {json.dumps(value)}")
        for case in cases:
            if batches := case.batches():
                click.echo(f"batches seen, {case.name}: {_sizes(batches)}")
        click.echo(f"saved to {os.path.relpath(report.save(out, name, cases, found))}")


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _sizes(batches: dict[int, int]) -> str:
    jobs = sum(size * count for size, count in batches.items())
    largest = max(batches)
    share = largest * batches[largest] / jobs
    return f"{jobs / sum(batches.values()):.1f} on average, {share:.0%} of the jobs in batches of {largest}"


if __name__ == "__main__":
    main()
