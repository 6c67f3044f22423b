"""The connection between worker and model host, within one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from workers.pipe import Pipe, packed


@pytest.fixture
def ends() -> Iterator[tuple[Pipe, Pipe]]:
    one, other = map(Pipe, socket.socketpair())
    yield one, other
    one.close()
    other.close()


def test_messages_come_together_and_in_order(ends: tuple[Pipe, Pipe]) -> None:
    here, there = ends
    for number in range(3):
        here.send({"number": number})
    assert there.receive() == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_message_that_the_other_end_has_no_room_for_is_left_to_the_sender(ends: tuple[Pipe, Pipe]) -> None:
    here, there = ends
    message = ["x" * 3_000_000, "y"]
    rest = packed(message)
    got: list[list[str]] = []
    while not got:
        left = here.send_some(rest)
        assert here.send_some(left) == left, "there was room for more"
        rest = left
        got = there.receive()
    assert got == [message] and rest == b""


def test_message_in_pieces_is_given_once_it_is_whole(ends: tuple[Pipe, Pipe]) -> None:
    here, there = ends
    data = packed("first") + packed("second")
    here.send_all(data[:5])
    assert there.receive() == []
    here.send_all(data[5:-1])
    assert there.receive() == ["first"]
    here.send_all(data[-1:])
    assert there.receive() == ["second"]


def test_end_of_the_other_side_is_told(ends: tuple[Pipe, Pipe]) -> None:
    here, there = ends
    there.close()
    with pytest.raises(EOFError):
        here.receive()
    with pytest.raises(OSError):
        here.send("into the void")
