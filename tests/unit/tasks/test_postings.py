"""What a channel has not confirmed yet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.envelope import Message
from tasks.jobs import Job
from tasks.postings import Posting, Unconfirmed
from tasks.room import Room


def posting(name: str = "a") -> Posting:
    job = Job(name, "echo", "echo_cpu", {}, "me", 1.0, 2.0, 60.0)
    return Posting(job, Room(10), lambda job: Message(job.id, job.queue, {}, "[]", b""))


def sent(count: int) -> tuple[Unconfirmed, list[Posting]]:
    unconfirmed, postings = Unconfirmed(), [posting(str(n)) for n in range(1, count + 1)]
    unconfirmed.sent(postings)
    return unconfirmed, postings


def test_confirms_may_come_in_any_order() -> None:
    unconfirmed, (one, two, three) = sent(3)
    assert unconfirmed.take(2, multiple=False) == [two]
    assert unconfirmed.take(3, multiple=False) == [three]
    assert unconfirmed.take(1, multiple=False) == [one]


def test_one_confirm_speaks_of_all_up_to_its_tag() -> None:
    unconfirmed, (one, _, three, four) = sent(4)
    unconfirmed.take(2, multiple=False)
    assert unconfirmed.take(3, multiple=True) == [one, three]
    assert unconfirmed.take_all() == [four]


def test_nobody_is_taken_twice() -> None:
    unconfirmed, _ = sent(2)
    unconfirmed.take(2, multiple=True)
    assert unconfirmed.take(1, multiple=False) == unconfirmed.take(2, multiple=True) == []


def test_it_finds_a_job_until_it_is_confirmed() -> None:
    unconfirmed, (_, two) = sent(2)
    assert unconfirmed.find("2") is two
    unconfirmed.take_all()
    assert unconfirmed.find("2") is None


@given(steps=st.lists(st.one_of(st.just("send"), st.tuples(st.integers(0, 9), st.booleans())), max_size=30))
def test_each_message_is_taken_once_by_the_first_that_speaks_of_it(steps: list[Any]) -> None:
    unconfirmed, waiting, tag = Unconfirmed(), dict[int, Posting](), 0
    for step in steps:
        if step == "send":
            tag += 1
            waiting[tag] = posting(str(tag))
            unconfirmed.sent([waiting[tag]])
        else:
            up_to, multiple = step
            expected = [n for n in waiting if n == up_to or (multiple and n < up_to)]
            assert unconfirmed.take(up_to, multiple) == [waiting.pop(n) for n in expected]
    assert unconfirmed.take_all() == list(waiting.values())


def test_waiting_ends_by_what_it_was_settled_with() -> None:
    one = posting()
    with pytest.raises(TimeoutError):
        one.wait(0)
    one.settle(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        one.wait(0)
    with pytest.raises(TimeoutError):  # it may be sent again
        one.wait(0)
    one.settle()
    one.wait(0)
