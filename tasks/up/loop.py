"""What `stoker up` does as long as its programs run: it waits for events, for readiness, for a signal."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable, Iterator

from tasks.up import processes, supervisord
from tasks.up.watch import Watch

TURN = 0.2  # s
PATIENCE = 5.0  # s without a word
LONG = 120.0  # s; a start that takes longer is worth a remark


class Start:
    """The way to the first `ready`."""

    def __init__(self, missing: Callable[[], list[str]], ready: Callable[[], list[str]], now: float) -> None:
        self._missing = missing
        self._ready = ready
        self._began = self._said = now
        self._last: list[str] = []
        self._was_long = False
        self.done = False

    def look(self, now: float) -> Iterator[str]:
        """Look whether it is ready; give what there is to say."""
        lacking = self._missing()
        if not lacking:
            self.done = True
            yield from self._ready()
        elif not self._was_long and now - self._began >= LONG:
            self._was_long = True
            yield f"Not ready after {LONG:.0f} s: {'; '.join(lacking)}. The logs tell more; waiting on."
        elif lacking != self._last and now - self._said >= PATIENCE:
            self._last, self._said = lacking, now
            yield f"Waiting: {'; '.join(lacking)}"


class Loop:
    """The loop of `run`: events of supervisord, readiness, signals."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        watch: Watch,
        start: Start,
        signals: list[int],
        say: Callable[[str], None],
    ) -> None:
        self._process = process
        self._watch = watch
        self._start = start
        self._signals = signals
        self._say = say
        self._rest = b""

    def run(self) -> int:
        """Run until a signal comes (0) or it cannot go on (1)."""
        while not self._signals:
            for line in self._lines():
                if event := supervisord.parse_event(line):
                    self._tell(self._watch.see(event))
            if self._process.poll() is not None:
                self._say(f"supervisord ended by itself (exit status {self._process.returncode}): stopping.")
                return 1
            if name := self._watch.hopeless:
                self._say(f"{name} does not start, and nothing works without it: stopping.")
                return 1
            processes.reap(except_for=self._process.pid)
            if not self._start.done:
                self._tell(self._start.look(time.monotonic()))
                self._watch.ready = self._start.done
        return 0

    def _tell(self, lines: Iterator[str]) -> None:
        for line in lines:
            self._say(line)

    def _lines(self) -> list[str]:
        assert self._process.stdout is not None
        select.select([self._process.stdout], [], [], TURN)
        *lines, self._rest = (self._rest + (self._process.stdout.read() or b"")).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
