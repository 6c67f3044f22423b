"""What a stream gets to know of its job: the newest, never a backlog, and always the outcome."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.events import EventListener, Follower
from tasks.jobs import JobState, JobStatus, Result

DONE = Result(JobState.DONE, 1.0, 2.0)


def status(revision=0, state=JobState.PROCESSING, position=0):
    result = DONE if state.terminal else None
    return JobStatus("a", "echo", "me", state, 1.0, queue_position=position, result=result, revision=revision)


QUEUED = status(state=JobState.QUEUED, position=2)


def test_nothing_new_is_nothing_to_tell():
    follower = Follower(QUEUED)
    follower.tell(QUEUED)
    assert follower.wait(0) is None


def test_a_better_place_in_the_queue_is_news():
    follower = Follower(QUEUED)
    follower.tell(status(state=JobState.QUEUED, position=1))
    assert follower.wait(0).queue_position == 1
    assert follower.wait(0) is None


def test_what_was_overtaken_is_not_told():
    follower = Follower(QUEUED)
    for revision in (1, 2, 3):
        follower.tell(status(revision))
    assert follower.wait(0).revision == 3
    follower.tell(status(2))
    assert follower.wait(0) is None


def test_an_outcome_is_told_though_the_store_has_lost_some_revisions():
    follower = Follower(status(7))
    follower.tell(status(2, JobState.DONE))
    assert follower.wait(0).state is JobState.DONE


def test_a_job_that_is_gone_ends_the_waiting():
    follower = Follower(QUEUED)
    follower.tell(None)
    assert follower.wait(60) is None
    assert follower.gone


LIFE = [
    QUEUED,
    status(state=JobState.QUEUED, position=1),
    *map(status, range(1, 6)),
    status(6, JobState.DONE),
]


@given(st.lists(st.sampled_from(range(len(LIFE))), max_size=20), st.sets(st.integers(0, 20)))
def test_whatever_comes_in_whatever_order_it_goes_forward_and_ends_with_the_newest(order, looks):
    follower, told = Follower(LIFE[0]), [0]
    for moment, index in enumerate(order):
        follower.tell(LIFE[index])
        if moment in looks and (newest := follower.wait(0)):
            told.append(LIFE.index(newest))
    if newest := follower.wait(0):
        told.append(LIFE.index(newest))
    started = max([0, *order]) > 1
    if started:  # of two places in the queue none is older
        assert told[-1] == max(order)
    assert [index for index in told if index > 1] == sorted({index for index in told if index > 1})


@pytest.mark.parametrize("state", [s for s in JobState if s.terminal])
def test_a_terminal_state_never_changes(state):
    assert not status(9).newer_than(status(1, state))
    assert not status(9, JobState.FAILED).newer_than(status(1, state))


class PlayedPubSub:
    def __init__(self):
        self.done = []

    def subscribe(self, *names):
        self.done.append(("subscribe", *names))

    def unsubscribe(self, *names):
        self.done.append(("unsubscribe", *names))


def test_a_job_that_is_followed_again_at_once_is_listened_to_on():
    listener, pubsub = EventListener(store=None), PlayedPubSub()
    listener._thread = threading.current_thread()  # which does what its thread would, one after the other
    left = Follower(status())
    listener._enter(status(), left)
    listener._adjust(pubsub)
    listener._leave("a", left)
    listener._enter(status(), Follower(status()))
    listener._adjust(pubsub)
    assert pubsub.done == [("subscribe", "job:a")] * 2
