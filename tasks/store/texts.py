"""The part of the job store that keeps large values, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.records import UNFINISHED_LIFETIME, blob_key
from tasks.store.link import Link, translated

PIECE = 2**20  # bytes, or characters; a larger text is sent to Redis in pieces


class Texts(Link):
    """Large inputs and outputs, and uploads."""

    def put_texts(self, texts: Mapping[str, str | bytes], lifetime: float = UNFINISHED_LIFETIME) -> None:
        """Keep texts by name for `lifetime` seconds; the inputs of a job go when it ends."""
        with translated():
            pipeline = self._redis.pipeline(transaction=False)
            for name, text in texts.items():
                for place, piece in _pieces(text):
                    if place == 0:
                        pipeline.set(blob_key(name), piece, ex=max(1, round(lifetime)))
                    else:
                        pipeline.setrange(blob_key(name), place, piece)
                    if len(piece) >= PIECE:
                        pipeline.execute()
            pipeline.execute()

    def texts(self, names: Sequence[str]) -> list[str | None]:
        """Give texts by name; None for one that is gone."""
        with translated():
            return list(self._redis.mget([blob_key(name) for name in names])) if names else []

    def text_sizes(self, names: Sequence[str]) -> list[int]:
        """Give the bytes of texts in UTF-8; 0 for one that is gone."""
        with translated():
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.strlen(blob_key(name))
            return list(pipeline.execute())

    def text_part(self, name: str, start: int, stop: int) -> bytes:
        """Give the bytes from `start` to before `stop` of a text in UTF-8; fewer if it ends or is gone."""
        with translated():
            found = self._redis.execute_command("GETRANGE", blob_key(name), start, stop - 1, NEVER_DECODE=[])
        return bytes(found)

    def drop_texts(self, names: Sequence[str]) -> None:
        """Forget texts."""
        with translated():
            self._redis.unlink(*(blob_key(name) for name in names))


def _pieces(text: str | bytes) -> Iterator[tuple[int, bytes]]:
    """Give the pieces of a text in UTF-8, and where each begins: redis-py copies what it sends, twice."""
    place = 0
    for start in range(0, len(text), PIECE):
        part = text[start : start + PIECE]
        piece = part.encode() if isinstance(part, str) else part
        yield place, piece
        place += len(piece)
