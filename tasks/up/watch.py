"""What `stoker up` tells of its programs: events in, sentences out. Reads log files, nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.up.programs import Program
from tasks.up.supervisord import Event

TAIL_LINES = 10
TAIL_BYTES = 8192
LAST_FAILURE = 3  # so often an essential program may fail before the installation was ever ready


class Watch:
    """Follows the programs from one event to the next.

    Args:
        programs: what supervisord runs.
        logs: folder of their log files.
    """

    def __init__(self, programs: Sequence[Program], logs: Path) -> None:
        self._essential = {program.name for program in programs if program.essential}
        self._logs = logs
        self._failures: Counter[str] = Counter()
        self._shown: dict[str, list[str]] = {}
        self.ready = False

    def see(self, event: Event) -> Iterator[str]:
        """Give the lines that tell of `event`."""
        if event.kind == "ended":
            self._failures[event.program] += 1
            yield f"{event.program} ended ({event.detail}) and is started again."
            yield from self._tail(event.program)
        elif event.kind == "started" and self._failures.pop(event.program, 0):
            self._shown.pop(event.program, None)
            yield f"{event.program} runs again."

    @property
    def hopeless(self) -> str | None:
        """Name of the program without which nothing will ever be ready; None as long as there is hope."""
        failed = (name for name in self._essential if self._failures[name] >= LAST_FAILURE)
        return None if self.ready else next(failed, None)

    def _tail(self, program: str) -> Iterator[str]:
        path = self._logs / f"{program}.log"
        lines = tail(path)
        if lines and not _same(lines, self._shown.get(program, [])):
            yield f"The end of {path}:"
            yield from (f"  | {line}" for line in lines)
        self._shown[program] = lines


def tail(path: Path) -> list[str]:
    """Give the last lines of a log; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-TAIL_LINES:]


def _same(lines: list[str], shown: list[str]) -> bool:
    """Whether the reason was shown already: last lines that differ in digits only (times, process ids)."""
    return [_words(line) for line in lines[-1:]] == [_words(line) for line in shown[-1:]]


def _words(line: str) -> str:
    return "".join(char for char in line if not char.isdigit())
