"""What is kept of a job that has ended."""

from __future__ import annotations

import json
from dataclasses import dataclass

DAY = 86_400  # s; it begins at midnight, in UTC


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One job that has ended. Times are in seconds since 1970.

    Attributes:
        job: its id.
        client: id of the client that submitted it.
        key: id of the API key that it did so with.
        endpoint: name of the endpoint.
        outcome: done, failed, canceled or lapsed.
        accepted: when the API accepted it.
        started: when it started on a model; None if it never did.
        finished: when its outcome was known.
        model_seconds: the model's time that it took, shared with the jobs that ran beside it.
        bytes_in: of its inputs.
        bytes_out: of its result.
    """

    job: str
    client: str
    key: str
    endpoint: str
    outcome: str
    accepted: float
    started: float | None
    finished: float
    model_seconds: float
    bytes_in: int
    bytes_out: int

    @property
    def day(self) -> int:
        """The day on which it ended, in UTC: 0 is 1970-01-01."""
        return int(self.finished // DAY)

    @property
    def waited(self) -> float:
        """Seconds from its acceptance to its start, or to its end if it never started."""
        return (self.finished if self.started is None else self.started) - self.accepted

    @classmethod
    def read(cls, line: str) -> UsageRecord:
        """Read a line of the store.

        Raises:
            ValueError: it is none of this version.
        """
        values = json.loads(line)
        if not isinstance(values, list) or len(values) != len(cls.__slots__):
            raise ValueError(f"not the usage of a job: {line[:200]}")
        return cls(*values)
