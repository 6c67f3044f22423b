"""A connection to Redis that is kept between two uses, for what is asked all the time.

redis-py's pool looks at a connection each time that it hands one out, and its pipelines look at each
argument: together that takes longer than the round trip.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import redis
from hiredis import pack_command

from tasks.pieces import in_pieces


class Line:
    """Has one connection; who comes while it is in use takes one of the pool."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        """Opens no connection.

        Args:
            pool: whose connections are of the same kind. It may be a small one: this one is none of it.
        """
        self._pool: Any = pool
        self._free: list[Any] = [None]  # the connection while nobody uses it; None: it is to be made

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one round trip; gives what each is answered, also where that is an error.

        Raises:
            RedisError: the server does not answer.
        """
        packed = list(in_pieces(map(pack_command, commands)))
        try:
            own = self._free.pop()
        except IndexError:
            connection = self._pool.get_connection()
            try:
                return _exchange(connection, packed, len(commands))
            finally:
                self._pool.release(connection)
        try:
            if own is None or own.pid != os.getpid():  # after a fork it is the parent's
                own = self._pool.connection_class(**self._pool.connection_kwargs)
            return _exchange(own, packed, len(commands))
        finally:
            self._free.append(own)

    def close(self) -> None:
        """Close the connection; the next command opens it again."""
        for own in self._free:
            if own is not None:
                own.disconnect()


def _exchange(connection: Any, packed: list[bytes], answers: int) -> list[Any]:
    try:
        return connection.retry.call_with_retry(
            lambda: _exchange_once(connection, packed, answers), lambda error: connection.disconnect()
        )
    except BaseException:  # an answer that nobody has read would be the next one's
        connection.disconnect()
        raise


def _exchange_once(connection: Any, packed: list[bytes], answers: int) -> list[Any]:
    connection.send_packed_command(packed)
    return [_answer(connection) for _ in range(answers)]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
