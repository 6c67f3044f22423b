"""Keys in memory: how fresh they are, and what happens while the database is silent."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.accounts import Client, KeyCache, KeyRecord
from tasks.accounts import cache as module
from tasks.accounts.secret import digest_of, new_key
from tasks.errors import DatabaseUnavailable
from tests.services import wait_until

NOW = 1_000_000.0


class FakeKeys:
    """Keys in memory, and a note of each look at them."""

    def __init__(self):
        self.records = {}
        self.number = 0
        self.looks = []
        self.down = False
        self.touched = {}

    def put(self, key_id, key, expires=None, revoked=None):
        client = Client(key_id, key_id, "x", frozenset({"embed"}))
        self.records = self.records | {key_id: KeyRecord(client, digest_of(key), 0, expires, revoked, None)}
        self.number += 1

    def _look(self, what):
        self.looks.append(what)
        if self.down:
            raise DatabaseUnavailable("down")

    def changes(self):
        self._look("changes")
        return self.number

    def snapshot(self):
        self._look("snapshot")
        return self.number, self.records

    def touch(self, used):
        self._look("touch")
        self.touched |= used

    def close(self):
        pass


class Clock:
    def __init__(self):
        self.time = 5000.0

    def __call__(self):
        return self.time


@pytest.fixture
def keys():
    return FakeKeys()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(keys, clock):
    """A cache whose thread does nothing until a request wants it to: the tests take its other turns."""
    cache = KeyCache(keys, refresh=3600, clock=clock)
    yield cache
    keys.down = False
    cache.close()


@pytest.fixture
def key(keys):
    key_id, key = new_key()
    keys.put(key_id, key)
    return key


def test_a_known_key_asks_nobody(cache, keys, clock, key):
    assert cache.find(key, NOW).opens("embed")
    assert keys.looks == ["snapshot"]
    clock.time += 60
    for _ in range(3):
        assert cache.find(key, NOW) and cache.get(cache.find(key, NOW).key_id, NOW)
    assert keys.looks == ["snapshot"]


def test_the_secret_part_decides(cache, key):
    assert cache.find(key, NOW)
    assert cache.find(key[:-1] + ("A" if key[-1] != "A" else "B"), NOW) is None


def test_what_is_no_key_asks_nobody(cache, keys):
    assert cache.find("demo-key", NOW) is None
    assert cache.get("alice-0123456789abcdef", NOW) is None
    assert keys.looks == []


def test_a_new_key_is_valid_at_once(cache, keys, key):
    cache.find(key, NOW)
    key_id, new = new_key()
    assert cache.find(new, NOW) is None
    keys.put(key_id, new)
    assert cache.find(new, NOW)


def test_an_unknown_key_costs_a_glance_not_a_reading_of_all(cache, keys, key):
    cache.find(key, NOW)
    cache.find(new_key()[1], NOW)
    assert keys.looks == ["snapshot", "changes"]


def test_a_revoked_key_ends_with_the_next_refresh_for_itself_and_its_sessions(cache, keys, key):
    key_id = cache.find(key, NOW).key_id
    keys.put(key_id, key, revoked=NOW)
    assert cache.find(key, NOW)
    cache._look()
    assert cache.find(key, NOW) is None and cache.get(key_id, NOW) is None


def test_an_expired_key_ends_by_itself(cache, keys):
    key_id, key = new_key()
    keys.put(key_id, key, expires=NOW)
    assert cache.find(key, NOW - 0.01) and cache.get(key_id, NOW - 0.01)
    assert cache.find(key, NOW) is None and cache.get(key_id, NOW) is None


def test_all_keys_are_read_again_now_and_then_whatever_the_number_says(cache, keys, clock, key):
    cache.find(key, NOW)
    keys.records = {}  # a backup came back: the number of changes is the same by chance
    cache._look()
    assert cache.find(key, NOW)
    clock.time += module.RELOAD
    cache._look()
    assert cache.find(key, NOW) is None


def test_while_the_database_is_silent_known_keys_go_on_for_a_while(cache, keys, clock, key):
    cache.find(key, NOW)
    keys.down = True
    clock.time += module.TRUSTED
    cache._look()
    assert cache.find(key, NOW)
    clock.time += 1
    with pytest.raises(DatabaseUnavailable):
        cache.find(key, NOW)
    keys.down = False
    clock.time += module.REST
    assert cache.find(key, NOW)


def test_a_process_that_slept_looks_before_it_trusts(cache, keys, clock, key):
    key_id = cache.find(key, NOW).key_id
    keys.put(key_id, key, revoked=NOW)
    clock.time += module.TRUSTED + 1
    assert cache.find(key, NOW) is None


def test_while_the_database_is_silent_an_unknown_key_is_neither_accepted_nor_refused(cache, keys, clock, key):
    cache.find(key, NOW)
    keys.down = True
    with pytest.raises(DatabaseUnavailable):
        cache.find(new_key()[1], NOW)
    with pytest.raises(DatabaseUnavailable):
        cache.get(new_key()[0], NOW)


def test_a_silent_database_is_not_asked_by_every_request(cache, keys, clock):
    keys.down = True
    for _ in range(10):
        with pytest.raises(DatabaseUnavailable):
            cache.find(new_key()[1], NOW)
    assert len(keys.looks) == 1
    clock.time += module.REST
    with pytest.raises(DatabaseUnavailable):
        cache.find(new_key()[1], NOW)
    assert len(keys.looks) == 2


def test_all_that_wait_are_served_by_one_look_that_began_after_they_came(cache, keys, key):
    cache.find(key, NOW)
    running, go_on = threading.Event(), threading.Event()
    changes = keys.changes

    def slow():
        running.set()
        assert go_on.wait(5)
        return changes()

    keys.changes = slow
    others = [new_key() for _ in range(5)]
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(cache.find, new_key()[1], NOW)
        assert running.wait(5)
        for key_id, other in others:  # too late for the look that runs, in time for the next one
            keys.put(key_id, other)
        later = [pool.submit(cache.find, other, NOW) for _, other in others]
        wait_until(lambda: cache._wanted.is_set(), 5, "somebody to wait")
        go_on.set()
        assert first.result(5) is None
        assert all(future.result(5) for future in later)
    assert keys.looks.count("snapshot") <= 3


def test_trying_keys_does_not_keep_the_database_busy(cache, keys, key):
    cache.find(key, NOW)
    begin = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        assert not any(pool.map(lambda _: cache.find(new_key()[1], NOW), range(100)))
    assert len(keys.looks) <= 2 + (time.monotonic() - begin) / module.PAUSE


def test_no_request_waits_for_long(keys, key):
    hang = threading.Event()
    cache = KeyCache(keys, refresh=3600, wait=0.05)
    cache.find(key, NOW)
    keys.changes = lambda: hang.wait(10) and 0
    try:
        for _ in range(2):
            begin = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="has not answered"):
                cache.find(new_key()[1], NOW)
            assert time.monotonic() - begin < 1
        assert cache.find(key, NOW)
    finally:
        hang.set()
        cache.close()


def test_uses_are_written_together_and_kept_while_they_cannot_be(cache, keys, key):
    key_id = cache.find(key, NOW).key_id
    cache.find(key, NOW + 1)
    assert keys.touched == {}
    keys.down = True
    cache._flush()
    keys.down = False
    cache._flush()
    assert keys.touched == {key_id: NOW + 1}
    keys.touched = {}
    cache._flush()
    assert keys.touched == {}


def test_a_key_that_is_used_while_its_last_use_cannot_be_written_was_used_then(cache, keys, key, monkeypatch):
    key_id = cache.find(key, NOW).key_id

    def fail(used):
        cache.find(key, NOW + 5)
        raise DatabaseUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(keys, "touch", fail)
        cache._flush()
    cache._flush()
    assert keys.touched == {key_id: NOW + 5}


def test_a_key_that_is_not_valid_was_not_used(cache, keys):
    key_id, key = new_key()
    keys.put(key_id, key, revoked=1.0)
    cache.find(key, NOW)
    cache._flush()
    assert keys.touched == {}


def test_the_thread_survives_whatever_a_look_does(cache, keys, key, monkeypatch, caplog):
    cache.find(key, NOW)
    monkeypatch.setattr(keys, "changes", lambda: 1 / 0)
    cache._look()
    assert "ZeroDivisionError" in caplog.text


def test_an_outage_is_logged_once(cache, keys, clock, key, caplog):
    cache.find(key, NOW)
    keys.down = True
    for _ in range(3):
        clock.time += module.REST
        cache._look()
    assert caplog.text.count("cannot be read") == 1


def test_closing_writes_what_is_left(keys, clock, key):
    cache = KeyCache(keys, refresh=3600, clock=clock)
    key_id = cache.find(key, NOW).key_id
    cache.close()
    assert keys.touched == {key_id: NOW}
