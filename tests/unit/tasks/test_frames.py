"""What is published is what py-amqp itself would write."""

from __future__ import annotations

from types import SimpleNamespace

from amqp import Message, spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.frames import publication

FRAME_MAX = 4096  # bytes, the least that AMQP allows
LARGEST = FRAME_MAX - 8


def by_py_amqp(channel: int, queue: str, message: Message) -> bytes:
    written: list[bytes] = []
    connection = SimpleNamespace(frame_max=FRAME_MAX, bytes_sent=0)
    transport = SimpleNamespace(write=lambda piece: written.append(bytes(piece)))
    arguments = dumps("Bssbb", (0, "", queue, True, False))
    frame_writer(connection, transport)(1, channel, spec.Basic.Publish, arguments, message)
    return b"".join(written)


@given(
    channel=st.integers(1, 65535),
    queue=st.text(max_size=60),
    body=st.binary(max_size=100) | st.integers(LARGEST - 2, 3 * LARGEST + 2).map(bytes),
)
@example(channel=1, queue="echo_cpu", body=bytes(LARGEST))
@example(channel=1, queue="echo_cpu", body=b"")
def test_frames_are_those_of_py_amqp(channel: int, queue: str, body: bytes) -> None:
    message = Message(body, delivery_mode=2, application_headers={"id": "1", "retries": 0})
    frames = publication(channel, queue, message._serialize_properties(), body, FRAME_MAX)
    assert b"".join(frames) == by_py_amqp(channel, queue, message)
