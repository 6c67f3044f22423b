"""Calls on stacks that are shared."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from app.stacks import SPARE, Stacks


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Stacks:
    monkeypatch.setattr("app.stacks.is_green", lambda: True)
    return Stacks()


def test_a_call_has_a_stack_of_its_own_which_is_used_again(stacks: Stacks) -> None:
    first, second = stacks.call(getcurrent), stacks.call(getcurrent)
    assert first is second is not getcurrent()


def test_arguments_and_what_is_given_go_through(stacks: Stacks) -> None:
    assert stacks.call(divmod, 7, 2) == (3, 1)
    assert stacks.call(sorted, [1, 2], reverse=True) == [2, 1]


def test_an_error_comes_to_whoever_called(stacks: Stacks) -> None:
    with pytest.raises(ZeroDivisionError):
        stacks.call(divmod, 1, 0)
    assert stacks.call(divmod, 7, 2) == (3, 1)


def test_calls_that_wait_let_others_run(stacks: Stacks) -> None:
    """As many at once as come, of which some stacks are kept."""
    main = getcurrent()
    inside: list[greenlet] = []

    def call(number: int) -> int:
        inside.append(getcurrent())
        main.switch()
        return number

    given: list[int] = []
    for number in range(SPARE + 3):
        greenlet(lambda number=number: given.append(stacks.call(call, number))).switch()
    assert len({*inside}) == SPARE + 3
    for waiting in inside[::-1]:
        waiting.switch()
    assert given == [*range(SPARE + 3)][::-1]
    assert stacks.call(getcurrent) in inside
    kept = [weakref.ref(one) for one in inside]
    del waiting
    inside.clear()
    assert sum(one() is not None for one in kept) == SPARE


def test_a_stack_that_rests_holds_nothing_of_its_last_call(stacks: Stacks) -> None:
    class Large:
        pass

    given, taken = Large(), stacks.call(Large)
    stacks.call(id, given)
    dead: list[Callable[[], Any]] = [weakref.ref(given), weakref.ref(taken)]
    del given, taken
    assert [one() for one in dead] == [None, None]


def test_where_requests_have_threads_there_is_one_stack_only() -> None:
    assert Stacks().call(getcurrent) is getcurrent()
