"""What an output holds, read piece by piece: the file in a data URL, or a text as it is.

A file is decoded while it is sent, so that it is never held as a whole, however large it is.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.media.source import head_length

PIECE = 3 << 16  # bytes; a multiple of 3, which base64 writes as 4 characters
LONGEST_HEAD = 300  # bytes; a data URL's head is shorter

Read = Callable[[int, int], bytes]
"""Gives the bytes from one place to before another one; fewer where the source ends."""


class Gone(Exception):
    """What is being sent was forgotten meanwhile."""


@dataclass(frozen=True)
class Content:
    """Bytes of which parts can be read.

    Attributes:
        size: in bytes.
        read: gives a part.
    """

    size: int
    read: Read

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Give what is in memory as it is."""
        return cls(len(data), lambda start, stop: data[start:stop])

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Give the bytes from `start` to before `stop`, piece by piece.

        Raises:
            Gone: they are not there any more.
        """
        for place in range(start, stop, PIECE):
            end = min(place + PIECE, stop)
            piece = self.read(place, end)
            if len(piece) != end - place:
                raise Gone
            yield piece

    def file(self) -> Content | None:
        """Give the file, if this is a data URL; None: it is none, or its base64 cannot be right."""
        head = head_length(self.read(0, LONGEST_HEAD).decode("latin-1"))
        if head is None or self.size == head or (self.size - head) % 4:
            return None
        padding = self.read(self.size - 2, self.size).count(b"=")
        return Content((self.size - head) // 4 * 3 - padding, lambda a, b: self._decoded(head, a, b))

    def _decoded(self, head: int, start: int, stop: int) -> bytes:
        first = start // 3
        text = self.read(head + first * 4, head + -(-stop // 3) * 4)
        return binascii.a2b_base64(text, strict_mode=True)[start - first * 3 : stop - first * 3]
