"""What goes over a connection in few system calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.pieces import PIECE, in_pieces


@given(sizes=st.lists(st.integers(0, 10) | st.integers(PIECE - 5, PIECE + 5)))
def test_nothing_is_changed_and_small_parts_go_together(sizes: list[int]) -> None:
    parts = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    pieces = list(in_pieces(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) >= PIECE for piece in pieces[:-1])
    assert all(len(piece) < 2 * PIECE + 5 for piece in pieces)
