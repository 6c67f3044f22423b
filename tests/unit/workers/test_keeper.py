"""When there is a next host, with hosts that the tests play."""

import math

import pytest

from workers.keeper import MAX_IDLE_DEATHS, RESPAWN, Keeper
from workers.verdict import Cause


class FakeHost:
    pid = 1

    def send(self, message):
        pass

    def kill(self):
        pass


@pytest.fixture
def keeper():
    return Keeper(lambda on_message: FakeHost(), lambda message: None, max_load_time=math.inf)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr("workers.keeper.time.monotonic", lambda: 100.0)
    return 100.0


def test_a_host_that_dies_again_and_again_is_waited_for_longer_until_one_gives_an_outcome(keeper, clock):
    pauses = []
    for _ in range(len(RESPAWN) + 1):
        keeper.act(math.inf)
        assert keeper.died() is Cause.ITSELF
        pauses.append(keeper.next_due() - clock)
    assert pauses == [*RESPAWN, RESPAWN[-1]]
    keeper.worked()
    keeper.died()
    assert keeper.next_due() == clock


def test_hosts_that_are_replaced_in_order_are_waited_for_no_longer_and_leave_hope(keeper, clock):
    for _ in range(MAX_IDLE_DEATHS + 1):
        keeper.act(math.inf)
        keeper.leaves()
        assert keeper.died() is Cause.WORN
        assert keeper.next_due() == clock and not keeper.hopeless


def test_there_is_no_hope_when_many_hosts_in_a_row_have_started_nothing(keeper, clock):
    for _ in range(MAX_IDLE_DEATHS - 1):
        keeper.died()
    keeper.started()
    for _ in range(MAX_IDLE_DEATHS - 1):
        keeper.died()
    assert not keeper.hopeless
    keeper.died()
    assert keeper.hopeless
