"""Frames of AMQP 0-9-1 that publish a message (sections 4.2.3 to 4.2.6 of its specification). Pure.

py-amqp takes the headers of each message apart anew, and writes each one by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import pack

METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
AROUND = 8  # bytes of a frame beside its payload
BASIC, PUBLISH = 60, 40
MANDATORY = 1  # of the bits; another one would be `immediate`, which RabbitMQ does not take


def publication(channel: int, queue: str, properties: bytes, body: bytes, frame_max: int) -> Iterator[bytes]:
    """Give the frames that publish a message to the default exchange, as mandatory.

    Args:
        channel: number of the channel.
        queue: where it goes.
        properties: of the message, its headers among them, as they stand in a frame.
        body: of the message.
        frame_max: bytes that a frame may have.
    """
    yield _publish(channel, queue)
    yield _frame(HEADER, channel, pack(">HHQ", BASIC, 0, len(body)) + properties)
    largest = frame_max - AROUND
    for start in range(0, len(body), largest):
        yield _frame(BODY, channel, body[start : start + largest])


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + END


@lru_cache(1000)  # the same few again and again
def _publish(channel: int, queue: str) -> bytes:
    name = queue.encode()
    arguments = pack(f">HBB{len(name)}sB", 0, 0, len(name), name, MANDATORY)
    return _frame(METHOD, channel, pack(">HH", BASIC, PUBLISH) + arguments)
