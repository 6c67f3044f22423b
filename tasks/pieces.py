"""Bytes that go over a connection in few system calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PIECE = 64 * 1024  # bytes that are worth a system call


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Put small parts together."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
