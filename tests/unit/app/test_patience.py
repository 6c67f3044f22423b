"""How long a client wants to be held: the header Prefer (RFC 7240)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crew import AGE, Crew
from app.waiting import Patience, read_patience
from tasks.errors import StoreUnavailable
from tasks.jobs import WorkerInfo

CAP = 600


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("", Patience(CAP)),
        ("wait=10", Patience(10, "wait=10")),
        ("wait=0", Patience(0, "wait=0")),
        ("Wait = 10", Patience(10, "wait=10")),
        ('wait="10"', Patience(10, "wait=10")),
        ("wait=10; foo=bar", Patience(10, "wait=10")),
        ("wait=99999", Patience(CAP, "wait=600")),
        ("respond-async", Patience(0, "respond-async")),
        ("respond-async, wait=10", Patience(10, "wait=10")),
        ("return=minimal,wait=3,wait=9", Patience(3, "wait=3")),
        ("wait=soon", Patience(CAP)),
        ("wait=-1", Patience(CAP)),
        ("wait=1.5", Patience(CAP)),
        ("wait", Patience(CAP)),
        ("return=minimal", Patience(CAP)),
    ],
)
def test_preferences(prefer: str, expected: Patience) -> None:
    assert read_patience(prefer, CAP) == expected


def test_without_a_preference_another_time_may_be_meant() -> None:
    assert read_patience("", CAP, otherwise=0) == Patience(0)
    assert read_patience("wait=5", CAP, otherwise=0) == Patience(5, "wait=5")


@given(st.text())
def test_no_header_breaks_it_and_none_is_held_longer_than_the_cap(prefer: str) -> None:
    assert 0 <= read_patience(prefer, CAP).seconds <= CAP


def test_the_crew_is_asked_for_once_in_a_while() -> None:
    now, asked = [100.0], []

    def ask(queue: str) -> list[WorkerInfo]:
        asked.append(queue)
        return [WorkerInfo(f"worker{len(asked)}")]

    crew = Crew(ask, lambda: now[0])
    assert [crew.of("a")[0].name, crew.of("a")[0].name, crew.of("b")[0].name] == [
        "worker1",
        "worker1",
        "worker2",
    ]
    now[0] += AGE + 0.1
    assert crew.of("a")[0].name == "worker3"


def test_the_crew_that_was_known_last_is_told_while_the_store_is_away() -> None:
    now, answers = [100.0], [[WorkerInfo("worker1")]]

    def ask(queue: str) -> Any:
        if not answers:
            raise StoreUnavailable("away")
        return answers.pop()

    crew = Crew(ask, lambda: now[0])
    assert crew.of("a")
    now[0] += AGE + 0.1
    assert crew.of("a")[0].name == "worker1"
    assert crew.of("b") == ()
