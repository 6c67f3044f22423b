"""The error tree of Stoker's server side.

    StokerError
    ├── SettingsError          this installation is configured wrongly: the start stops
    ├── QueueFull              the queue of an endpoint has reached its limit
    ├── BrokerUnavailable      RabbitMQ (or the embedded Redis) did not take a message
    ├── StoreUnavailable       the job store did not answer
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
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"Job queue reached max length {limit}!")


class BrokerUnavailable(StokerError):
    """The message broker cannot be reached or did not confirm a message."""


class StoreUnavailable(StokerError):
    """The job store (Redis) cannot be reached."""


class ModelError(StokerError):
    """Base of the errors of models and of the processes that run them."""


class ModelLoadFailed(ModelError):
    """A model's `load` failed; the text says why."""
