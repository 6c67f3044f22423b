"""The error tree of Stoker's server side.

    StokerError
    ├── SettingsError          this installation is configured wrongly: the start stops
    ├── QueueFull              the queue of an endpoint has reached its limit
    │   └── QueueTooLarge      the same, of bytes
    ├── TooManyJobs            a client has as many jobs at an endpoint as it may
    ├── DayLimitReached        a client has used as much of an endpoint today as it may
    ├── TooManyUploads         a client has as many uploads as it may
    ├── IdempotencyKeyReused   an idempotency key came with another request before
    ├── RequestInProgress      the first request with an idempotency key is not accepted yet
    ├── BrokerUnavailable      RabbitMQ (or the embedded Redis) did not take a message
    ├── StoreUnavailable       the job store did not answer
    ├── DatabaseUnavailable    the database (SQL) did not answer
    │   └── DatabaseOutdated   its tables are those of an older version
    ├── KeyProblems            a key cannot be made or changed like that
    ├── WebhookProblems        a webhook cannot be had like that
    ├── OutgoingError          a request to a server that a client named
    │   ├── OutgoingRefused    it is not allowed: see `tasks/guard/rules.py`
    │   ├── OutgoingFailed     the server cannot be reached, or did not answer as it should
    │   └── OutgoingTooLarge   the answer is larger than it may be
    └── ModelError             what goes wrong with a model
        └── ModelLoadFailed    the model could not be loaded: the worker stops

HTTP status codes for them stand in `app/errors.py`, nowhere else. Errors of endpoint files and of
inputs belong to the layer below: see `schemas/errors.py`.
"""

from __future__ import annotations


class StokerError(Exception):
    """Base of every error that Stoker raises on purpose."""


class SettingsError(StokerError):
    """The settings of this installation are wrong.

    Attributes:
        problems: one sentence for each wrong or unknown setting.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class QueueFull(StokerError):
    """The endpoint's queue holds as many waiting jobs as it may.

    Attributes:
        limit: the number of jobs that may wait.
        limit_name: what endpoint files call the limit.
    """

    limit_name = "max_queue_length"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        return f"Job queue reached max length {self.limit}!"


class QueueTooLarge(QueueFull):
    """The large jobs that wait or run at the endpoint have as many bytes as they may.

    Attributes:
        limit: the number of bytes.
    """

    limit_name = "max_queued_bytes"

    def _sentence(self) -> str:
        return f"The jobs that wait or run at this endpoint would have more than {self.limit} bytes together!"


class TooManyJobs(StokerError):
    """As many jobs of a client wait or run at an endpoint as may.

    Attributes:
        limit: the number of jobs.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the limit of jobs at once is {limit}")


class DayLimitReached(StokerError):
    """A client has used as much of an endpoint today as it may.

    Attributes:
        unit: bytes or seconds.
        limit: so many of them.
    """

    def __init__(self, unit: str, limit: int) -> None:
        self.unit = unit
        self.limit = limit
        super().__init__(f"{limit} {unit} of this client are used up today")


class TooManyUploads(StokerError):
    """A client has as many uploads as it may.

    Attributes:
        limit: `files` or `bytes`.
        most: how many of them it may have.
        seconds: after which the next upload expires; 0: it has none.
    """

    def __init__(self, limit: str, most: int, seconds: float) -> None:
        self.limit, self.most, self.seconds = limit, most, seconds
        super().__init__(f"The uploads of an API key may have {most} {limit} together")


class IdempotencyKeyReused(StokerError):
    """An idempotency key came with another request before."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request before: choose a new one")


class RequestInProgress(StokerError):
    """The first request with an idempotency key is neither accepted nor refused yet."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still being accepted; try again")


class BrokerUnavailable(StokerError):
    """The message broker cannot be reached or did not confirm a message."""


class StoreUnavailable(StokerError):
    """The job store (Redis) cannot be reached."""


class DatabaseUnavailable(StokerError):
    """The database (SQLite, PostgreSQL) cannot be used."""


class DatabaseOutdated(DatabaseUnavailable):
    """The tables of the database are those of an older version."""

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(
            f"the database has version {found or 'none'}, and {needed} is needed: run `stoker migrate`"
        )


class KeyProblems(StokerError):
    """An API key cannot be made or changed like that.

    Attributes:
        problems: one sentence for each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class WebhookProblems(StokerError):
    """A webhook cannot be had like that.

    Attributes:
        problems: one sentence for each, to be read on after the name of what was sent.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class OutgoingError(StokerError):
    """A request to a server that a client named.

    The text reads on after the name of what the client sent and a colon; it does not repeat the URL.
    """


class OutgoingRefused(OutgoingError):
    """The URL, or what it leads to, is not allowed."""


class OutgoingFailed(OutgoingError):
    """The server cannot be reached, or did not answer as it should."""


class OutgoingTooLarge(OutgoingError):
    """The answer is larger than it may be."""


class ModelError(StokerError):
    """Base of the errors of models and of the processes that run them."""


class ModelLoadFailed(ModelError):
    """A model's `load` failed; the text says why."""
