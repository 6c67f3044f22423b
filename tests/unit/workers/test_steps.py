"""What the consumer's own steps do, without a broker."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from workers.steps import EVENTS_DELAY, GatheredEvents


def test_events_that_come_soon_after_another_are_sent_with_it():
    due: list[tuple[float, Callable[[], None]]] = []
    sent: list[str] = []
    dispatcher = SimpleNamespace(
        on_send_buffered=lambda: None, buffer_limit=24, flush=lambda: sent.append("all")
    )
    consumer: Any = SimpleNamespace(
        event_dispatcher=dispatcher, timer=SimpleNamespace(call_after=lambda *call: due.append(call))
    )
    GatheredEvents(consumer).start(consumer)
    for _ in range(2):
        for _ in range(100):
            dispatcher.on_send_buffered()
        ((delay, flush),) = due
        assert delay == EVENTS_DELAY and not sent
        flush()
        assert sent == ["all"]
        due.clear(), sent.clear()
    assert dispatcher.buffer_limit > 100
