"""What a person asks for when a key is made, read with everything that is wrong at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tasks.accounts.clients import Limits
from tasks.accounts.keys import Grant
from tasks.errors import KeyProblems
from tasks.jobs import Priority

LONGEST_NAME = 100
HIGHEST_LIMIT = 2**31 - 1
MOST_BYTES = 10**15
LONGEST_LIFETIME = 100 * 365  # days
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_grant(
    name: str,
    endpoints: Sequence[str],
    known: Collection[str],
    *,
    all_endpoints: bool = False,
    priority: str = Priority.NORMAL,
    requests_per_minute: str | None = None,
    jobs_at_once: str | None = None,
    bytes_per_day: str | None = None,
    seconds_per_day: str | None = None,
    expires: str | None = None,
) -> Grant:
    """Read the words of a person.

    Args:
        name: of the client.
        endpoints: names of the endpoints that the key shall open.
        known: names of all endpoints.
        all_endpoints: whether it shall open all of them instead.
        priority: high, normal or bulk.
        requests_per_minute: a number, 0 for any number, or None for what the settings say.
        jobs_at_once: the same.
        bytes_per_day: the same.
        seconds_per_day: the same.
        expires: a duration as 90d, 12h, 30m or 45s; None: never.

    Raises:
        KeyProblems: with all that is wrong.
    """
    reader = _Reader()
    grant = Grant(
        name=reader.name(name),
        endpoints=reader.endpoints(endpoints, known, all_endpoints),
        priority=reader.priority(priority),
        limits=Limits(
            reader.limit("--requests-per-minute", requests_per_minute),
            reader.limit("--jobs-at-once", jobs_at_once),
            reader.limit("--bytes-per-day", bytes_per_day, MOST_BYTES),
            reader.limit("--seconds-per-day", seconds_per_day),
        ),
        lifetime=None if expires is None else reader.duration("--expires", expires),
    )
    reader.done()
    return grant


def read_duration(option: str, text: str) -> float:
    """Read a duration as 90d, 12h, 30m or 45s; in seconds.

    Raises:
        KeyProblems: it is none.
    """
    reader = _Reader()
    seconds = reader.duration(option, text)
    reader.done()
    return seconds


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def done(self) -> None:
        if self.problems:
            raise KeyProblems(self.problems)

    def name(self, text: str) -> str:
        text = text.strip()
        if not text or len(text) > LONGEST_NAME or not text.isprintable():
            self.problems.append(f"The name must have 1 to {LONGEST_NAME} printable characters")
        return text

    def endpoints(self, names: Sequence[str], known: Collection[str], every: bool) -> frozenset[str] | None:
        if every and names:
            self.problems.append("--endpoint and --all-endpoints are both given: keep one")
        elif not every and not names:
            self.problems.append(
                "Say what the key opens: --endpoint NAME, any number of times, or --all-endpoints"
            )
        for name in sorted(set(names) - set(known)):
            self.problems.append(
                f"There is no endpoint {name!r}; there are {', '.join(sorted(known)) or 'none'}"
            )
        return None if every else frozenset(names)

    def priority(self, text: str) -> Priority:
        try:
            return Priority(text.lower())
        except ValueError:
            self.problems.append(f"--priority {text!r} is none of {', '.join(Priority)}")
            return Priority.NORMAL

    def limit(self, option: str, text: str | None, highest: int = HIGHEST_LIMIT) -> int | None:
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > highest:
            self.problems.append(f"{option} {text!r} is not a whole number from 0 (any number) to {highest}")
            return None
        return int(text)

    def duration(self, option: str, text: str) -> float:
        found = re.fullmatch(r"([0-9]{1,10})([smhd])", text.strip().lower())
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 0 < seconds <= LONGEST_LIFETIME * _UNITS["d"]:
            self.problems.append(
                f"{option} {text!r} is no duration as 90d, 12h, 30m or 45s, or over {LONGEST_LIFETIME} days"
            )
        return float(seconds)
