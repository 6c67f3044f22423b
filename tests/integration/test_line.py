"""The connection to Redis that is kept between two uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tasks.store.line import Line
from tasks.store.link import Link
from tests.services import RedisServer, wait_until


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[Link]:
    link = Link.from_url(redis_server.socket_url, connections=4)
    yield link
    link.close()


@pytest.fixture
def line(link: Link) -> Line:
    return Line(link.connection_pool)


def test_each_command_has_its_answer_also_where_that_is_an_error(line: Line) -> None:
    first, wrong, last = line.ask([("SET", "a", 1), ("LPUSH", "a", 1), ("GET", "a")])
    assert (first, last) == ("OK", "1")
    assert isinstance(wrong, redis.ResponseError)


def test_large_and_small_commands_arrive_as_they_are(line: Line) -> None:
    values = ["x" * size for size in (1, 70_000, 5, 300_000, 0)]
    line.ask([("SET", f"key{n}", value) for n, value in enumerate(values)])
    assert line.ask([("GET", f"key{n}") for n in range(len(values))]) == values


def test_one_connection_serves_all_who_come_one_after_another(line: Line) -> None:
    ids = {line.ask([("CLIENT", "ID")])[0] for _ in range(5)}
    assert len(ids) == 1


def test_who_comes_meanwhile_takes_another_connection(line: Line) -> None:
    def own(n: int) -> bool:
        return line.ask([("ECHO", f"{n}-{turn}") for turn in range(50)]) == [f"{n}-{t}" for t in range(50)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(own, range(200)))


def test_a_pool_of_one_connection_is_left_to_others(redis_server: RedisServer) -> None:
    link = Link.from_url(redis_server.socket_url, connections=1)
    assert link.run([("return ARGV[1]", [], ["a"])]) == ["a"]
    assert link.command("ECHO", "b") == "b"
    link.close()
    assert link.run([("return ARGV[1]", [], ["c"])]) == ["c"]
    link.close()


def test_closing_a_link_closes_it(redis_server: RedisServer) -> None:
    link = Link.from_url(redis_server.socket_url)
    with redis_server.client() as client:
        before = client.client_list()
        link.run([("return 1", [], [])])
        assert len(client.client_list()) > len(before)
        link.close()
        wait_until(lambda: len(client.client_list()) == len(before), 5, "it to be closed")


def test_a_connection_that_the_server_has_closed_is_opened_again(
    line: Line, redis_server: RedisServer
) -> None:
    line.ask([("PING",)])
    with redis_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert line.ask([("ECHO", "again")]) == ["again"]


def test_an_answer_that_nobody_has_read_is_not_the_next_one(
    line: Line, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.ask([("PING",)])
    read = redis.UnixDomainSocketConnection.read_response
    answers = iter(["first", KeyboardInterrupt])

    def interrupted(self: redis.Connection, *args: object, **kwargs: object) -> object:
        if next(answers) is KeyboardInterrupt:
            raise KeyboardInterrupt
        return read(self, *args, **kwargs)

    monkeypatch.setattr(redis.UnixDomainSocketConnection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        line.ask([("ECHO", "a"), ("ECHO", "b")])
    monkeypatch.undo()
    assert line.ask([("ECHO", "c")]) == ["c"]


def test_the_connection_of_another_process_is_not_used(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = line.ask([("CLIENT", "ID")])
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    (after,) = line.ask([("CLIENT", "ID")])
    assert before != after
