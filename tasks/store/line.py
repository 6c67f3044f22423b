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
    """Keeps one connection; who comes while it is in use takes another one of the pool."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        """Opens no connection."""
        self._pool: Any = pool
        self._kept: list[Any] = []  # one at most

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one round trip; gives what each is answered, also where that is an error.

        Raises:
            RedisError: the server does not answer.
        """
        packed = list(in_pieces(map(pack_command, commands)))
        connection = self._take()
        try:
            return connection.retry.call_with_retry(
                lambda: _exchange(connection, packed, len(commands)), lambda error: connection.disconnect()
            )
        except BaseException:  # an answer that nobody has read would be the next one's
            connection.disconnect()
            raise
        finally:
            self._give_back(connection)

    def _take(self) -> Any:
        try:
            connection = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        # After a fork it is the parent's.
        return connection if connection.pid == os.getpid() else self._pool.get_connection()

    def _give_back(self, connection: Any) -> None:
        if self._kept:
            self._pool.release(connection)
        else:
            self._kept.append(connection)


def _exchange(connection: Any, packed: list[bytes], answers: int) -> list[Any]:
    connection.send_packed_command(packed)
    return [_answer(connection) for _ in range(answers)]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
