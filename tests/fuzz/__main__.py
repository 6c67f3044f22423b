"""The command line of the fuzzing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz.child import LONGEST, RULES
from tests.services import ROOT

FOLDER = ROOT / "tests" / "fuzz" / "found"  # which git ignores
START = 20.0  # s that a child may take to begin


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(RULES)))
@click.option("--seconds", default=60.0, help="For each kind and seed.", show_default=True)
@click.option("--seed", default=1, help="The first one.", show_default=True)
@click.option("--seeds", default=1, help="How many, one after another.", show_default=True)
def main(kinds: tuple[str, ...], seconds: float, seed: int, seeds: int) -> None:
    """Convert damaged files of KINDS (default: all) in child processes, which they may kill.

    A file that crashes, hangs, takes too much memory or raises anything but a refusal is kept in
    tests/fuzz/found, and the status is 1.
    """
    bad = 0
    for number in range(seed, seed + seeds):
        for kind in kinds or RULES:
            bad += not _run(kind, number, seconds)
    sys.exit(bool(bad))


def _run(kind: str, seed: int, seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "file"
        command = [sys.executable, "-m", "tests.fuzz.child", kind, str(seed), str(seconds), str(place)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + START + 2 * LONGEST
            )
            status, said = done.returncode, done.stdout if done.returncode == 0 else done.stderr
        except subprocess.TimeoutExpired:
            status, said = -1, "hangs"
        if status == 0:
            click.echo(f"{kind}, seed {seed}: {said.strip()} files, nothing found")
            return True
        FOLDER.mkdir(exist_ok=True)
        kept = FOLDER / f"{kind}-{seed}"
        kept.write_bytes(place.read_bytes())
        click.echo(f"{kind}, seed {seed}: status {status}, the file is kept as {kept}\n{said[-3000:]}")
        return False


if __name__ == "__main__":
    main()
