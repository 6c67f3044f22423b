"""Server-sent events: text in pieces of any size, events out. Without any I/O."""

import codecs
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream.

    Attributes:
        id: by which the stream can be taken up after it.
    """

    id: str
    data: str


class EventReader:
    """Puts the pieces of a stream together."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pieces: list[str] = []  # of a line without its end: it may be long, and come in many
        self._id = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """Give the events that are complete with this piece. An event that breaks off is never given."""
        first, *rest = self._decode(piece).split("\n")
        self._pieces.append(first)
        events = []
        for line in rest:
            event = self._take("".join(self._pieces).removesuffix("\r"))
            self._pieces = [line]
            if event:
                events.append(event)
        return events

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._id, "\n".join(self._data)) if self._data else None
            self._data = []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None
