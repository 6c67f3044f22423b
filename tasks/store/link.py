"""The connection to Redis that all parts of the job store share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from tasks.errors import StoreUnavailable
from tasks.store.line import Line

SILENCE = 2  # s; a server that says nothing for longer counts as down
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
    redis.exceptions.MasterDownError,
)
_NO_WRITES = ("MISCONF", "OOM", "BUSY Redis", "NOREPLICAS")
"""What Redis says while its disk or memory is full, a script does not end, or replicas are missing."""

Call = tuple[str, list[str], list[Any]]
"""A script of `tasks/scripts/`, its keys and its arguments."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn into `StoreUnavailable` what is wrong with the server, not with what we ask of it."""
    try:
        yield
    except _AWAY as error:
        raise StoreUnavailable(f"the job store does not answer: {error}") from error
    except redis.ResponseError as error:
        if not any(words in str(error) for words in _NO_WRITES):
            raise
        raise StoreUnavailable(f"the job store takes no writes: {error}") from error


class Link:
    """Connections to one Redis server.

    Every method raises `StoreUnavailable` if Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client  # redis-py's annotations mix what its sync and async clients give
        self._scripts = Line(client.connection_pool)

    @classmethod
    def from_url(cls, url: str, connections: int = 64, silence: float = SILENCE) -> Self:
        """Build a store of the server at `url` (redis://, rediss:// or unix://). Opens no connection.

        Args:
            url: where Redis is.
            connections: at most so many; a caller waits for a free one.
            silence: seconds without an answer after which the server counts as down.
        """
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=5,
            socket_connect_timeout=1,
            socket_timeout=silence,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # a stale connection
            decode_responses=True,
        )
        return cls(redis.Redis(connection_pool=pool))

    @property
    def connection_pool(self) -> redis.ConnectionPool:
        """The connections to Redis, for what else is kept there."""
        pool: redis.ConnectionPool = self._redis.connection_pool
        return pool

    def close(self) -> None:
        """Close its connections; the next call opens another one."""
        self._redis.connection_pool.disconnect()
        self._scripts.close()

    def ping(self) -> None:
        """Ask whether Redis answers."""
        with translated():
            self._redis.ping()

    def pubsub(self, confirmations: bool = False) -> redis.client.PubSub:
        """Give a subscriber with a connection of its own; it may get `confirmations` of what it does, too."""
        # redis-py's own handler writes each message as text, for a log line that nobody wants.
        return self._redis.pubsub(ignore_subscribe_messages=not confirmations, push_handler_func=_as_it_is)

    def publish(self, channel: str, text: str) -> None:
        """Tell whoever listens on `channel`."""
        with translated():
            self._redis.publish(channel, text)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip; load them first if the server does not know them."""
        if not calls:
            return []
        commands = [("EVALSHA", _digest(script), len(keys), *keys, *args) for script, keys, args in calls]
        with translated():
            answers = self._scripts.ask(commands)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                for script in {script for script, _, _ in calls}:
                    self._redis.script_load(script)
                answers = self._scripts.ask(commands)  # what has run runs again: every script bears that
            for answer in answers:
                if isinstance(answer, redis.ResponseError):
                    raise answer
        return answers

    def command(self, *parts: Any) -> Any:
        """Give what Redis answers to one command."""
        with translated():
            return self._redis.execute_command(*parts)


def _as_it_is(message: Any) -> Any:
    return message


@cache
def _digest(script: str) -> str:
    return sha1(script.encode()).hexdigest()
