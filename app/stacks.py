"""Stacks for calls that go deep: whoever calls by them keeps a small one."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

from app.green import is_green

SPARE = 64  # stacks that are kept, some 15 kB each; so many calls run at a time in a busy process

P = ParamSpec("P")
T = TypeVar("T")


class Stacks:
    """Greenlets that run calls of others, one after another.

    Python gives the memory of a greenlet's stack back when the greenlet ends, and not before: one that calls
    deep functions and then waits holds all that they have touched.
    """

    def __init__(self) -> None:
        self._spare: list[greenlet] = []

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function, on another stack if requests have greenlets here."""
        if not is_green():
            return function(*args, **kwargs)
        given: list[T] = []
        stack = self._spare.pop() if self._spare else _started()
        stack.parent = getcurrent()  # to whom it goes back; if the call raises, it ends with that
        stack.switch(lambda: given.append(function(*args, **kwargs)))
        if len(self._spare) < SPARE:
            self._spare.append(stack)
        return given.pop()


def _started() -> greenlet:
    stack = greenlet(_run_calls)
    stack.switch()
    return stack


def _run_calls() -> None:
    """Run one call after another; between two of them nothing of the last one is held, nor the greenlet."""
    while True:
        call = getcurrent().parent.switch()
        call()
        del call
