"""Large values on the side of the model host: fetched before a job runs, stored when it has ended.

So they pass through neither the worker's process nor the pipe between the two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tasks.blobs import Blobs, pack, unpack
from tasks.store import JobStore
from workers.messages import Item, Outcome
from workers.results import until_stored

LOST = "The inputs of this job are not in the store any more"
MISPLACED = (
    "The message tells places for large inputs that these do not have: are API and workers of one version?"
)

Stow = Callable[[dict[str, Any]], tuple[dict[str, Any], Blobs]]
"""Gives values as they travel, and where the large ones among them lie."""


class Luggage:
    """Moves large values between the store and a host; waits for as long as the store does not answer."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._never = threading.Event()

    def fetch(self, items: Sequence[Item]) -> tuple[list[Item], list[Outcome]]:
        """Complete the inputs of jobs; gives them, and outcomes of those of which that cannot be done."""
        whole, lost = [], []
        for item in items:
            texts = self._texts(item.blobs)
            if None in texts:
                lost.append(Outcome(item.number, error=LOST))
                continue
            try:
                inputs = unpack(item.inputs, item.blobs, texts)
            except (LookupError, TypeError, ValueError):  # of one job; the thread goes on for the others
                lost.append(Outcome(item.number, error=MISPLACED))
            else:
                whole.append(replace(item, inputs=inputs, blobs=[]))
        return whole, lost

    def stow(self, values: dict[str, Any], lifetime: float) -> tuple[dict[str, Any], Blobs]:
        """Store the large ones of some values for `lifetime` seconds; gives the rest, and where those lie."""
        light, blobs, texts = pack(values)
        if texts:
            until_stored(lambda: self._store.put_texts(texts, lifetime), self._never)
        return light, blobs

    def _texts(self, blobs: Blobs) -> list[Any]:
        if not blobs:
            return []
        names = [name for _, name in blobs]
        return until_stored(lambda: self._store.texts(names), self._never)
