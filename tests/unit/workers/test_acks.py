"""Acks that go out together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workers.transport import fewest_acks


@given(st.dictionaries(st.integers(1, 60), st.sampled_from(["acked before", "to ack", "open"])), st.randoms())
def test_all_that_is_to_be_acked_is_and_nothing_that_is_open(deliveries, random):
    tags = [tag for tag, state in deliveries.items() if state == "to ack"]
    random.shuffle(tags)
    open_ones = {tag for tag, state in deliveries.items() if state == "open"}
    acks = fewest_acks(tags, min(open_ones, default=math.inf))
    acked = {tag for tag in deliveries for upto, multiple in acks if tag == upto or (multiple and tag < upto)}
    assert acked >= set(tags) and not acked & open_ones
    assert len(acks) <= len([tag for tag in tags if tag > min(open_ones, default=math.inf)]) + 1


def test_what_came_in_order_and_is_done_takes_one_ack():
    assert fewest_acks([3, 1, 2], 4) == [(3, True)]
    assert fewest_acks([], 4) == []
