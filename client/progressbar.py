"""A progress bar for a terminal: tqdm's if it is installed, else a line that is written again and again."""

import sys
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from .events import ProgressInfo

_WIDTH = 30  # characters


class _Bar(Protocol):
    def show(self, percent: float, label: str) -> None: ...

    def close(self) -> None: ...


class ProgressBar:
    """Shows where one job stands, on the standard error stream; a context manager."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: _Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            if kind is None:
                self._bar.show(100, f"{self._name}: done")
            self._bar.close()

    def update(self, info: ProgressInfo) -> None:
        """Show a report of progress."""
        if self._bar is None:
            self._bar = _TqdmBar.make() or _PlainBar(sys.stderr)
        place = info["queue_position"]
        label = f"{self._name}: {place}. in the queue" if place else self._name
        self._bar.show(min(100.0, max(0.0, info["progress"])), label)


class _TqdmBar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    @classmethod
    def make(cls) -> Self | None:
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return cls(tqdm(total=100, bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}"))

    def show(self, percent: float, label: str) -> None:
        self._bar.set_description_str(label, refresh=False)
        self._bar.n = percent
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _PlainBar:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, percent: float, label: str) -> None:
        filled = int(_WIDTH * percent / 100)
        bar = "#" * filled + "." * (_WIDTH - filled)
        self._stream.write(f"\r{label} {percent:3.0f}% |{bar}|\x1b[K")
        self._stream.flush()

    def close(self) -> None:
        self._stream.write("\n")
