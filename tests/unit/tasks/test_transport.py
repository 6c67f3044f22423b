"""Frames that were read ahead."""

from __future__ import annotations

from struct import pack

import pytest
from amqp.exceptions import UnexpectedFrame
from hypothesis import given
from hypothesis import strategies as st

from tasks.transport import BufferedTransport

FRAMES = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 65535), st.binary(max_size=50)), min_size=1)


class FakeSocket:
    """Gives bytes as they come off a wire: cut anywhere."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def recv(self, size: int, flags: int = 0) -> bytes:
        return self._pieces.pop(0)

    def sendall(self, data: bytes) -> None:
        raise AssertionError


def reading(pieces: list[bytes]) -> BufferedTransport:
    transport = BufferedTransport("nowhere")
    transport.sock = FakeSocket(pieces)
    transport._setup_transport()
    return transport


def wire(kind: int, channel: int, payload: bytes, end: int = 0xCE) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 100)))
def test_frames_are_read_wherever_the_wire_has_cut_them(
    frames: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    rest, pieces = b"".join(wire(*frame) for frame in frames), []
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    transport = reading([piece for piece in [*pieces, rest] if piece])
    got = []
    for _ in frames:
        was_there = transport.has_frame()
        taken = transport.take_frame()
        assert (taken is not None) == was_there
        got.append(taken or transport.read_frame())
    assert got == frames


def test_what_is_no_frame_is_told() -> None:
    transport = reading([wire(1, 1, b"a") + wire(1, 1, b"b", end=0)])
    assert transport.read_frame() == (1, 1, b"a")
    with pytest.raises(UnexpectedFrame):
        transport.take_frame()
