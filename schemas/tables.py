"""Reading TOML tables strictly: every key is asked for, whatever else stands there is a problem."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import Problem
from schemas.values import shown, type_name


class Table:
    """One table of an endpoint file, read key by key.

    Each reader method gives the value, or its default when the key is absent or wrong; what is
    wrong is added to the list of problems, so that one pass finds them all.
    """

    def __init__(self, values: Mapping[str, Any], name: str, file: Path, problems: list[Problem]) -> None:
        """Start to read a table.

        Args:
            values: the table as TOML gave it.
            name: its dotted name, "" for the file's top level.
            file: the file, for the problems.
            problems: where problems are added.
        """
        self.values = values
        self.name = name
        self.file = file
        self.problems = problems
        self._failed = False
        self._known: list[str] = []

    def report(self, key: str | None, reason: str) -> None:
        """Add a problem of this table."""
        self._failed = True
        self.problems.append(Problem(self.file, self.name, key, reason))

    def has_failed(self) -> bool:
        """Say whether a problem of this table, not of one below, was found."""
        return self._failed

    def take(self, key: str, *aliases: str) -> Any:
        """Give a key's value as it stands, or None; two spellings with two values are a problem."""
        names = (key, *aliases)
        self._known += names
        given = [name for name in names if name in self.values]
        if len(given) > 1 and self.values[given[0]] != self.values[given[1]]:
            self.report(
                given[0],
                f'"{given[1]}" means the same and has another value: keep one of them',
            )
        return self.values[given[0]] if given else None

    def text(
        self,
        key: str,
        *aliases: str,
        pattern: re.Pattern[str] | None = None,
        form: str = "",
    ) -> str | None:
        """Read a string.

        Args:
            key: its key.
            aliases: other spellings of the key.
            pattern: what the whole string must match.
            form: the pattern in words, for the problem.
        """
        value = self.take(key, *aliases)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(key, "a string", value)
            return None
        if pattern and not pattern.fullmatch(value):
            self.report(key, f"{shown(value)} is not {form}")
            return None
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Read true or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._wrong_type(key, "true or false", value)
            return default
        return value

    def integer(
        self,
        key: str,
        *aliases: str,
        default: int | None = None,
        at_least: int | None = None,
    ) -> int | None:
        """Read an integer; 8.0 counts as one."""
        value = self.take(key, *aliases)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong_type(key, "an integer", value)
            return default
        if at_least is not None and value < at_least:
            self.report(key, f"{shown(value)} is too low: at least {at_least} is needed")
            return default
        return value

    def number(
        self,
        key: str,
        *aliases: str,
        default: float | None = None,
        above: float | None = None,
        at_least: float | None = None,
    ) -> float | None:
        """Read a finite number, as it is written.

        Args:
            key: its key.
            aliases: other spellings of the key.
            default: what an absent or wrong key gives.
            above: the number must be greater than this.
            at_least: the number must not be less than this.
        """
        value = self.take(key, *aliases)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong_type(key, "a number", value)
            return default
        if not _is_finite(value):
            self.report(key, f"{shown(value)} is not a finite number")
            return default
        if above is not None and value <= above:
            self.report(key, f"{shown(value)} is too low: it must be greater than {above:g}")
            return default
        if at_least is not None and value < at_least:
            self.report(key, f"{shown(value)} is too low: at least {at_least:g} is needed")
            return default
        return value

    def table(self, key: str) -> Table:
        """Give the table below this one; an empty one when the key is absent or no table."""
        value = self.take(key)
        name = f"{self.name}.{key}" if self.name else key
        if value is not None and not isinstance(value, dict):
            self._wrong_type(key, "a table", value)
            value = None
        return Table(value or {}, name, self.file, self.problems)

    def ignore(self, *keys: str) -> None:
        """Let keys pass whose values mean nothing here."""
        self._known += keys

    def finish(self, elsewhere: Iterable[str] = (), why: str = "") -> None:
        """Report every key that nobody asked for.

        Args:
            elsewhere: keys that are known in other tables of this kind.
            why: what to say of those.
        """
        for key in self.values.keys() - set(self._known):
            if key in elsewhere:
                self.report(key, why)
                continue
            near = difflib.get_close_matches(key.lower(), self._known, n=1) or difflib.get_close_matches(
                key.upper(), self._known, n=1
            )
            self.report(key, "unknown key" + (f': did you mean "{near[0]}"?' if near else ""))

    def _wrong_type(self, key: str, wanted: str, value: object) -> None:
        self.report(key, f"must be {wanted}, not {type_name(value)}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a double
        return False
