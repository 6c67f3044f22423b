"""Who calls: what an API key stands for, wherever it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.jobs import Priority
from tasks.webhooks.hook import Webhook


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do at each endpoint. None: as file and settings say; 0: any number.

    Attributes:
        requests_per_minute: jobs that it may submit in any minute.
        jobs_at_once: jobs of it that may wait or run.
        bytes_per_day: bytes of inputs that it may send in a day.
        seconds_per_day: seconds of the model's time that it may use in a day.
    """

    requests_per_minute: int | None = None
    jobs_at_once: int | None = None
    bytes_per_day: int | None = None
    seconds_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Whom an API key stands for, without the key.

    Attributes:
        id: stands for the client in jobs and logs; a key that was rotated keeps it.
        key_id: stands for the key in session tokens; another key has another one.
        name: what its owner calls it.
        endpoints: names of the endpoints that it may call; None: all of them.
        priority: of its jobs.
        limits: of its own.
        webhook: which server is told of its jobs unless a request says otherwise.
    """

    id: str
    key_id: str
    name: str
    endpoints: frozenset[str] | None
    priority: Priority = Priority.NORMAL
    limits: Limits = field(default_factory=Limits)
    webhook: Webhook | None = None

    def opens(self, endpoint: str) -> bool:
        """Tell whether this client may call `endpoint`."""
        return self.endpoints is None or endpoint in self.endpoints
