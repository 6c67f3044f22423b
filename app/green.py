"""Greenlets: whether requests have them here, and how long one may take for something."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def is_green() -> bool:
    """Tell whether requests have greenlets here, not threads of their own."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def within(seconds: float, error: Exception) -> AbstractContextManager[Any]:
    """Raise `error` in the current greenlet after so many seconds; where requests have threads, never."""
    if not is_green():
        return nullcontext()
    from gevent import Timeout

    timeout: AbstractContextManager[Any] = Timeout(max(0.0, seconds), error)
    return timeout
